"""The page at ``/``: rendered here, complete without JavaScript; its script only refreshes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from streams.notifications.visible import visible
from tables.totals import Count
from tables.views.counts_query import (
    ORDERS,
    WINDOW_NAMES,
    BadQueryError,
    CountsQuery,
    parse_counts_query,
)
from tables.views.encoding import late_hint
from tables.views.healthz import ask
from tables.views.live_counts import LiveCounts, Snapshot
from tables.views.problems import Problem
from tables.views.sources import Sources
from tables.views.times import age, rfc3339
from tables.views.units import byte_size

#: Rows of the table; more are on the next page.
PAGE_ITEMS: Final = 50
_MOST_PAGE_ITEMS: Final = 500
#: Counts that are older than this many seconds are called old.
STALE_S: Final = 15

_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

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


def number(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", "\u202f")


_BREAK_AFTER = re.compile(r"(?<=[./_:-])(?=.)")


def breakable(text: str) -> Markup:
    """``text``, escaped, that may wrap after its dots and the like; what cannot be seen in it is shown."""
    return Markup("<wbr>").join(escape(part) for part in _BREAK_AFTER.split(visible(text)))


def make_environment() -> Environment:
    """The templates of all pages."""
    environment = Environment(
        loader=PackageLoader("tables.views"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "byte_size": byte_size, "breakable": breakable}
    return environment


class Page:
    """Handlers of the page and its files."""

    def __init__(
        self,
        sources: Sources,
        live: LiveCounts,
        environment: Environment,
        is_signed_in: Callable[[web.Request], bool] = lambda _: False,
    ) -> None:
        self._sources = sources
        self._live = live
        self._is_signed_in = is_signed_in
        self._template = environment.get_template("page.html")
        self._files = {
            file.name: (file.read_bytes(), _TYPES[file.name[file.name.rindex(".") :]])
            for file in resources.files("tables.views").joinpath("static").iterdir()
            if file.is_file() and file.name.endswith(tuple(_TYPES))
        }

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/", self.page)
        router.add_get("/static/{name}", self.file, name="static")

    async def file(self, request: web.Request) -> web.Response:
        """A file that the page needs."""
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise Problem(404)
        return web.Response(body=found[0], content_type=found[1], charset="utf-8")

    async def page(self, request: web.Request) -> web.Response:
        """The page; wrong parameters are told on it."""
        mistake = None
        try:
            query = parse_counts_query(request.query, PAGE_ITEMS, _MOST_PAGE_ITEMS, sort=_URGENT_FIRST)
        except BadQueryError as error:
            mistake, query = str(error), CountsQuery(limit=PAGE_ITEMS, sort=_URGENT_FIRST)
        snapshot, items, cursor = await self._live.page(query)
        shown = self._shown(query, snapshot, items, cursor) | {
            "mistake": mistake,
            "signed_in": self._is_signed_in(request),
        }
        parts = []
        async with self._live.lane.work() as pieces:
            for part in self._template.generate(shown):
                parts.append(part)
                await pieces.rest()
        return web.Response(
            text="".join(parts), content_type="text/html", charset="utf-8", status=400 if mistake else 200
        )

    def _shown(
        self, query: CountsQuery, snapshot: Snapshot, items: list[Count], cursor: str | None
    ) -> dict[str, Any]:
        now_s = self._sources.clock()
        asked = {
            "window": query.window,
            "event_type": query.event_type or "",
            "priority": query.priority or "",
            "sort": query.sort,
        }
        if query.limit != PAGE_ITEMS:
            asked["limit"] = str(query.limit)
        ready, live = ask(self._sources.health.ready), ask(self._sources.health.live)
        snapshot_of_classes = self._sources.scheduler.snapshot()
        fresh = snapshot.freshness
        behind_s = now_s - fresh.as_of_s
        return {
            "asked": asked,
            "is_first_page": query.after is None,
            "cursor": cursor,
            "windows": {name: _WINDOWS[name] for name in WINDOW_NAMES},
            "sorts": {name: _SORTS[name] for name in _SORTS if name in ORDERS},
            "priorities": [priority.value for priority in self._sources.settings.priorities],
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
            "classes": [
                (priority.value, state, age(state.oldest_age_s))
                for priority, state in sorted(snapshot_of_classes.items(), key=lambda each: each[0].rank)
            ],
            "health": {
                "state": "ok" if ready.ok and live.ok else "bad",
                "words": "ready" if ready.ok and live.ok else ("not ready" if live.ok else "stuck"),
                "reasons": live.reasons + ready.reasons,
            },
            "as_of": rfc3339(fresh.as_of_s),
            "as_of_time": (rfc3339(fresh.as_of_s, "seconds") or "")[11:19],
            "as_of_old": age(behind_s) if fresh.as_of_s and behind_s > STALE_S else None,
            "late": [late_hint(each) for each in snapshot.late if query.priority in (None, each.priority)],
            "complete": fresh.complete,
            "missing": len(fresh.missing),
        }
