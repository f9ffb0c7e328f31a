"""The page ``/counts``: a row for each event type, a column for each priority."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from tables.buckets import WINDOWS
from tables.reserved_types import DEAD_LETTERS, OVERFLOW
from tables.views.counts_query import BadQueryError
from tables.views.encoding import late_hint
from tables.views.live_matrix import LiveMatrix
from tables.views.matrix import SORTS, URGENT, Found, MatrixQuery, parse_matrix_query
from tables.views.pages.layout import WINDOW_WORDS, Layout
from tables.views.pages.links import counts_address
from tables.views.pages.matrix_rows import RowWriter
from tables.views.trends import SPANS

#: Rows of the table unless more are asked for; others are on the next page.
PAGE_ROWS: Final = 100
_ROWS: Final = (50, 100, 500, 2000)
_DEFAULTS: Final = MatrixQuery(limit=PAGE_ROWS)
#: What stands in the rows that are of no event type.
_RESERVED: Final = {
    DEAD_LETTERS: f"{DEAD_LETTERS}: records that could not be read as notifications, each once, in the "
    "priority of the topic that it came in.",
    OVERFLOW: f"{OVERFLOW}: notifications whose event types are more than TOCSIN_MAX_EVENT_TYPES keeps.",
}


def asked_for(query: MatrixQuery) -> dict[str, str]:
    """Parameters of a query, those left out that are as they are without them."""
    found = {
        "window": query.window,
        "event_type": query.event_type or "",
        "priority": query.priority or "",
        "sort": query.sort,
        "limit": str(query.limit),
        "page": str(query.page),
    }
    usual = {"window": _DEFAULTS.window, "sort": URGENT, "limit": str(PAGE_ROWS), "page": "1"}
    return {name: value for name, value in found.items() if value and value != usual.get(name)}


class CountsPage:
    """The handler of the page."""

    def __init__(self, layout: Layout, matrix: LiveMatrix) -> None:
        self._layout = layout
        self._matrix = matrix
        layout.pages.append("counts")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/counts", self.page)

    async def page(self, request: web.Request) -> web.Response:
        """The page; wrong parameters are told on it."""
        mistake = None
        try:
            query = parse_matrix_query(request.query, limit=PAGE_ROWS, numbered=True)
        except BadQueryError as error:
            mistake, query = str(error), _DEFAULTS

        async def shown() -> Mapping[str, Any]:
            return await self._shown(query) | {"mistake": mistake}

        status = 400 if mistake else 200
        return await self._layout.render(request, "counts.html", shown, here="counts", status=status)

    async def _shown(self, query: MatrixQuery) -> dict[str, Any]:
        sources = self._layout.sources
        snapshot, found = await self._matrix.find(query)
        places = self._places(query, found)
        columns = [found.columns[place] for place in places]
        wanted = found.columns if query.priority is None else columns
        _, span, trends = await self._matrix.trends(
            query.window, [row.event_type for row in found.rows], wanted
        )
        # Windows shorter than the one that is usual there show little of an event type.
        window = "" if WINDOWS.get(query.window, WINDOWS["30d"]) <= WINDOWS["1h"] else query.window
        writer = RowWriter(
            found.columns, places, "30d" if window == "total" else window, self._layout.live.now_s
        )
        rows = []
        async with self._layout.live.lane.work() as pieces:
            for row, trend in zip(found.rows, trends, strict=True):
                rows.append(writer.written(row, trend))
                await pieces.rest()
        first = (query.page - 1) * query.limit
        shown = {row.event_type for row in found.rows}
        reserved = [name for name in _RESERVED if name in shown]
        return {
            "query": query,
            "asked": asked_for(query),
            "rows": rows,
            "row_numbers": (first + 1, first + len(rows), found.matched),
            "heads": self._heads(query, columns),
            "is_empty": not sources.counts.totals.priorities,
            "start": counts_address({}),
            "pages_of_table": self._pages(query, found),
            "windows": WINDOW_WORDS | {"total": "since the first"},
            "limits": sorted({*_ROWS, query.limit}),
            "priorities": [priority.value for priority in sources.settings.priorities],
            "span": SPANS[query.window].words if not rows else span.words,
            "reserved": [_RESERVED[name] for name in reserved],
            "has_dead_letters": DEAD_LETTERS in reserved,
            "late": [late_hint(each) for each in snapshot.late if query.priority in (None, each.priority)],
        }

    def _places(self, query: MatrixQuery, found: Found) -> list[int]:
        """Columns that are shown: of the priorities that are consumed here, or were counted by any worker."""
        sources = self._layout.sources
        if query.priority is not None:
            return [found.columns.index(query.priority)]
        known = {*(each.value for each in sources.settings.priorities), *sources.counts.totals.priorities}
        return [place for place, name in enumerate(found.columns) if name in known]

    @staticmethod
    def _heads(query: MatrixQuery, columns: list[str]) -> list[dict[str, str]]:
        """Name, order that a click leads to, and order of now, of each column that can be ordered by."""
        heads = [("Event type", "event_type", False)]
        # One that this version does not know has no place in the order.
        heads += [(name, name.lower() if name.lower() in SORTS else "", True) for name in columns]
        heads += [
            ("Total", "total", True),
            ("Per second", "rate", True),
            ("Last seen, UTC", "last_seen", True),
        ]
        found = []
        for name, field, is_number in heads:
            down = f"-{field}"
            # The usual order goes by the first priority, and then by the others.
            now = f"-{columns[0].lower()}" if query.sort == URGENT else query.sort
            first, second = (down, field) if is_number else (field, down)
            sort = second if now == first else first
            found.append(
                {
                    "name": name,
                    "sorted": {down: "descending", field: "ascending"}.get(now, ""),
                    "address": counts_address(asked_for(replace(query, sort=sort, page=1))) if field else "",
                }
            )
        return found

    @staticmethod
    def _pages(query: MatrixQuery, found: Found) -> dict[str, str]:
        """Addresses of other pages of the table, by their names."""
        last = max(1, -(-found.matched // query.limit))
        wanted: dict[str, int] = {}
        if query.page > 1:
            wanted |= {"First page": 1, "Previous page": min(query.page - 1, last)}
        if found.after is not None:
            wanted["Next page"] = query.page + 1
        return {name: counts_address(asked_for(replace(query, page=page))) for name, page in wanted.items()}
