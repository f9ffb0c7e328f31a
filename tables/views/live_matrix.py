"""The table of counts by event type and priority as of now, made in short pieces and once per change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tables.buckets import FINE, WINDOWS, parent
from tables.views.live_counts import LiveCounts, Moment, Snapshot
from tables.views.matrix import FirstRows, Found, Matrix, MatrixQuery
from tables.views.sources import CountsSource
from tables.views.trends import SPANS, Span, Trends

#: Window of which the rate is.
_LATELY: Final = "1m"
#: Counts, or rows, that are looked at in one step.
_STEP: Final = 50


@dataclass(slots=True, frozen=True)
class _Made:
    """A table, and what it is made of."""

    window: Snapshot
    lately: Snapshot
    matrix: Matrix


class LiveMatrix:
    """Tables of all windows, as of now.

    Args:
        source: of the counts.
        live: counts of all windows, and the lane in which all work for readers is done.
    """

    def __init__(self, source: CountsSource, live: LiveCounts) -> None:
        self._source = source
        self._live = live
        self._made: dict[str, _Made] = {}
        self._trends: dict[Span, tuple[Moment | None, Trends]] = {}
        self._locks: dict[object, asyncio.Lock] = {key: asyncio.Lock() for key in [*SPANS, *SPANS.values()]}

    async def find(self, query: MatrixQuery) -> tuple[Snapshot, Found]:
        """The snapshot that the rows are made of, and the page that is asked for."""
        made = await self._table(query.window)
        first = FirstRows(query, made.matrix)
        rows = [*made.matrix.rows.values()]
        async with self._live.lane.work() as pieces:
            for start in range(0, len(rows), _STEP):
                first.add(rows[start : start + _STEP])
                await pieces.rest()
        return made.window, Found.of(made.matrix, first)

    async def _table(self, window: str) -> _Made:
        async with self._locks[window]:
            snapshot = await self._live.snapshot(window)
            lately = snapshot if window == _LATELY else await self._live.snapshot(_LATELY)
            known = self._made.get(window)
            if known is None or known.window is not snapshot or known.lately is not lately:
                known = self._made[window] = _Made(snapshot, lately, await self._compute(snapshot, lately))
            return known

    async def _compute(self, snapshot: Snapshot, lately: Snapshot) -> Matrix:
        # The last minute begins at the edge of a bucket, and is so much longer.
        now_s = int(lately.freshness.as_of_s or self._live.now_s)
        matrix = Matrix(self._source.totals.priorities, now_s - parent(now_s - WINDOWS[_LATELY], FINE))
        async with self._live.lane.work() as pieces:
            for start in range(0, len(snapshot.items), _STEP):
                matrix.add(snapshot.items[start : start + _STEP])
                await pieces.rest()
            for start in range(0, len(lately.items), _STEP):
                matrix.add_lately(lately.items[start : start + _STEP])
                await pieces.rest()
        return matrix

    async def trends(
        self, window: str, event_types: Iterable[str], priorities: Sequence[str]
    ) -> tuple[int, Span, list[list[int]]]:
        """How the counts of some event types went lately.

        Args:
            window: of the table that it stands in, which the span follows.
            event_types: whose counts.
            priorities: that are added up.

        Returns:
            the start of the first step, in seconds since 1970; the span; for each event type, its counts.
        """
        span = SPANS[window]
        async with self._locks[span]:
            made_at, trends = self._trends.get(span, (None, Trends(span)))
            moment = self._live.moment()
            async with self._live.lane.work() as pieces:
                if made_at is not moment:
                    # Where it ends between two steps, perhaps in the middle of a row, it is made anew.
                    self._trends.pop(span, None)
                    await pieces.run(trends.update(self._source.totals.rows, self._live.now_s))
                    self._trends[span] = moment, trends
                found = []
                for event_type in event_types:
                    found.append(trends.of(event_type, priorities))
                    await pieces.rest()
                return trends.first, span, found
