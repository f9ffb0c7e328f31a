"""Answers of the tables to the views, computed beside the scheduler without holding it up.

Everything here runs in the worker's event loop. Long work is done in pieces of about two milliseconds,
and a result is used again for half a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tables.buckets import FINE, RESOLUTIONS, WINDOWS, parent
from tables.totals import Count, Late
from tables.views.counts_query import ORDERS, CountsQuery, SeriesQuery, order_key, page_of
from tables.views.sources import CountsSource
from tables.views.window_sums import CLOSED_S, Span, WindowSums

#: Seconds that the event loop is held at a time.
_PIECE_S: Final = 0.002
#: A result serves this long, in seconds, and also so long that computing takes a tenth of the time.
_FRESH_S: Final = 0.5
_REST: Final = 10
#: Without new rows a result serves this long; windows move on.
_UNCHANGED_S: Final = 1.0


class Pieces:
    """Lets other tasks run when the event loop was held for long enough."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def rest(self) -> None:
        """Give way, if it is time."""
        if time.perf_counter() - self._since > _PIECE_S:
            await asyncio.sleep(0)
            self._since = time.perf_counter()

    async def run(self, steps: Iterator[object]) -> None:
        """Run all of ``steps``."""
        for _ in steps:
            await self.rest()


@dataclass(slots=True, frozen=True)
class Freshness:
    """What an answer is worth.

    Attributes:
        as_of_s: seconds since 1970 up to which everything is in it; 0 while that cannot be said.
        complete: False while something older than some seconds may be missing: this worker still reads, or
            brokers do not answer.
        missing: the partitions of the public topic that this is true of.
    """

    as_of_s: float
    complete: bool
    missing: list[int]

    @classmethod
    def of(cls, source: CountsSource) -> Freshness:
        """What an answer from ``source`` is worth now."""
        return cls(source.as_of, source.complete, sorted(source.missing))


@dataclass(slots=True)
class Snapshot:
    """All counts in one window, and how fresh they are."""

    freshness: Freshness
    items: list[Count]
    applied: int
    made_at: float
    cost_s: float
    late: list[Late] = field(default_factory=list)
    _sorted: dict[str, list[Count]] = field(default_factory=dict)

    def ordered(self, sort: str) -> list[Count]:
        """The counts in an order of ``ORDERS``."""
        if sort not in self._sorted:
            field_name, descending = ORDERS[sort]
            self._sorted[sort] = sorted(
                self.items, key=order_key(sort), reverse=descending and field_name == "event_type"
            )
        return self._sorted[sort]


class LiveCounts:
    """Counts of all windows, as of now.

    Args:
        source: where they are read.
        clock: the time in seconds since 1970.
        monotonic: for the age of results, in seconds.
    """

    def __init__(
        self,
        source: CountsSource,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._clock = clock
        self._monotonic = monotonic
        self._sums = {name: WindowSums(length) for name, length in WINDOWS.items()}
        self._snapshots: dict[str, Snapshot] = {}
        self._locks = {name: asyncio.Lock() for name in [*WINDOWS, "total"]}

    @property
    def now_s(self) -> float:
        """End of all windows: the time as of which counts are known, else the time now."""
        return self._source.as_of or self._clock()

    async def page(self, query: CountsQuery) -> tuple[Snapshot, list[Count], str | None]:
        """The snapshot, the asked items of it, and the cursor of those after them."""
        snapshot = await self.snapshot(query.window)
        pieces = Pieces()
        found: list[Count] = []
        items = snapshot.ordered(query.sort)
        for start in range(0, len(items), 500):
            found += query.filtered(items[start : start + 500])
            await pieces.rest()
        return snapshot, *page_of(found, query)

    async def snapshot(self, window: str) -> Snapshot:
        """All counts in a window, at most about half a second old.

        Raises:
            KeyError: an unknown window.
        """
        async with self._locks[window]:
            known = self._snapshots.get(window)
            if known is not None and not self._outdated(known):
                return known
            made = self._snapshots[window] = await self._compute(window)
            return made

    def _outdated(self, known: Snapshot) -> bool:
        age = self._monotonic() - known.made_at
        if known.applied == self._source.totals.applied and known.freshness.complete == self._source.complete:
            return age >= max(_UNCHANGED_S, known.cost_s * _REST)
        return age >= max(_FRESH_S, known.cost_s * _REST)

    async def _compute(self, window: str) -> Snapshot:
        totals = self._source.totals
        began, applied, freshness, now_s = (
            self._monotonic(),
            totals.applied,
            Freshness.of(self._source),
            self.now_s,
        )
        pieces = Pieces()
        if window != "total":
            sums = self._sums[window]
            await pieces.run(sums.update(totals.rows, now_s))
        items: list[Count] = []
        for priority in totals.priorities:
            since_ever = totals.since_ever(priority)
            await pieces.rest()
            if window == "total":
                items += since_ever
                continue
            found = sums.sums.get(priority, {})
            seen = {each.event_type: each.last_seen_ms for each in since_ever}
            for event_type, count in list(found.items()):
                items.append(Count(event_type, priority, count, seen.get(event_type, 0)))
            await pieces.rest()
        made_at = self._monotonic()
        late = [] if window == "total" else totals.late(WINDOWS[window], now_s)
        return Snapshot(freshness, items, applied, made_at, made_at - began, late)

    async def series(self, event_type: str, priority: str, query: SeriesQuery) -> list[tuple[int, int]]:
        """Start and count of every bucket from the one that ``query`` starts in to before its end.

        Coarse buckets that have not closed yet are made of finer ones.
        """
        sums: dict[int, int] = {}
        pieces = Pieces()
        totals, now_s, resolution_s = self._source.totals, int(self.now_s), query.resolution_s
        for resolution, start, end in series_spans(now_s, query):
            for bucket, count in totals.series(event_type, priority, resolution, start, end):
                shown = parent(bucket, resolution_s)
                sums[shown] = sums.get(shown, 0) + count
                await pieces.rest()
        return list(sums.items())


def series_spans(now_s: int, query: SeriesQuery) -> list[Span]:
    """The buckets of a chart: of its own resolution, then finer ones where those are still open."""
    wanted = query.resolution_s
    start = parent(query.start_s, wanted)
    end = parent(query.end_s + wanted - 1, wanted)
    found = []
    for resolution in reversed(RESOLUTIONS[: RESOLUTIONS.index(wanted) + 1]):
        before = end if resolution == FINE else max(start, min(end, parent(now_s - CLOSED_S, resolution)))
        found.append((resolution, start, before))
        start = before
    return found
