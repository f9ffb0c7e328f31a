"""Bearer tokens for Kafka: from a file, from a token endpoint, or signed for Amazon MSK.

aiokafka asks for one at each connection. A token that cannot be had is an error of the connection, so that a
worker that runs tries again, as it does while brokers are away.
"""

from __future__ import annotations

import abc
import asyncio
import base64
import re
import ssl
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

import aiohttp
import orjson
from aiokafka.abc import AbstractTokenProvider

from streams.broker.token_error import TokenError
from streams.settings import ConfigurationError
from streams.settings.files import printable, read_secret

#: RFC 6750: what a bearer token may be made of.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
#: A token is renewed so many seconds before it ends, or after four fifths of a short life.
_RENEW_BEFORE_S: Final = 60.0
#: Seconds for an answer: less than a try to connect may take, so that the message is about the endpoint.
_FETCH_S: Final = 4.0
_MOST_BYTES: Final = 256 * 2**10


class FileTokens(AbstractTokenProvider):  # type: ignore[misc]
    """Reads the token from a file for each connection: whoever renews it writes the file anew.

    Args:
        path: of the file.

    Raises:
        ConfigurationError: there is no token in it now.
    """

    _SETTING = "TOCSIN_SASL_OAUTH_TOKEN_FILE"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read()

    async def token(self) -> str:
        """The token that is in the file now.

        Raises:
            TokenError: there is none.
        """
        try:
            return self._read()
        except ConfigurationError as error:
            # The next file may be on its way.
            raise TokenError("its file cannot be used", str(error).rstrip("."), temporary=True) from None

    def _read(self) -> str:
        token = read_secret(self._SETTING, self._path)
        if not _TOKEN.fullmatch(token):
            raise ConfigurationError(
                f"{self._SETTING}: {printable(str(self._path))} does not hold a bearer token alone."
            )
        return token


@dataclass(frozen=True, slots=True)
class _Held:
    """A token with the times, of the clock, at which to renew it and at which it ends."""

    token: str
    renew_at: float
    ends_at: float


class _KeptTokens(AbstractTokenProvider, abc.ABC):  # type: ignore[misc]
    """Keeps a token until shortly before it ends, for all clients, threads and event loops of a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: _Held | None = None
        # A lock belongs to one event loop; two loops at once may each fetch a token, which does no harm.
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]
        self._locks = weakref.WeakKeyDictionary()

    async def token(self) -> str:
        """A token that has not ended.

        Raises:
            TokenError: there is none to be had.
        """
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            held = self._held
            if held is not None and self._clock() < held.renew_at:
                return held.token
            asked_at = self._clock()
            try:
                token, life_s = await self.fetch()
            except TokenError:
                # One that is to be renewed, and cannot be yet, is good until it ends.
                if held is not None and self._clock() < held.ends_at:
                    return held.token
                raise
            renew_s = max(life_s - _RENEW_BEFORE_S, life_s * 0.8)
            self._held = _Held(token, asked_at + renew_s, asked_at + life_s)
            return token

    def forget(self) -> None:
        """Keep no token: a broker has refused it."""
        self._held = None

    @abc.abstractmethod
    async def fetch(self) -> tuple[str, float]:
        """A new token, and the seconds for which it holds from now on; 0 when nobody says."""


class EndpointTokens(_KeptTokens):
    """Asks a token endpoint with client credentials (RFC 6749, 4.4).

    Args:
        url: of the endpoint.
        client_id: who asks.
        client_secret: that proves it; sent in the header ``Authorization``, as every endpoint must accept.
        scope: asked for; None for what the endpoint gives by itself.
        context: to check an endpoint of HTTPS by; None for the system's certificates.
        clock: seconds, only for differences.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str | None = None,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self._url = url
        # Both are encoded first: a colon would end the id, and a header is ASCII.
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
        }
        self._form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._context = context
        parts = urlsplit(url)
        #: A query may hold what nobody is to read in a log.
        self._where = f"{parts.scheme}://{parts.netloc}{parts.path}"

    async def fetch(self) -> tuple[str, float]:
        """A new token from the endpoint, and the seconds for which it holds.

        Raises:
            TokenError: the endpoint gives none.
        """
        look = "look at TOCSIN_SASL_OAUTH_TOKEN_URL"
        try:
            status, answer = await self._ask()
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError):
            raise TokenError(
                f"{self._where} has a certificate that is not trusted", "set TOCSIN_SASL_OAUTH_CA_FILE"
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            cause = getattr(error, "os_error", None) or error
            said = getattr(cause, "strerror", None) or type(cause).__name__
            raise TokenError(f"{self._where} does not answer ({said})", look, temporary=True) from None
        if status >= 500 or status == 429:
            raise TokenError(f"{self._where} cannot answer now (HTTP {status})", look, temporary=True)
        found = _object(answer)
        if status in (400, 401, 403):
            code = found.get("error")
            known = (
                code if isinstance(code, str) and re.fullmatch(r"[a-z_]{1,40}", code) else f"HTTP {status}"
            )
            advice = (
                "set TOCSIN_SASL_OAUTH_SCOPE"
                if known == "invalid_scope"
                else "set TOCSIN_SASL_OAUTH_CLIENT_ID and TOCSIN_SASL_OAUTH_CLIENT_SECRET_FILE"
            )
            raise TokenError(f"{self._where} refuses this client ({known})", advice)
        token = found.get("access_token")
        if status != 200 or not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise TokenError(f"what {self._where} answers is no token (HTTP {status})", look)
        return token, _seconds(found.get("expires_in"))

    async def _ask(self) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=_FETCH_S)
        tls: Any = True if self._context is None else self._context
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            # A redirection would take the secret to another address.
            session.post(
                self._url,
                data=self._form,
                headers=self._headers,
                allow_redirects=False,
                ssl=tls,
            ) as response,
        ):
            body = b""
            async for part in response.content.iter_any():
                body += part
                if len(body) > _MOST_BYTES:
                    return response.status, b""
            return response.status, body


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(value: Any) -> float:
    """``expires_in``, which some endpoints write as text."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return 0.0
    return seconds if 0 < seconds < 1e9 else 0.0


class MskTokens(_KeptTokens):
    """Tokens for Amazon MSK: a request that is signed with the credentials of AWS.

    Args:
        region: of the cluster.
        clock: seconds, only for differences.

    Raises:
        ConfigurationError: the package that signs is not installed.
    """

    def __init__(self, region: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        try:
            from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - of an extra
        except ImportError:
            raise ConfigurationError(
                "TOCSIN_SASL_MECHANISM: AWS_MSK_IAM needs a package that is not installed; "
                "install tocsin[msk]."
            ) from None
        self._region = region
        self._signer = MSKAuthTokenProvider

    async def fetch(self) -> tuple[str, float]:
        """A token that is signed now, and the seconds for which it holds.

        Raises:
            TokenError: there are no credentials to sign with.
        """
        loop = asyncio.get_running_loop()
        # Where credentials come from a service of AWS, it is asked here, and the event loop would wait.
        try:
            token, ends_ms = await loop.run_in_executor(None, self._signer.generate_auth_token, self._region)
        except Exception as error:  # noqa: BLE001 -- botocore has a tree of its own, with no common root
            raise TokenError(
                f"AWS gives no credentials to sign with ({type(error).__name__})",
                "set AWS_PROFILE, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or the role of this machine",
                temporary=True,
            ) from None
        return token, max(0.0, ends_ms / 1000 - time.time())
