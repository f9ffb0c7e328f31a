"""Sessions of people who have signed in, and how many wrong tokens may be tried.

A session is a cookie that says when it began, signed with a key that is made of the token. So every process
that has the token knows it, nothing is kept, and with another token all sessions end.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from aiohttp import web
from itsdangerous import BadSignature, TimestampSigner

#: Seconds for which somebody stays signed in.
SESSION_S: Final = 12 * 3600
COOKIE: Final = "tocsin-session"
_SALT: Final = "tocsin.web-session"
#: Wrong tokens from one address in so many seconds, after which it is to wait.
MOST_WRONG: Final = 10
WRONG_WINDOW_S: Final = 60.0
_MOST_ADDRESSES: Final = 1024


class _Signer(TimestampSigner):
    """Takes the time from a clock that is given."""

    def __init__(self, token: bytes, clock: Callable[[], float]) -> None:
        super().__init__(token, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class Sessions:
    """Begins sessions, and knows them again.

    Args:
        token: of the web views.
        clock: seconds since 1970.
    """

    def __init__(self, token: bytes, clock: Callable[[], float] = time.time) -> None:
        self._signer = _Signer(token, clock)

    def begin(self, response: web.StreamResponse, *, path: str, secure: bool) -> None:
        """Let a response set the cookie of a new session.

        Args:
            response: to somebody who has given the token.
            path: of the web views, as a browser sees it.
            secure: whether the browser came by TLS; then the cookie is sent by TLS alone.
        """
        response.set_cookie(
            COOKIE,
            self._signer.sign(secrets.token_urlsafe(12)).decode(),
            max_age=SESSION_S,
            path=path,
            secure=secure,
            httponly=True,
            samesite="Strict",
        )

    def is_in_one(self, request: web.BaseRequest) -> bool:
        """Whether a request carries the cookie of a session that has not ended."""
        value = request.cookies.get(COOKIE)
        if value is None:
            return False
        try:
            self._signer.unsign(value, max_age=SESSION_S)
        except BadSignature:  # also one that is too old, or of the future
            return False
        return True


class WrongTokens:
    """How many wrong tokens came from which address lately. Pure; bounded.

    Args:
        clock: seconds, only for differences.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def wait_s(self, address: str) -> float:
        """Seconds until the address may try again; 0 when it may now."""
        times = self._times.get(address)
        if times is None or len(times) < MOST_WRONG:
            return 0.0
        return max(0.0, times[0] + WRONG_WINDOW_S - self._clock())

    def note(self, address: str) -> None:
        """A wrong token came from the address."""
        times = self._times.pop(address, None)
        if times is None:
            times = deque(maxlen=MOST_WRONG)
        times.append(self._clock())
        self._times[address] = times
        if len(self._times) > _MOST_ADDRESSES:
            del self._times[next(iter(self._times))]
