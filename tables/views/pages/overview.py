"""The page ``/``: what an operator keeps on the wall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tables.views.pages.layout import Layout
from tables.views.pages.links import moved
from tables.views.times import age


class OverviewPage:
    """The handler of the page."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        layout.pages.append("./")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """The page; who comes with parameters has a bookmark of what is now the page Counts."""
        if (address := moved(request.query.items())) is not None:
            return web.Response(status=302, headers={"Location": address})
        return await self._layout.render(request, "overview.html", self._shown, here="./")

    async def _shown(self) -> Mapping[str, Any]:
        classes = self._layout.sources.scheduler.snapshot()
        return {
            "classes": [
                (priority.value, state, age(state.oldest_age_s))
                for priority, state in sorted(classes.items(), key=lambda each: each[0].rank)
            ],
        }
