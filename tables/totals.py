"""Counts of the whole cluster in memory, as read from the public topic: any worker answers any query. Pure.

Sums over windows of time are made of these rows by ``tables.views.window_sums``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import orjson

from tables.again import is_question
from tables.buckets import FINE, HOUR, RETENTION_S, parent
from tables.public_rows import PublicKey, decode_key, decode_value
from tables.reserved_types import OVERFLOW
from tables.row_bodies import Counts, TypeTotal

#: Buckets are forgotten so many seconds after workers give them up, which may lag.
_MARGIN_S = 2 * HOUR
#: Counts usually come within seconds of what they count; those that are dated earlier are late.
_LATE_S = 120
#: Seconds for which that is worth saying.
_LATE_SHOWN_S = 180
#: Bytes of rows that are kept as they were parsed, which takes several times as much.
_MOST_PARSED_BYTES = 16 * 2**20


@dataclass(slots=True, frozen=True)
class Count:
    """Count of one event type in one priority.

    ``last_seen_ms`` is the event time of the latest notification, in milliseconds since 1970.
    """

    event_type: str
    priority: str
    count: int
    last_seen_ms: int


@dataclass(slots=True)
class StoredRow:
    """A row of one bucket; a changed row is another object.

    Attributes:
        offset: input offset that it is as of.
        counts: event type -> count, as JSON, which takes less memory.
    """

    offset: int
    counts: bytes


#: (priority, resolution) -> bucket -> place of the public key, which is the slice or a part of it -> row
StoredRows = dict[tuple[str, int], dict[int, dict[int, StoredRow]]]


@dataclass(slots=True)
class _Known:
    """The total of an event type, as a row said last.

    Attributes:
        total: records ever counted.
        last_seen_ms: event time of the latest, in milliseconds since 1970.
        offset: input offset that the row is as of.
        part: of the row of totals that said it, or one of the following when only rows of buckets did.
    """

    total: int
    last_seen_ms: int
    offset: int
    part: int


_OF_A_BUCKET: Final = -1
#: The same, and the first part of a later row of totals did not name it.
_DOUBTFUL: Final = -2


class _Parsed(dict[bytes, Counts]):
    """Rows as JSON -> what they say; remembers the latest, up to a number of bytes."""

    _bytes = 0

    def __missing__(self, row: bytes) -> Counts:
        if self._bytes > _MOST_PARSED_BYTES:
            self.clear()
            self._bytes = 0
        self._bytes += len(row)
        found: Counts = orjson.loads(row)
        self[row] = found
        return found


@dataclass(slots=True, frozen=True)
class Late:
    """Counts came that are dated long before they came.

    Attributes:
        priority: of them.
        behind_s: how long before, in seconds.
        at_s: when the last came, in seconds since 1970.
    """

    priority: str
    behind_s: float
    at_s: float


class ForeignRowError(Exception):
    """A row is another app's."""

    def __init__(self, app: str) -> None:
        super().__init__(f"a row of the app {app}")
        self.app = app


class Totals:
    """Sums per event type, priority and bucket.

    Args:
        app: ``TOCSIN_APP_ID``; rows of another app are left out. None takes in every app's.
    """

    def __init__(self, app: str | None = None) -> None:
        self._app = app
        #: Rows of buckets, for who makes sums of them.
        self.rows: StoredRows = {}
        #: priority -> slice -> event type -> total
        self._totals: dict[str, dict[int, dict[str, _Known]]] = {}
        #: (priority, slice) of totals that take more than one record.
        self._in_parts: set[tuple[str, int]] = set()
        #: (priority, place) -> input offset that its row of totals is as of
        self._total_offsets: dict[tuple[str, int], int] = {}
        #: The highest time of the rows that were taken in, by their records, in seconds since 1970.
        self.reached_s = 0.0
        self._late: dict[str, Late] = {}
        #: Rows taken in, for the metrics.
        self.applied = 0
        #: Rows left out because a newer one was known.
        self.outdated = 0
        self._parse: Callable[[bytes], Counts] = _Parsed().__getitem__

    # ---------------------------------------------------------------- taking in

    def apply(self, key: bytes, value: bytes | None, written_s: float = 0.0) -> bool:
        """Take in a row of the public topic.

        Args:
            key: of the row.
            value: of the row; None when its bucket is no longer kept.
            written_s: time of its record in seconds since 1970, where it is one that has just come.

        Returns:
            False when it is older than what is known: a worker that lost its partitions wrote it late.

        Raises:
            ForeignRowError: another app wrote it, and it is left out.
            ValueError: it is not such a row.
        """
        if is_question(key):
            return True
        name = decode_key(key)
        if value is None:
            self._forget(name)
            return True
        row = decode_value(value)
        if name.bucket is not None and row.counts is None:
            raise ValueError(f"the value of {key!r} has no counts")
        if row.app and self._app is not None and row.app != self._app:
            raise ForeignRowError(row.app)
        self.applied += 1
        part = (name.priority, name.place)
        if name.resolution_s is None:
            if row.offset < self._total_offsets.get(part, -1):
                self.outdated += 1
                return False
            self._total_offsets[part] = row.offset
            self._take_totals(name, row.offset, row.totals or {})
        elif row.totals and row.offset >= self._total_offsets.get((name.priority, name.slice), -1):
            self._merge_totals(name, row.offset, row.totals)
        if name.resolution_s is None or name.bucket is None:
            return True
        buckets = self.rows.setdefault((name.priority, name.resolution_s), {})
        slices = buckets.setdefault(name.bucket, {})
        known = slices.get(name.place)
        if known is not None and known.offset > row.offset:
            self.outdated += 1
            return False
        stored = slices[name.place] = StoredRow(row.offset, orjson.dumps(row.counts))
        behind_s = written_s - name.bucket - FINE
        if (
            name.resolution_s == FINE
            and behind_s > _LATE_S
            and (known is None or known.counts != stored.counts)
        ):
            self._came_late(name.priority, behind_s, written_s)
        return True

    def _came_late(self, priority: str, behind_s: float, at_s: float) -> None:
        before = self._late.get(priority)
        if before is not None and at_s - before.at_s < _LATE_SHOWN_S:
            behind_s = max(behind_s, before.behind_s)
        self._late[priority] = Late(priority, behind_s, at_s)

    def late(self, window_s: float, now_s: float) -> list[Late]:
        """What came in the last minutes, and is dated too early for a window of this length."""
        return [
            each
            for each in self._late.values()
            if each.behind_s > window_s and abs(now_s - each.at_s) < _LATE_SHOWN_S
        ]

    def _take_totals(self, name: PublicKey, offset: int, found: dict[str, TypeTotal]) -> None:
        """Take in a row of totals, which says all as of its offset: what it names no more was forgotten."""
        known = self._totals.setdefault(name.priority, {}).setdefault(name.slice, {})
        place = name.priority, name.slice
        if name.part:
            self._in_parts.add(place)
        for event_type, total in [*known.items()]:
            if total.offset > offset or event_type in found:
                continue
            if total.part == name.part or (not name.part and total.part == _DOUBTFUL):
                del known[event_type]
            elif total.part == _OF_A_BUCKET and not name.part:
                if place in self._in_parts:
                    total.part = _DOUBTFUL  # a later part may name it
                else:
                    del known[event_type]
        for event_type, each in found.items():
            before = known.get(event_type)
            if before is None or before.offset <= offset:
                known[event_type] = _Known(each.total, each.last_seen_ms, offset, name.part)
            else:
                _raise(before, each)
                before.part = name.part

    def _merge_totals(self, name: PublicKey, offset: int, found: dict[str, TypeTotal]) -> None:
        """Take in totals that a row of a bucket carries."""
        known = self._totals.setdefault(name.priority, {}).setdefault(name.slice, {})
        for event_type, each in found.items():
            before = known.get(event_type)
            if before is None:
                known[event_type] = _Known(each.total, each.last_seen_ms, offset, _OF_A_BUCKET)
            else:
                _raise(before, each)
                before.offset = max(before.offset, offset)

    def _forget(self, name: PublicKey) -> None:
        if name.resolution_s is None or name.bucket is None:
            return
        buckets = self.rows.get((name.priority, name.resolution_s), {})
        slices = buckets.get(name.bucket)
        if slices is not None:
            slices.pop(name.place, None)
            if not slices:
                del buckets[name.bucket]

    def reach(self, record_ms: int) -> None:
        """A row whose record has this time, in milliseconds since 1970, is about to be taken in."""
        self.reached_s = max(self.reached_s, record_ms / 1000)

    def expire(self, now_s: float) -> None:
        """Forget buckets that no window reaches, by the clock and by the times of the rows."""
        now_s = min(now_s, self.reached_s)  # the clock may be ahead
        for (_, resolution), buckets in self.rows.items():
            before = now_s - RETENTION_S[resolution] - _MARGIN_S
            for bucket in [b for b in buckets if b < before]:
                del buckets[bucket]

    # ---------------------------------------------------------------- answering

    @property
    def priorities(self) -> list[str]:
        """Priorities that were ever counted."""
        return list(self._totals)

    def since_ever_in_steps(self, priority: str, most: int = 1000) -> Iterator[list[Count]]:
        """All that was ever counted in one priority, ``most`` counts at a time at most, in no order.

        Rows may be taken in between two steps.
        """
        slices = [*self._totals.get(priority, {}).values()]
        for totals in slices:
            known = [*totals.items()]
            for start in range(0, len(known), most):
                yield [
                    Count(event_type, priority, each.total, each.last_seen_ms)
                    for event_type, each in known[start : start + most]
                    if event_type != OVERFLOW
                ]
        # The only one that every slice may have: what it has forgotten.
        if others := [totals[OVERFLOW] for totals in slices if OVERFLOW in totals]:
            yield [Count(OVERFLOW, priority, *_sum_of(others))]

    def series(
        self, event_type: str, priority: str, resolution_s: int, start_s: int, end_s: int
    ) -> Iterator[tuple[int, int]]:
        """Bucket start and count of one event type, for every bucket from ``start_s`` to before ``end_s``."""
        buckets = self.rows.get((priority, resolution_s), {})
        for bucket in range(parent(start_s, resolution_s), end_s, resolution_s):
            stored = buckets.get(bucket, {}).values()
            yield bucket, sum(self._parse(row.counts).get(event_type, 0) for row in stored)

    def known(self, event_type: str) -> dict[str, tuple[int, int]]:
        """Priority -> (total, last seen in ms) of an event type."""
        found = {}
        for priority, slices in self._totals.items():
            if each := [totals[event_type] for totals in slices.values() if event_type in totals]:
                found[priority] = _sum_of(each)
        return found


def _raise(known: _Known, found: TypeTotal) -> None:
    known.total = max(known.total, found.total)
    known.last_seen_ms = max(known.last_seen_ms, found.last_seen_ms)


def _sum_of(some: list[_Known]) -> tuple[int, int]:
    """Total, and when the latest was seen."""
    return sum(each.total for each in some), max(each.last_seen_ms for each in some)


def make_matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate for event types: ``*`` and ``?`` are wildcards, as in ``compute.*``; case matters."""
    if not any(mark in pattern for mark in "*?["):
        return pattern.__eq__
    matches = re.compile(fnmatch.translate(pattern.replace("[", "[[]"))).match
    return lambda event_type: matches(event_type) is not None
