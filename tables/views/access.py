"""Who may see what: tokens, and the names under which the web views may be asked for.

A token comes as ``Authorization: Bearer <token>``, or as the password of Basic, whatever the user name: so
``curl -u`` and Prometheus have a way in. A person signs in with it, and then has a session; or a trusted
proxy has signed them in, and names them. Reading and changing are two rights with a token each; who may
change may read. An address from which many wrong tokens come has to wait.

On loopback a page of another site could reach the views through a name that it made point to this machine
(DNS rebinding): there, names that are not this machine's own are refused.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import math
import re
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Final

from aiohttp import web
from pydantic import SecretStr

from streams.settings import Settings
from tables.views.problems import Problem
from tables.views.proxies import Proxies
from tables.views.rights import Right, Visitor
from tables.views.sessions import Sessions, WrongTokens

#: Both ways to send a token.
_CHALLENGES: Final = ('Bearer realm="Tocsin"', 'Basic realm="Tocsin", charset="UTF-8"')
#: A Host header: a name or an IPv4 address, or an IPv6 address in brackets, and a port.
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::\d{1,5})?")
_ADMIN_CHALLENGE: Final = [("WWW-Authenticate", 'Bearer realm="Tocsin administration"')]
_HOW_TO_CHANGE: Final = "Send the token of TOCSIN_ADMIN_TOKEN as 'Authorization: Bearer <token>'."
_USERS_CHANGE: Final = (
    "No token gives the right to change here: sign in at the proxy as one of the users of "
    "TOCSIN_WEB_ADMIN_USERS, or set TOCSIN_ADMIN_TOKEN_FILE."
)
_USER_ONLY_READS: Final = (
    "You have signed in at the proxy as a user who may only read: add this user to TOCSIN_WEB_ADMIN_USERS."
)
_NOT_TO_READ: Final = (
    "This is the token for changes (TOCSIN_ADMIN_TOKEN), with which a program cannot read: send the token of "
    "the web views (TOCSIN_WEB_TOKEN_FILE) to read."
)
#: Characters of a name that a client gives itself.
_MOST_NAME: Final = 100
METRICS_ROUTE: Final = "metrics"
#: Routes of the feeds.
FEED_ROUTES: Final = frozenset({"feed-alerts", "feed-priority", "feed-events"})


def token_of(request: web.BaseRequest) -> bytes | None:
    """The token that a request carries; None when it carries none."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    given = given.strip()
    if scheme.lower() == "bearer":
        return given.encode("utf-8", "surrogateescape")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return None
    return None


def carries(request: web.BaseRequest, token: bytes) -> bool:
    """Whether a request carries ``token``; takes the same time wherever the one given differs."""
    return hmac.compare_digest(token_of(request) or b"", token)


class _Asked:
    """What is known of who sent a request.

    Attributes:
        visitor: who may read or change; None for anybody else.
        metrics: whether the token of the metrics was sent.
        is_anybody: whether they may read only because nothing is asked of anybody.
        wait_s: seconds that its address has to wait, before a token is looked at.
    """

    def __init__(self, visitor: Visitor | None, *, metrics: bool, is_anybody: bool, wait_s: float) -> None:
        self.visitor = visitor
        self.metrics = metrics
        self.is_anybody = is_anybody
        self.wait_s = wait_s


_ASKED: Final = web.RequestKey("asked", _Asked)


class Access:
    """Decides for each request, by the settings of the web views."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        #: That opens the web views; None where they are open.
        self.token = _bytes(settings.web_token)
        #: That gives the right to change; None where nobody has it by a token.
        self.admin_token = _bytes(settings.admin_token)
        #: Of people who have signed in; None where there is nothing to sign in to.
        self.sessions = (
            None
            if self.token is None and self.admin_token is None
            else Sessions(self.token, clock, admin_token=self.admin_token)
        )
        self.proxies = Proxies(settings)
        self._admin_users = settings.web_admin_names
        #: Of programs; those on the page to sign in on are counted there.
        self._wrong = WrongTokens()
        self._metrics_token = _bytes(settings.metrics_token)
        self._metrics_open = settings.metrics_open
        self._feeds_open = settings.feed_open
        named = {name.rstrip(".") for name in settings.web_host_names}
        self._names = named | {settings.web_host.lower(), "localhost"}
        self._checks_names = settings.web_is_loopback or bool(named)
        self._only_loopback = settings.web_is_loopback

    @property
    def takes_changes(self) -> bool:
        """Whether anybody may change anything."""
        return self.admin_token is not None or bool(self._admin_users)

    def visitor(self, request: web.Request) -> Visitor | None:
        """Who has sent a request; None for somebody who has no right."""
        return self._asked(request).visitor

    def trusts(self, request: web.Request) -> bool:
        """Whether whoever has sent a request may read."""
        visitor = self.visitor(request)
        return visitor is not None and visitor.reads

    def is_session(self, request: web.Request) -> bool:
        """Whether a request comes from somebody who has signed in."""
        return self.sessions is not None and self.sessions.is_in_one(request)

    def going_on(self, request: web.Request) -> AbstractAsyncContextManager[None]:
        """The time of what goes on for whoever has sent a request; left once their session has ended."""
        return nullcontext() if self.sessions is None else self.sessions.going_on(request)

    def may_change(self, request: web.Request) -> bool:
        """Whether whoever has sent a request may change something."""
        visitor = self.visitor(request)
        return visitor is not None and visitor.right is Right.CHANGE

    def right_of(self, token: bytes) -> Right | None:
        """The right that a token gives; takes the same time wherever it differs."""
        found = None
        for known, right in ((self.token, Right.READ), (self.admin_token, Right.CHANGE)):
            if known is not None and hmac.compare_digest(token, known):
                found = right
        return found

    def check(self, request: web.Request, route: str | None) -> None:
        """Refuse whoever may not see what lies at ``route``.

        Raises:
            Problem: 401 without the token, 429 after too many wrong ones.
        """
        if route in FEED_ROUTES and self._feeds_open:
            return
        if route == METRICS_ROUTE and (
            self._metrics_open or (self._metrics_token is None and self.token is None)
        ):
            return
        asked = self._asked(request)
        if route == METRICS_ROUTE:
            allowed = asked.metrics or (self.trusts(request) and not asked.is_anybody)
        else:
            allowed = self.trusts(request)
        if not allowed:
            _check_wait(asked)
            # Who may change and not read is a program that has sent the token for changes.
            detail = None if asked.visitor is None or asked.visitor.reads else _NOT_TO_READ
            raise Problem(401, detail, [("WWW-Authenticate", challenge) for challenge in _CHALLENGES])

    def changer(self, request: web.Request) -> Visitor:
        """Who asks for a change; refuses whoever may not.

        Raises:
            Problem: 403 when nobody may, or a user whom a proxy names may not; 401 without the right token;
                429 after too many wrong ones.
        """
        if not self.takes_changes:
            raise Problem(403, "No changes are taken here: set TOCSIN_ADMIN_TOKEN_FILE to allow them.")
        asked = self._asked(request)
        if asked.visitor is not None and asked.visitor.right is Right.CHANGE:
            return asked.visitor
        _check_wait(asked)
        if self.proxies.user(request) is not None:
            raise Problem(403, _USER_ONLY_READS)
        raise Problem(401, _USERS_CHANGE if self.admin_token is None else _HOW_TO_CHANGE, _ADMIN_CHALLENGE)

    def _asked(self, request: web.Request) -> _Asked:
        known: _Asked | None = request.get(_ASKED)
        if known is None:
            # Once for each request, so that a wrong token counts once.
            known = request[_ASKED] = self._look(request)
        return known

    def _look(self, request: web.Request) -> _Asked:
        found: list[Visitor] = []
        metrics, wait_s = False, 0.0
        given = token_of(request)
        if given is not None and (self.sessions is not None or self._metrics_token is not None):
            address = self.proxies.client_address(request)
            wait_s = self._wrong.wait_s(address)
            if wait_s == 0:
                right = self.right_of(given)
                metrics = self._metrics_token is not None and hmac.compare_digest(given, self._metrics_token)
                if right is not None:
                    name = _user_of(request) or "a token"
                    found.append(Visitor(right, name, reads=right is Right.READ or self.token is None))
                elif not metrics:
                    self._wrong.note(address, given)
        if self.sessions is not None and (signed_in := self.sessions.visitor(request)) is not None:
            found.append(signed_in)
        if (user := self.proxies.user(request)) is not None:
            found.append(Visitor(Right.CHANGE if user in self._admin_users else Right.READ, f"user {user}"))
        is_anybody = self.token is None and not found
        if is_anybody:
            found.append(Visitor(Right.READ, "anybody"))
        changers = [each for each in found if each.right is Right.CHANGE]
        visitor = next(iter(changers + found), None)
        if visitor is not None:
            visitor = replace(visitor, reads=any(each.reads for each in found))
        return _Asked(visitor, metrics=metrics, is_anybody=is_anybody, wait_s=wait_s)

    def check_host(self, request: web.Request) -> None:
        """Refuse a request that asks for another name than those of this server.

        Raises:
            Problem: 421, the name is not known here.
        """
        if self._checks_names and not self._is_own(request.headers.get("Host")):
            raise Problem(421)

    def _is_own(self, host: str | None) -> bool:
        if host is None:
            return True  # HTTP/1.0, which no browser speaks
        found = _HOST.fullmatch(host.strip())
        if found is None:
            return False
        name = (found[1] or found[2]).rstrip(".").lower()
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        # No name can be made to point to another one: an address is what the client has connected to.
        return address.is_loopback or not self._only_loopback


def _bytes(secret: SecretStr | None) -> bytes | None:
    return None if secret is None else secret.get_secret_value().encode()


def _user_of(request: web.BaseRequest) -> str | None:
    """The name that a program gives itself beside the token; None where it gives none."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    name = base64.b64decode(given.strip()).partition(b":")[0]
    return f"a token, as {name.decode('utf-8', 'replace')[:_MOST_NAME]}" if name else None


def _check_wait(asked: _Asked) -> None:
    if asked.wait_s > 0:
        wait_s = math.ceil(asked.wait_s)
        raise Problem(
            429,
            f"Too many wrong tokens came from this address: ask again in {wait_s} s.",
            [("Retry-After", str(wait_s))],
        )
