"""Sums of a rolling window, kept up to date row by row. Pure.

Adding up a window anew takes from tens of milliseconds to seconds when there are many event types.
So the sums of the last query are kept with the rows they are made of, and the next query only takes
off the rows that left the window or were replaced, and adds the new ones. The work is cut into small
steps, for a caller that shares its thread with the scheduler.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import orjson

from tables.buckets import FINE, HOUR, MINUTE, parent
from tables.totals import StoredRow, StoredRows

#: Coarse buckets that ended this long ago are used: every source has moved on by then.
CLOSED_S: Final = 600

#: Work in one step, a fifth of a millisecond; comparing a row is 1, adding or taking off a count is 2.
_WORK_A_STEP: Final = 2000
_CHANGE: Final = 2
#: Counts of a row that are added or taken off in one step.
_STEP: Final = 500

Span = tuple[int, int, int]


def spans(now_s: int, window_s: int) -> list[Span]:
    """The buckets that a window is made of, as (resolution, start, before), in order and without overlap.

    It begins at the edge of a bucket: of 10 s up to an hour, of a minute up to a day, of an hour beyond.
    In between, the coarsest buckets that fit are used. It ends an hour ahead, because notifications may
    be dated a little into the future.
    """
    ahead = now_s + HOUR
    start = now_s - window_s
    if window_s <= CLOSED_S:
        return [(FINE, parent(start, FINE), ahead)]
    fine_from = parent(now_s - CLOSED_S, MINUTE)
    if window_s <= HOUR:
        start = parent(start, FINE)
        minutes_from = _up(start, MINUTE)
        return [(FINE, start, minutes_from), (MINUTE, minutes_from, fine_from), (FINE, fine_from, ahead)]
    minutes_again = parent(now_s - CLOSED_S, HOUR)
    recent = [(MINUTE, minutes_again, fine_from), (FINE, fine_from, ahead)]
    if window_s <= 24 * HOUR:
        start = parent(start, MINUTE)
        hours_from = _up(start, HOUR)
        return [(MINUTE, start, hours_from), (HOUR, hours_from, minutes_again), *recent]
    return [(HOUR, parent(start, HOUR), minutes_again), *recent]


def _up(time_s: int, resolution_s: int) -> int:
    return parent(time_s + resolution_s - 1, resolution_s)


class KeptSums(ABC):
    """Sums of the rows of some buckets, kept with the rows that they are made of."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], dict[int, dict[int, StoredRow]]] = {}

    @abstractmethod
    def _add(self, priority: str, bucket: int, some: list[tuple[str, int]], sign: int, /) -> None:
        """Add counts of a bucket by event type, or take them off where ``sign`` is -1."""

    def _update(self, rows: StoredRows, todo: list[Span]) -> Iterator[None]:
        work = 0
        for name in rows.keys() | self._held.keys():
            buckets = rows.get(name, {})
            held = self._held.setdefault(name, {})
            wanted = {b for r, start, end in todo if r == name[1] for b in _within(buckets, start, end, r)}
            for bucket in wanted | held.keys():
                slices = dict(buckets.get(bucket, {})) if bucket in wanted else {}
                known = held.setdefault(bucket, {})
                work += len(slices)
                for change in [s for s in slices.keys() | known.keys() if slices.get(s) is not known.get(s)]:
                    for touched in self._replace(name[0], bucket, known, change, slices.get(change)):
                        work += _CHANGE * touched
                        if work > _WORK_A_STEP:
                            work = 0
                            yield
                if not known:
                    del held[bucket]
                if work > _WORK_A_STEP:
                    work = 0
                    yield

    def _replace(
        self, priority: str, bucket: int, known: dict[int, StoredRow], where: int, row: StoredRow | None
    ) -> Iterator[int]:
        """Put ``row`` in the place of the one known there, in steps; each says how many counts it touched."""
        before = known.pop(where, None)
        if before is not None:
            for some in _steps(before.counts):
                self._add(priority, bucket, some, -1)
                yield len(some)
        if row is not None:
            known[where] = row
            for some in _steps(row.counts):
                self._add(priority, bucket, some, 1)
                yield len(some)


class WindowSums(KeptSums):
    """Sums per priority and event type of one rolling window.

    Args:
        window_s: its length in seconds.
    """

    def __init__(self, window_s: int) -> None:
        super().__init__()
        self._window_s = window_s
        #: priority -> event type -> count, without zeros.
        self.sums: dict[str, dict[str, int]] = {}

    def update(self, rows: StoredRows, now_s: float) -> Iterator[None]:
        """Bring the sums up to date, in steps; rows may change between steps.

        Args:
            rows: all rows that are known.
            now_s: end of the window, in seconds since 1970.
        """
        return self._update(rows, spans(int(now_s), self._window_s))

    def _add(self, priority: str, _bucket: int, some: list[tuple[str, int]], sign: int, /) -> None:
        sums = self.sums.setdefault(priority, {})
        for event_type, count in some:
            left = sums.get(event_type, 0) + sign * count
            if left:
                sums[event_type] = left
            else:
                sums.pop(event_type, None)


def _steps(row: bytes) -> Iterator[list[tuple[str, int]]]:
    counts = [*orjson.loads(row).items()]
    for start in range(0, len(counts), _STEP):
        yield counts[start : start + _STEP]


def _within(buckets: Mapping[int, object], start: int, end: int, resolution_s: int) -> Iterable[int]:
    if (end - start) // resolution_s > len(buckets):
        return [bucket for bucket in buckets if start <= bucket < end]
    return [bucket for bucket in range(start, end, resolution_s) if bucket in buckets]
