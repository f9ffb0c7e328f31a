"""Counts of each priority in every minute of the last hour, all event types together.

A row is summed once: its sum is kept for as long as it is the same row. So a look costs little between two
rows, and what it costs is cut into small steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

from tables.buckets import FINE, HOUR, MINUTE, parent
from tables.totals import StoredRow, StoredRows
from tables.views.live_counts import LiveCounts
from tables.views.sources import CountsSource
from tables.views.window_sums import CLOSED_S

#: Values of each priority.
MINUTES: Final = 60
#: The time that the rate now is of, in seconds.
_NOW_S: Final = 60


@dataclass(slots=True, frozen=True)
class LastHour:
    """Counts of the last hour.

    Attributes:
        minutes: by priority, the count of each minute, oldest first; the last one has not ended. Where
            nothing was counted of a priority, it is left out.
        latest: by priority, the count of the last 60 seconds or a bit more.
        span_s: seconds that ``latest`` is of.
    """

    minutes: dict[str, list[int]] = field(default_factory=dict)
    latest: dict[str, int] = field(default_factory=dict)
    span_s: float = _NOW_S

    def of(self, priority: str) -> list[int]:
        """The minutes of a priority."""
        return self.minutes.get(priority) or [0] * MINUTES

    def per_s(self, priority: str) -> float:
        """Records a second of a priority in the last minute, by the times that they are dated."""
        return self.latest.get(priority, 0) / self.span_s


class MinuteCounts:
    """Sums of rows. Pure."""

    def __init__(self) -> None:
        self.hour = LastHour()
        self._sums: dict[tuple[str, int], dict[int, dict[int, tuple[StoredRow, int]]]] = {}

    def update(self, rows: StoredRows, now_s: float) -> Iterator[None]:
        """Bring ``hour`` up to date, in steps; rows may change between steps.

        Args:
            rows: all rows that are known.
            now_s: end of the hour, in seconds since 1970.
        """
        first = parent(int(now_s), MINUTE) - (MINUTES - 1) * MINUTE
        before = first + HOUR
        fine_from = parent(int(now_s) - CLOSED_S, MINUTE)
        latest_from = parent(int(now_s) - _NOW_S, FINE)
        spans = {MINUTE: (first, fine_from), FINE: (fine_from, before)}
        minutes: dict[str, list[int]] = {}
        latest: dict[str, int] = {}
        for name, buckets in list(rows.items()):
            priority, resolution_s = name
            if resolution_s not in spans:
                continue
            start, end = spans[resolution_s]
            known = self._sums.setdefault(name, {})
            for gone in [bucket for bucket in known if not start <= bucket < end]:
                del known[gone]
            values = minutes.setdefault(priority, [0] * MINUTES)
            for bucket in range(start, end, resolution_s):
                slices = buckets.get(bucket)
                if not slices:
                    known.pop(bucket, None)
                    continue
                count = 0
                for summed in _sums(known.setdefault(bucket, {}), slices):
                    count += summed
                    yield
                values[(bucket - first) // MINUTE] += count
                if bucket >= latest_from:
                    latest[priority] = latest.get(priority, 0) + count
        minutes = {priority: values for priority, values in minutes.items() if any(values)}
        self.hour = LastHour(minutes, latest, max(1.0, now_s - latest_from))


def _sums(known: dict[int, tuple[StoredRow, int]], slices: dict[int, StoredRow]) -> Iterator[int]:
    """The sum of each row of a bucket; rows that are not there any more are forgotten."""
    for gone in known.keys() - slices.keys():
        del known[gone]
    for place, row in list(slices.items()):
        kept = known.get(place)
        if kept is None or kept[0] is not row:
            kept = known[place] = row, sum(orjson.loads(row.counts).values())
        yield kept[1]


class LiveMinutes:
    """The last hour as of now, for any number of readers.

    Args:
        source: of the counts.
        live: whose moment and lane are used.
    """

    def __init__(self, source: CountsSource, live: LiveCounts) -> None:
        self._source = source
        self._live = live
        self._counts = MinuteCounts()
        self._lock = asyncio.Lock()
        self._made_of: object = None

    async def hour(self) -> LastHour:
        """The last hour, at most about half a second old."""
        async with self._lock:
            moment = self._live.moment()
            if self._made_of is not moment:
                async with self._live.lane.work() as pieces:
                    await pieces.run(self._counts.update(self._source.totals.rows, self._live.now_s))
                self._made_of = moment
            return self._counts.hour
