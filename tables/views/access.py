"""Who may see what: tokens, and the names under which the web views may be asked for.

A token comes as ``Authorization: Bearer <token>``, or as the password of Basic, whatever the user name: so
``curl -u`` and Prometheus have a way in. A person signs in with it, and then has a session. On loopback a
page of another site could reach the views through a name that it made point to this machine (DNS rebinding):
there, names that are not this machine's own are refused.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web
from pydantic import SecretStr

from streams.settings import Settings
from tables.views.problems import Problem
from tables.views.sessions import Sessions

#: Both ways to send a token.
_CHALLENGES: Final = ('Bearer realm="Tocsin"', 'Basic realm="Tocsin", charset="UTF-8"')
#: A Host header: a name or an IPv4 address, or an IPv6 address in brackets, and a port.
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::\d{1,5})?")
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


class Access:
    """Decides for each request, by the settings of the web views."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        #: That opens the web views; None where they are open.
        self.token = _bytes(settings.web_token)
        #: Of people who have signed in.
        self.sessions = None if self.token is None else Sessions(self.token, clock)
        self._metrics_token = _bytes(settings.metrics_token)
        self._metrics_open = settings.metrics_open
        self._feeds_open = settings.feed_open
        named = {name.rstrip(".") for name in settings.web_host_names}
        self._names = named | {settings.web_host.lower(), "localhost"}
        self._checks_names = settings.web_is_loopback or bool(named)
        self._only_loopback = settings.web_is_loopback

    def trusts(self, request: web.Request) -> bool:
        """Whether a request carries the token, or the cookie of a session, or none is needed."""
        if self.token is None or self.sessions is None:
            return True
        return carries(request, self.token) or self.sessions.is_in_one(request)

    def is_session(self, request: web.Request) -> bool:
        """Whether a request comes from somebody who has signed in."""
        return self.sessions is not None and self.sessions.is_in_one(request)

    def check(self, request: web.Request, route: str | None) -> None:
        """Refuse whoever may not see what lies at ``route``.

        Raises:
            Problem: 401 without the token.
        """
        if route in FEED_ROUTES and self._feeds_open:
            return
        if route == METRICS_ROUTE:
            if self._metrics_open or (self._metrics_token is None and self.token is None):
                return
            tokens = [token for token in (self._metrics_token, self.token) if token is not None]
            # Each is compared, so that the time tells nothing.
            if any([carries(request, token) for token in tokens]):  # noqa: C419
                return
            if self.sessions is not None and self.sessions.is_in_one(request):
                return
        elif self.trusts(request):
            return
        raise Problem(401, headers=[("WWW-Authenticate", challenge) for challenge in _CHALLENGES])

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
