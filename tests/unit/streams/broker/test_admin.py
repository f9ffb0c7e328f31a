"""What a failed connection is said to mean."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from streams.broker import admin
from streams.broker.admin import Failure, admin_client, failure_of, unusable
from streams.settings import EXIT_AWAY, EXIT_CONFIG, BrokersAwayError, load_settings


def _untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def _alert() -> ssl.SSLError:
    error = ssl.SSLError(1, "alert")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    return error


@pytest.mark.parametrize(
    ("error", "reason", "advice", "temporary"),
    [
        (ConnectionRefusedError(111, "refused"), "refuses connections", "TOCSIN_BROKERS", True),
        (socket.gaierror(-2, "unknown"), "not a known host name", "TOCSIN_BROKERS", True),
        (TimeoutError(), "does not answer", "TOCSIN_BROKERS", True),
        (ConnectionResetError(104, "reset"), "without TLS", "TOCSIN_SECURITY_PROTOCOL", True),
        (OSError(113, "No route to host"), "No route to host", "TOCSIN_BROKERS", True),
        (ssl.SSLError(1, "wrong version number"), "not speak TLS", "TOCSIN_SECURITY_PROTOCOL", False),
        (_untrusted(), "not trusted, self-signed", "TOCSIN_SSL_CA_FILE", False),
        (_alert(), "alert certificate required", "TOCSIN_SSL_CERT_FILE", False),
        (UnsupportedSaslMechanismError("PLAIN"), "SASL mechanism", "TOCSIN_SASL_MECHANISM", False),
        (IllegalSaslStateError(), "not ask for SASL", "TOCSIN_SECURITY_PROTOCOL", False),
        (SaslAuthenticationFailed("x"), "user name or password", "TOCSIN_SASL_PASSWORD_FILE", False),
        (ValueError("odd"), "odd", "TOCSIN_BROKERS", False),
    ],
)
def test_errors_are_told_apart(error: Exception, reason: str, advice: str, temporary: bool) -> None:
    failure = failure_of(error, tls=False)
    assert reason in failure.reason
    assert advice in failure.advice
    assert failure.temporary is temporary


def test_cause_inside_aiokafkas_error_is_what_counts() -> None:
    wrapped = KafkaConnectionError("Connection at a:1 closed")
    wrapped.__cause__ = _alert()
    assert "certificate required" in failure_of(wrapped, tls=True).reason


def test_broker_that_closes_in_tls_may_want_a_client_certificate() -> None:
    failure = failure_of(asyncio.IncompleteReadError(b"", 4), tls=True)
    assert "TOCSIN_SSL_CERT_FILE" in failure.advice


def test_what_a_proxy_without_brokers_looks_like_is_not_waited_for_long() -> None:
    """A port of another protocol looks the same; a port that refuses connections is no such thing."""
    for tls in (False, True):
        assert failure_of(ConnectionResetError(104, "reset"), tls=tls).unclear
        assert not failure_of(ConnectionRefusedError(111, "refused"), tls=tls).unclear
    assert BrokersAwayError("away").exit_code == EXIT_AWAY
    assert BrokersAwayError("closes connections", unclear=True).exit_code == EXIT_CONFIG


def test_sentence_names_every_address_and_the_advice_of_the_most_telling_one() -> None:
    settings = load_settings(brokers="a:1,b:2")
    failures = {
        "a:1": Failure("refuses connections", "start it", temporary=True),
        "b:2": Failure("refuses the password", "change it"),
    }
    assert unusable(settings, failures) == (
        "No Kafka broker can be used (a:1 refuses connections; b:2 refuses the password): change it."
    )


async def test_a_broker_is_given_more_time_where_nobody_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    async def refused(_host: str, _port: int, _options: object, limit_s: float) -> None:
        limits.append(limit_s)
        raise ConnectionRefusedError

    monkeypatch.setattr(admin, "try_broker", refused)
    settings = load_settings(brokers="a:1")
    given: list[dict[str, float]] = [{}, {"attempt_s": admin.COMMAND_ATTEMPT_S}, {"attempt_s": 60.0}]
    for more in given:
        with pytest.raises(BrokersAwayError, match="refuses connections"):
            async with admin_client(settings, timeout_s=20, **more):
                pass
    assert limits == [5, 10, 20]
