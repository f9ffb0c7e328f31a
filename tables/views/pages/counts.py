"""The page ``/counts``: notifications by event type and priority."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from tables.views.counts_query import (
    ORDERS,
    WINDOW_NAMES,
    BadQueryError,
    CountsQuery,
    parse_counts_query,
)
from tables.views.encoding import late_hint
from tables.views.pages.layout import Layout
from tables.views.times import age, rfc3339

#: Rows of the table; more are on the next page.
PAGE_ITEMS: Final = 50
_MOST_PAGE_ITEMS: Final = 500

#: The order unless another is asked for: CRITICAL stands on top.
_URGENT_FIRST: Final = "priority"
_SORTS: Final = {
    "priority": "most urgent first",
    "-count": "most first",
    "count": "fewest first",
    "-last_seen": "latest first",
    "last_seen": "longest ago first",
    "event_type": "event type A to Z",
    "-event_type": "event type Z to A",
    "-priority": "least urgent first",
}
_WINDOWS: Final = {
    "1m": "last minute",
    "5m": "last 5 minutes",
    "1h": "last hour",
    "24h": "last 24 hours",
    "30d": "last 30 days",
    "total": "since the first",
}


class CountsPage:
    """The handler of the page."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        layout.pages.append("counts")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/counts", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """The page; wrong parameters are told on it."""
        mistake = None
        try:
            query = parse_counts_query(request.query, PAGE_ITEMS, _MOST_PAGE_ITEMS, sort=_URGENT_FIRST)
        except BadQueryError as error:
            mistake, query = str(error), CountsQuery(limit=PAGE_ITEMS, sort=_URGENT_FIRST)

        async def shown() -> Mapping[str, Any]:
            return await self._shown(query) | {"mistake": mistake}

        status = 400 if mistake else 200
        return await self._layout.render(request, "counts.html", shown, here="counts", status=status)

    async def _shown(self, query: CountsQuery) -> dict[str, Any]:
        sources = self._layout.sources
        snapshot, items, cursor = await self._layout.live.page(query)
        now_s = sources.clock()
        asked = {
            "window": query.window,
            "event_type": query.event_type or "",
            "priority": query.priority or "",
            "sort": query.sort,
        }
        if query.limit != PAGE_ITEMS:
            asked["limit"] = str(query.limit)
        return {
            "asked": asked,
            "is_first_page": query.after is None,
            "cursor": cursor,
            "windows": {name: _WINDOWS[name] for name in WINDOW_NAMES},
            "sorts": {name: _SORTS[name] for name in _SORTS if name in ORDERS},
            "priorities": [priority.value for priority in sources.settings.priorities],
            "items": [
                {
                    "event_type": item.event_type,
                    "priority": item.priority,
                    "count": item.count,
                    "last_seen": rfc3339(item.last_seen_ms / 1000),
                    "age": age(now_s - item.last_seen_ms / 1000),
                }
                for item in items
            ],
            "late": [late_hint(each) for each in snapshot.late if query.priority in (None, each.priority)],
        }
