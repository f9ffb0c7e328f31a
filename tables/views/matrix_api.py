"""``GET /api/v1/matrix``: counts with an item for each event type, as the page Counts shows them.

It is an address of its own, and no parameter of ``/api/v1/counts``: its items are others, and a client made
from the OpenAPI document has one type for each answer.
"""

from __future__ import annotations

from functools import partial
from typing import Final, cast

import msgspec
from aiohttp import web

from tables.views.answers import Answer, Answers, answered, json_answer
from tables.views.bodies import MatrixBody, MatrixItem
from tables.views.encoding import late_items
from tables.views.live_counts import LiveCounts
from tables.views.live_matrix import LiveMatrix
from tables.views.matrix import MatrixQuery, MatrixRow, parse_matrix_query
from tables.views.times import rfc3339

#: Items that are put into JSON in one step.
_STEP: Final = 20
_encode: Final = msgspec.json.Encoder().encode


class MatrixApi:
    """The handler.

    Args:
        live: counts of all windows.
        matrix: the tables that are made of them.
        answers: keeps what was answered.
    """

    def __init__(self, live: LiveCounts, matrix: LiveMatrix, answers: Answers) -> None:
        self._live = live
        self._matrix = matrix
        self._answers = answers

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/api/v1/matrix", self.matrix)

    async def matrix(self, request: web.Request) -> web.Response:
        """Counts in a window."""
        query = parse_matrix_query(request.query)
        answer = await self._answers.get(
            query, self._live.moment(), partial(self._made, query), len(request.query_string)
        )
        return await answered(request, answer)

    async def _made(self, query: MatrixQuery) -> Answer:
        snapshot, found = await self._matrix.find(query)
        names = found.columns if query.priority is None else [query.priority]
        first, span, trends = await self._matrix.trends(
            query.window, [row.event_type for row in found.rows], names
        )
        parts = []
        async with self._live.lane.work() as pieces:
            for start in range(0, len(found.rows), _STEP):
                some = zip(found.rows[start : start + _STEP], trends[start : start + _STEP], strict=True)
                parts.append(_encode([matrix_item(found.columns, *each) for each in some])[1:-1])
                await pieces.rest()
            fresh = snapshot.freshness
            as_of = rfc3339(fresh.as_of_s)
            body = MatrixBody(
                as_of,
                fresh.complete,
                fresh.missing,
                query.window,
                rfc3339(first, "seconds"),
                span.step_s,
                found.matched,
                # msgspec puts what is raw where the list would be.
                cast("list[MatrixItem]", msgspec.Raw(b"[" + b",".join(parts) + b"]")),
                found.after,
                late_items(snapshot.late, query.priority),
            )
            return json_answer(_encode(body), as_of)


def matrix_item(columns: list[str], row: MatrixRow, trend: list[int]) -> MatrixItem:
    """A row as the API shows it."""
    return MatrixItem(
        row.event_type,
        {name: count for name, count in zip(columns, row.counts, strict=True) if count},
        row.total,
        round(row.rate, 3),
        rfc3339(row.last_seen_ms / 1000),
        trend,
    )
