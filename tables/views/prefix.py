"""Under which path the web views are seen, where a reverse proxy has put them under one.

A proxy may leave the path in what it passes on: TOCSIN_WEB_PREFIX says what it is. Or it takes the path out,
and says in ``X-Forwarded-Prefix`` what it has taken out, which is believed of trusted proxies alone. Links
of the page are relative and need neither; `public_prefix` is what a whole path begins with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web
from yarl import URL

from streams.settings import Settings
from streams.settings.addresses import networks, path_prefix
from tables.views.proxies import is_in

#: Name of the route that leads from the path without a "/" to the page. No token is asked for there: browsers
#: do not send the cookie of a session to it.
SLASH_ROUTE: Final = "prefix-slash"

_HEADER: Final = "X-Forwarded-Prefix"
_SCHEME_HEADER: Final = "X-Forwarded-Proto"


class Prefix:
    """Finds the public path of requests.

    Args:
        settings: the path that the proxy leaves in, and the addresses of proxies that are believed.
    """

    def __init__(self, settings: Settings) -> None:
        self._own = settings.web_prefix
        self._trusted = networks(settings.web_trusted_proxies)

    def add_to(self, app: web.Application, add_routes: Callable[[web.UrlDispatcher], None]) -> None:
        """Serve everything under the path, too; at the root it is anyway, for probes and scrapers."""
        if not self._own:
            return
        app.router.add_get(self._own, self._to_the_page, name=SLASH_ROUTE)
        under = web.Application()
        add_routes(under.router)
        app.add_subapp(self._own, under)

    async def _to_the_page(self, request: web.Request) -> web.Response:
        last = self._own.rpartition("/")[2]
        target = URL(f"{last}/").with_query(request.query)  # relative, whatever is before it
        return web.Response(status=308, headers={"Location": str(target)})

    def public_prefix(self, request: web.Request) -> str:
        """What public paths of these web views begin with; "" when they are seen at the root."""
        under = self.path_within(request) != request.path
        forwarded = self._forwarded(request)
        if forwarded is None:
            return self._own
        return forwarded + self._own if under else forwarded

    def path_within(self, request: web.Request) -> str:
        """The path of a request, as it would be without the one that the proxy leaves in."""
        path = request.path
        if self._own and (path == self._own or path.startswith(f"{self._own}/")):
            return path[len(self._own) :] or "/"
        return path

    def onward_from(self, request: web.Request) -> str:
        """What stands before addresses within the web views that a request is led on to.

        "" where they may be relative: where the browser is at the public path, as far as that is known. Else
        the public path, whose cookies are not sent to other paths.
        """
        came_without = self.path_within(request) == request.path
        return f"{self._own}/" if self._own and came_without and self._forwarded(request) is None else ""

    def is_secure(self, request: web.Request) -> bool:
        """Whether a browser came by TLS, as far as this process or a trusted proxy knows."""
        if request.secure:
            return True
        return is_in(request.remote, self._trusted) and (
            request.headers.get(_SCHEME_HEADER, "").partition(",")[0].strip().lower() == "https"
        )

    def _forwarded(self, request: web.Request) -> str | None:
        given = request.headers.get(_HEADER)
        if given is None or not is_in(request.remote, self._trusted):
            return None
        try:
            return path_prefix(given)
        except ValueError:
            return None
