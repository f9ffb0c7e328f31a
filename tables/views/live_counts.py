"""Answers of the tables to the views, computed beside the scheduler without holding it up.

Everything here runs in the worker's event loop, in the short pieces of a `ReaderLane`, and a result is used
again for half a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tables.buckets import FINE, RESOLUTIONS, WINDOWS, parent
from tables.totals import Count, Late
from tables.views.counts_query import CountsQuery, FirstOf, SeriesQuery
from tables.views.kept_series import KeptSeries
from tables.views.reader_lane import ReaderLane
from tables.views.sources import CountsSource
from tables.views.window_sums import CLOSED_S, Span, WindowSums

#: A result serves this long, in seconds, and also so long that computing takes a tenth of the time.
_FRESH_S: Final = 0.5
_REST: Final = 10
#: Without new rows a result serves this long; windows move on.
_UNCHANGED_S: Final = 1.0
#: Counts that are looked at in one step.
_STEP: Final = 100


@dataclass(slots=True, frozen=True)
class Freshness:
    """What an answer is worth.

    Attributes:
        as_of_s: seconds since 1970 up to which everything is in it; 0 while that cannot be said.
        complete: False while something that was counted, and is older than some seconds, may be missing: this
            worker still reads, brokers do not answer, or nobody combines counts.
        missing: the partitions of the public topic that this is true of.
    """

    as_of_s: float
    complete: bool
    missing: list[int]

    @classmethod
    def of(cls, source: CountsSource) -> Freshness:
        """What an answer from ``source`` is worth now."""
        return cls(source.as_of, source.complete, sorted(source.missing))


@dataclass(slots=True, frozen=True)
class Moment:
    """When something was computed, of how many rows, and in how many seconds; so how long it serves."""

    applied: int
    complete: bool
    made_at: float
    cost_s: float = 0.0


@dataclass(slots=True, frozen=True)
class Snapshot:
    """All counts in one window, and how fresh they are."""

    freshness: Freshness
    items: list[Count]
    moment: Moment
    late: list[Late] = field(default_factory=list)


class LiveCounts:
    """Counts of all windows, as of now.

    Args:
        source: where they are read.
        clock: the time in seconds since 1970.
        monotonic: for the age of results, in seconds.

    Attributes:
        lane: in which all work for readers is done.
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
        self.lane = ReaderLane()
        self._sums = {name: WindowSums(length) for name, length in WINDOWS.items()}
        self._snapshots: dict[str, Snapshot] = {}
        self._locks = {name: asyncio.Lock() for name in [*WINDOWS, "total"]}
        self._moment: Moment | None = None
        self._series = KeptSeries()

    @property
    def now_s(self) -> float:
        """End of all windows: the time as of which counts are known, else the time now."""
        return self._source.as_of or self._clock()

    def freshness(self) -> Freshness:
        """What an answer is worth now."""
        return Freshness.of(self._source)

    def moment(self) -> Moment:
        """The same object for as long as what was computed at its time serves."""
        if self._moment is None or self._outdated(self._moment):
            self._moment = Moment(self._source.totals.applied, self._source.complete, self._monotonic())
        return self._moment

    async def page(self, query: CountsQuery) -> tuple[Snapshot, list[Count], str | None]:
        """The snapshot, the asked items of it, and the cursor of those after them."""
        snapshot = await self.snapshot(query.window)
        return snapshot, *await self.page_of(snapshot, query)

    async def page_of(self, snapshot: Snapshot, query: CountsQuery) -> tuple[list[Count], str | None]:
        """The asked items of a snapshot, and the cursor of those after them."""
        found = FirstOf(query)
        async with self.lane.work() as pieces:
            for start in range(0, len(snapshot.items), _STEP):
                found.add(query.filtered(snapshot.items[start : start + _STEP]))
                await pieces.rest()
        return found.page()

    async def snapshot(self, window: str) -> Snapshot:
        """All counts in a window, at most about half a second old.

        Raises:
            KeyError: an unknown window.
        """
        async with self._locks[window]:
            known = self._snapshots.get(window)
            if known is not None and not self._outdated(known.moment):
                return known
            try:
                made = self._snapshots[window] = await self._compute(window)
            except BaseException:
                # Ended between two steps, perhaps in the middle of a row: the sums are made anew.
                if window in self._sums:
                    self._sums[window] = WindowSums(WINDOWS[window])
                raise
            return made

    def _outdated(self, moment: Moment) -> bool:
        age = self._monotonic() - moment.made_at
        if moment.applied == self._source.totals.applied and moment.complete == self._source.complete:
            return age >= max(_UNCHANGED_S, moment.cost_s * _REST)
        return age >= max(_FRESH_S, moment.cost_s * _REST)

    async def _compute(self, window: str) -> Snapshot:
        totals = self._source.totals
        async with self.lane.work() as pieces:
            began, applied, freshness, now_s = (
                self._monotonic(),
                totals.applied,
                self.freshness(),
                self.now_s,
            )
            if window != "total":
                sums = self._sums[window]
                await pieces.run(sums.update(totals.rows, now_s))
            items: list[Count] = []
            for priority in totals.priorities:
                seen: dict[str, int] = {}
                for some in totals.since_ever_in_steps(priority, _STEP):
                    if window == "total":
                        items += some
                    else:
                        seen |= {each.event_type: each.last_seen_ms for each in some}
                    await pieces.rest()
                if window == "total":
                    continue
                found = [*sums.sums.get(priority, {}).items()]
                for start in range(0, len(found), _STEP):
                    items += [
                        Count(event_type, priority, count, seen.get(event_type, 0))
                        for event_type, count in found[start : start + _STEP]
                    ]
                    await pieces.rest()
        made_at = self._monotonic()
        late = [] if window == "total" else totals.late(WINDOWS[window], now_s)
        moment = Moment(applied, freshness.complete, made_at, made_at - began)
        return Snapshot(freshness, items, moment, late)

    async def series(self, event_type: str, priority: str, query: SeriesQuery) -> list[tuple[int, int]]:
        """Start and count of every bucket from the one that ``query`` starts in to before its end.

        Coarse buckets that have not closed yet are made of finer ones.
        """
        sums: dict[int, int] = {}
        totals, now_s, resolution_s = self._source.totals, int(self.now_s), query.resolution_s
        async with self.lane.work() as pieces:
            for resolution, start, end in series_spans(now_s, query):
                for bucket, count in self._series.series(
                    totals, event_type, priority, resolution, start, end
                ):
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
