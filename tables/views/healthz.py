"""The health checks that Kubernetes asks for: 200 when one passes, 503 with its reasons when not.

They need no token.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from aiohttp import web

from tables.views.sources import Check, Health

log = logging.getLogger(__name__)

#: Paths of the health checks, which are also the names of their routes.
HEALTHZ_PATHS: Final = ("/livez", "/readyz", "/startupz")


def ask(check: Callable[[], Check]) -> Check:
    """The answer of ``check``; failed when it raises."""
    try:
        return check()
    except Exception:
        log.exception("A health check failed.")
        return Check(False, ["The check itself failed; the worker's log says why."])


class Healthz:
    """Handlers of the health checks.

    Args:
        health: is asked.
        trusted: whether a request may see details; without a token of its own it sees reasons only.
    """

    def __init__(self, health: Health, trusted: Callable[[web.Request], bool]) -> None:
        self._health = health
        self._trusted = trusted

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        health = self._health
        for path, check in zip(HEALTHZ_PATHS, (health.live, health.ready, health.started), strict=True):
            router.add_get(path, _handler(check, self._trusted), name=path[1:])


def _handler(
    check: Callable[[], Check], trusted: Callable[[web.Request], bool]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        found = ask(check)
        body: dict[str, object] = {"status": "ok" if found.ok else "failed", "reasons": found.reasons}
        if trusted(request):
            body["details"] = found.details
        return web.Response(
            status=200 if found.ok else 503,
            body=orjson.dumps(body, default=str),
            content_type="application/json",
        )

    return answer
