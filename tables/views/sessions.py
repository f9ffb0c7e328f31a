"""Sessions of people who have signed in, and how many wrong tokens may be tried.

A session is a cookie that says when it began, signed with a key that is made of the token it began with. So
every process that has the token knows it and the right it gives, and with another token all sessions end. One
that was signed out of is remembered by the process that was told so, until it would have ended by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from itsdangerous import BadSignature, TimestampSigner

from tables.views.rights import Right, Visitor

#: Seconds for which somebody stays signed in.
SESSION_S: Final = 12 * 3600
#: Seconds after which what goes on and on must be asked for again, though the session has not ended: another
#: process may have been told that it has.
LONGEST_S: Final = 3600.0
COOKIE: Final = "tocsin-session"
_SALTS: Final = {Right.READ: "tocsin.web-session", Right.CHANGE: "tocsin.web-session.changing"}
#: Sessions that were signed out of, of which one process remembers so many.
_MOST_ENDED: Final = 10_000
_SHOWN_ID: Final = 6
#: Wrong tokens from one address in so many seconds, after which it is to wait.
MOST_WRONG: Final = 10
WRONG_WINDOW_S: Final = 60.0
_MOST_ADDRESSES: Final = 1024


class _Signer(TimestampSigner):
    """Takes the time from a clock that is given."""

    def __init__(self, token: bytes, right: Right, clock: Callable[[], float]) -> None:
        super().__init__(token, salt=_SALTS[right], key_derivation="hmac", digest_method=hashlib.sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class Sessions:
    """Begins sessions, and knows them again.

    Args:
        token: that gives the right to read; None where none is needed.
        clock: seconds since 1970.
        admin_token: that gives the right to change; None where nobody may.
    """

    def __init__(
        self,
        token: bytes | None,
        clock: Callable[[], float] = time.time,
        *,
        admin_token: bytes | None = None,
    ) -> None:
        self._clock = clock
        tokens = {Right.READ: token, Right.CHANGE: admin_token}
        self._signers = {
            right: _Signer(given, right, clock) for right, given in tokens.items() if given is not None
        }
        #: What was signed, of sessions that were ended before their time, oldest first. Not the signature: it
        #: can be written in other ways that are as good.
        self._ended: OrderedDict[str, None] = OrderedDict()
        #: What goes on in a session that has not ended, by what was signed.
        self._going_on: defaultdict[str, set[asyncio.Timeout]] = defaultdict(set)

    def begin(
        self, response: web.StreamResponse, *, path: str, secure: bool, right: Right = Right.READ
    ) -> None:
        """Let a response set the cookie of a new session.

        Args:
            response: to somebody who has given the token.
            path: of the web views, as a browser sees it.
            secure: whether the browser came by TLS; then the cookie is sent by TLS alone.
            right: that the token gives.
        """
        response.set_cookie(
            COOKIE,
            self._signers[right].sign(secrets.token_urlsafe(12)).decode(),
            max_age=SESSION_S,
            path=path,
            secure=secure,
            httponly=True,
            samesite="Strict",
        )

    def visitor(self, request: web.BaseRequest) -> Visitor | None:
        """Who has signed in; None where a request has no cookie of a session that has not ended."""
        found = self._found(request)
        return None if found is None else found[0]

    def _found(self, request: web.BaseRequest) -> tuple[Visitor, float] | None:
        """Who has signed in, and when, in seconds since 1970."""
        value = request.cookies.get(COOKIE)
        if value is None or _signed(value) in self._ended:
            return None
        for right, signer in self._signers.items():
            try:
                name, began = signer.unsign(value, max_age=SESSION_S, return_timestamp=True)
            except BadSignature:  # also one that is too old, or of the future
                continue
            visitor = Visitor(right, f"session {name[:_SHOWN_ID].decode('ascii', 'replace')}")
            return visitor, began.timestamp()
        return None

    @asynccontextmanager
    async def going_on(self, request: web.BaseRequest) -> AsyncIterator[None]:
        """The time of what goes on in the session of a request.

        It is left, without an error, when that session ends, and after `LONGEST_S` at the latest; never where
        the request is in none.
        """
        found = self._found(request)
        if found is None:
            yield
            return
        # One second more, since whole seconds are signed: then it is no longer let in.
        left_s = min(LONGEST_S, found[1] + SESSION_S + 1 - self._clock())
        signed = _signed(request.cookies[COOKIE])
        try:
            async with asyncio.timeout(left_s) as time_left:
                self._going_on[signed].add(time_left)
                try:
                    yield
                finally:
                    self._going_on[signed].discard(time_left)
                    if not self._going_on[signed]:
                        del self._going_on[signed]
        except TimeoutError:
            pass

    def is_in_one(self, request: web.BaseRequest) -> bool:
        """Whether a request carries the cookie of a session that has not ended."""
        return self.visitor(request) is not None

    def end(self, request: web.BaseRequest) -> None:
        """End the session of a request in this process, for whoever has its cookie."""
        if self.is_in_one(request):
            signed = _signed(request.cookies[COOKIE])
            self._ended[signed] = None
            for time_left in self._going_on.get(signed, ()):
                if not time_left.expired():
                    time_left.reschedule(0.0)
            if len(self._ended) > _MOST_ENDED:
                self._ended.popitem(last=False)


def _signed(value: str) -> str:
    """What a cookie says, without its signature."""
    return value.rpartition(".")[0]


class WrongTokens:
    """How many wrong tokens came from which address lately. Pure; bounded.

    Args:
        clock: seconds, only for differences.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(16)
        self._times: dict[str, deque[tuple[float, bytes | None]]] = {}

    def wait_s(self, address: str) -> float:
        """Seconds until the address may try again; 0 when it may now."""
        times = self._times.get(address)
        if times is None or len(times) < MOST_WRONG:
            return 0.0
        return max(0.0, times[0][0] + WRONG_WINDOW_S - self._clock())

    def note(self, address: str, token: bytes | None = None) -> None:
        """A wrong token came from the address.

        Args:
            address: where it came from.
            token: of a program, which may send it again and again; the same one counts once, for it is no
                guess, and others behind that address are not to wait for it.
        """
        times = self._times.pop(address, None)
        if times is None:
            times = deque(maxlen=MOST_WRONG)
        digest = None
        if token is not None:
            digest = hashlib.blake2b(token, key=self._key, digest_size=16).digest()
        if digest is None or all(known != digest for _, known in times):
            times.append((self._clock(), digest))
        self._times[address] = times
        if len(self._times) > _MOST_ADDRESSES:
            del self._times[next(iter(self._times))]
