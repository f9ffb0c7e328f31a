"""A connected admin client, or one sentence that says why there is none."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from streams.broker.client_options import client_options
from streams.broker.token_error import TokenError
from streams.cancellation import cancellable, end
from streams.retries import Backoff, Retries
from streams.settings import BrokersAwayError, ConfigurationError, Settings
from streams.upstream.clients import AdminClient, client_of, try_broker

_log = logging.getLogger(__name__)
_ATTEMPT_S = 5.0
#: The same for commands, which try once: a broker that is just busy answers within that.
COMMAND_ATTEMPT_S = 10.0
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a broker could not be used.

    Attributes:
        reason: what happened, to be read after the address.
        advice: what to change.
        temporary: whether waiting may help.
        unclear: whether a wrong setting looks the same, so that waiting for long is no help.
    """

    reason: str
    advice: str
    temporary: bool = False
    unclear: bool = False


@asynccontextmanager
async def admin_client(
    settings: Settings, timeout_s: float = 10.0, patience_s: float = 0.0, attempt_s: float = _ATTEMPT_S
) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client; any Kafka error inside becomes a ConfigurationError.

    It is a BrokersAwayError where waiting may help.

    Args:
        settings: addresses and credentials.
        timeout_s: limit of each request.
        patience_s: how long brokers that do not answer yet are tried again, for a start at the same time.
        attempt_s: how long a broker may take for a connection; one that refuses it does so at once.

    Raises:
        ConfigurationError: no broker can be used, with the addresses and the reason.
    """
    options = client_options(settings)
    address = await _first_usable(settings, options, min(timeout_s, attempt_s), patience_s)
    # aiokafka tries one after the other and waits for each: begin with the one that has just answered.
    options["bootstrap_servers"] = sorted(settings.broker_list, key=lambda other: other != address)
    admin = AdminClient(
        **options, client_id=f"{settings.app_id}-admin", request_timeout_ms=int(timeout_s * 1000)
    )
    try:
        await admin.start()
        yield admin
    except NodeNotReadyError:
        brokers = ", ".join(f"{it.host}:{it.port}" for it in client_of(admin).cluster.brokers())
        raise BrokersAwayError(
            f"Kafka at {address} answers, but gives addresses that cannot be reached from here ({brokers}): "
            "change advertised.listeners of the brokers, or the network.",
            unclear=True,
        ) from None
    except NotImplementedError:
        raise ConfigurationError(f"Kafka at {address} is too old: use Kafka 3.1 or newer.") from None
    except (KafkaError, TimeoutError) as error:
        away = isinstance(error, TimeoutError) or error.retriable
        raise (BrokersAwayError if away else ConfigurationError)(
            f"Kafka at {address} answers, but not to a request of this user ({_short(error)}): "
            "look at the broker's log."
        ) from error
    finally:
        with cancellable():
            await admin.close()


async def check_refusals(settings: Settings) -> None:
    """Look why there is no connection, where waiting does not help.

    Raises:
        ConfigurationError: a broker refuses, or there is no token to go there with.
    """
    options = client_options(settings)
    tried = await asyncio.gather(*(_try(address, options, _ATTEMPT_S) for address in settings.broker_list))
    failures = {address: failure for address, failure in tried if failure is not None}
    if len(failures) == len(tried) and not all(failure.temporary for failure in failures.values()):
        raise ConfigurationError(unusable(settings, failures))


async def _first_usable(
    settings: Settings, options: dict[str, Any], attempt_s: float, patience_s: float
) -> str:
    retries = Retries(Backoff(_RETRY_S), within_s=patience_s)
    told = False
    while True:
        failures: dict[str, Failure] = {}
        tries = [asyncio.create_task(_try(address, options, attempt_s)) for address in settings.broker_list]
        try:
            for done in asyncio.as_completed(tries):
                address, failure = await done
                if failure is None:
                    return address
                failures[address] = failure
        finally:
            await end(*tries)
        if not all(it.temporary for it in failures.values()):
            raise ConfigurationError(unusable(settings, failures))
        if not retries.left:
            unclear = all(it.unclear for it in failures.values())
            raise BrokersAwayError(unusable(settings, failures), unclear=unclear)
        if not told:
            _log.warning("Waiting for Kafka. %s", unusable(settings, failures))
            told = True
        await retries.pause()


async def _try(address: str, options: dict[str, Any], limit_s: float) -> tuple[str, Failure | None]:
    host, _, port = address.rpartition(":")
    arguments = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    try:
        async with asyncio.timeout(limit_s):
            await try_broker(host.strip("[]"), int(port), arguments, limit_s)
    except Exception as error:  # noqa: BLE001  # whatever it is, it belongs in the sentence
        return address, failure_of(
            error,
            tls=options["security_protocol"].endswith("SSL"),
            token="sasl_oauth_token_provider" in options,
        )
    return address, None


def unusable(settings: Settings, failures: dict[str, Failure]) -> str:
    """The sentence for brokers none of which can be used."""
    ordered = [failures[address] for address in settings.broker_list if address in failures]
    # A refusal says more than an address where nobody is.
    telling = min(ordered, key=lambda failure: failure.temporary)
    reasons = "; ".join(f"{address} {failure.reason}" for address, failure in failures.items())
    return f"No Kafka broker can be used ({reasons}): {telling.advice}."


def failure_of(error: BaseException, *, tls: bool, token: bool = False) -> Failure:
    """Tell what an error at connecting means.

    Args:
        error: as aiokafka or the event loop raised it.
        tls: whether TLS was spoken.
        token: whether a bearer token was sent, in place of a user name and a password.
    """
    if isinstance(error, TokenError):
        return Failure(f"was not asked, {error.reason}", error.advice, temporary=error.temporary)
    start = Failure("", "start Kafka, or set TOCSIN_BROKERS", temporary=True)
    protocol = "set TOCSIN_SECURITY_PROTOCOL to that of this port"
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return Failure(
                    f"has a certificate that is not trusted, {cause.verify_message.rstrip('.')}",
                    "set TOCSIN_SSL_CA_FILE, or use the host name of the certificate",
                )
            case ssl.SSLError() if "ALERT" in (getattr(cause, "reason", None) or ""):
                reason = cause.reason.lower().replace("_", " ")
                return Failure(
                    f"refuses the TLS connection, {reason}",
                    "set TOCSIN_SSL_CERT_FILE and TOCSIN_SSL_KEY_FILE to a client certificate it trusts",
                )
            case ssl.SSLError():
                return Failure("does not speak TLS", protocol)
            case UnsupportedSaslMechanismError():
                return Failure("does not offer this SASL mechanism", "set TOCSIN_SASL_MECHANISM")
            case IllegalSaslStateError():
                return Failure("does not ask for SASL", protocol)
            case SaslAuthenticationFailed() | AuthenticationFailedError() if token:
                return Failure(
                    "refuses the bearer token",
                    "look at the broker's log, and at TOCSIN_SASL_MECHANISM and the settings of its token",
                )
            case SaslAuthenticationFailed() | AuthenticationFailedError():
                return Failure(
                    "refuses the user name or password",
                    "set TOCSIN_SASL_USERNAME and TOCSIN_SASL_PASSWORD_FILE",
                )
            case socket.gaierror():
                return Failure("is not a known host name", start.advice, temporary=True)
            case ConnectionRefusedError():
                return Failure("refuses connections", start.advice, temporary=True)
            case TimeoutError():
                return Failure("does not answer", start.advice, temporary=True)
            case ConnectionResetError() | asyncio.IncompleteReadError():
                # A broker that is just starting or stopping does so, too.
                if not tls:
                    return Failure("closes a connection without TLS", protocol, temporary=True, unclear=True)
                return Failure(
                    "closes a connection in TLS",
                    f"{protocol}, or TOCSIN_SSL_CERT_FILE if it asks for a client certificate",
                    temporary=True,
                    unclear=True,
                )
    return Failure(f"cannot be used, {_short(error)}", start.advice, temporary=isinstance(error, OSError))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The innermost cause first: aiokafka wraps what the socket said."""
    chain = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return reversed(chain)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
