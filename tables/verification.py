"""Do the counts agree with the records? Comparisons of rows with what lies in the topics. Pure.

A row of a source counts each record of its 10 s bucket up to the offset that the row is as of. So when the
records up to that offset, and all that the group has committed, are counted once more, the row holds just
as many of each event type: fewer were lost, more were counted twice. The public counts are sums over the
sources and carry no offset of theirs, so they lie between what was committed before they were read and
all that was published before; in a bucket that is over, both are the same.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from tables.buckets import FINE
from tables.public_rows import decode_key
from tables.reserved_types import DEAD_LETTERS, OVERFLOW
from tables.rows import VersionedRows, bucket_in, bucket_name

#: event type -> number
Counts = dict[str, int]

_ROW_KEY: Final = b"r/"


class TooManyCountsError(Exception):
    """More different counts than fit into memory; the message says what to do."""


class Budget:
    """Bounds the memory of a comparison by the number of counts that it holds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0

    def take(self, number: int) -> None:
        """Hold so many more.

        Raises:
            TooManyCountsError: they are too many.
        """
        self._used += number
        if self._used > self._most:
            raise TooManyCountsError(
                f"There are more than {self._most:,} different counts to keep in memory: "
                "give a shorter --since or --window, or a larger --most-counts."
            )

    def free(self, number: int) -> None:
        """Hold so many less."""
        self._used -= number


@dataclass(slots=True, frozen=True)
class Span:
    """Buckets that are compared: they start from ``start_s`` to before ``end_s`` (seconds since 1970)."""

    start_s: int
    end_s: int

    def holds(self, bucket: int) -> bool:
        """Whether a bucket is compared."""
        return self.start_s <= bucket < self.end_s


@dataclass(slots=True, frozen=True)
class Difference:
    """Counts that do not agree.

    Attributes:
        priority: of the topic.
        where: topic and partition whose row differs, or the public topic.
        bucket: start of the 10 s bucket, in seconds since 1970.
        event_type: which; the overflow type stands for the sum of a row whose event types are capped.
        published: how many lie in the notification topic.
        counted: how many are counted.
    """

    priority: str
    where: str
    bucket: int
    event_type: str
    published: int
    counted: int

    @property
    def lost(self) -> int:
        """Published and not counted."""
        return max(0, self.published - self.counted)

    @property
    def excess(self) -> int:
        """Counted and not published: counted twice, or made up."""
        return max(0, self.counted - self.published)


# ---------------------------------------------------------------- rows of the sources


@dataclass(slots=True)
class Row:
    """A row of one source and bucket."""

    offset: int
    counts: Counts


class ChangelogRows:
    """The 10 s rows in one partition of the changelog, read in order; deleted ones are gone.

    Args:
        sources: names of the sources that are compared.
        known: names of all sources that belong to some topic of today.
        span: which buckets.
        budget: of all that is held.
    """

    def __init__(self, sources: Iterable[str], known: Iterable[str], span: Span, budget: Budget) -> None:
        self._sources = {source.encode() for source in sources}
        self._known = {source.encode() for source in known} | self._sources
        self._span = span
        self._budget = budget
        self._values: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = None
        #: Sources that no topic of today has.
        self.strange: set[str] = set()

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the changelog; one that is no 10 s row of these buckets is left out."""
        if key is None or not key.startswith(_ROW_KEY):
            return
        try:
            _, source, resolution, _ = key.split(b"/", 3)
            if int(resolution) != FINE or not self._span.holds(bucket_in(key)):
                return
        except ValueError:
            return
        if source not in self._sources:
            if source not in self._known and value is not None:
                self.strange.add(source.decode("utf-8", "backslashreplace"))
            return
        self._sorted = None
        if value is None:
            self._values.pop(key, None)
        else:
            if key not in self._values:
                self._budget.take(1)
            self._values[key] = value

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with ``start <= key < end``, in order."""
        if self._sorted is None:
            self._sorted = sorted(self._values)
        for index in range(bisect.bisect_left(self._sorted, start), len(self._sorted)):
            key = self._sorted[index]
            if key >= end:
                return
            yield key, self._values[key]

    def of(self, source: str) -> dict[int, Row]:
        """Bucket -> the version of its row that holds."""
        rows = VersionedRows(self, "")
        span = self._span
        names = self.scan(bucket_name(source, FINE, span.start_s), bucket_name(source, FINE, span.end_s))
        found = {}
        for bucket in {bucket_in(key) for key, _ in names}:
            loaded = rows.load(bucket_name(source, FINE, bucket))
            if loaded is not None:
                counts = {event_type: entry[0] for event_type, entry in loaded.body.items() if entry[0]}
                found[bucket] = Row(loaded.offset, counts)
        return found

    def close(self) -> None:
        """Give the memory back."""
        self._budget.free(len(self._values))
        self._values, self._sorted = {}, None


# ---------------------------------------------------------------- records, counted once more


class Sums:
    """What the public counts of one priority must lie between."""

    def __init__(self) -> None:
        #: bucket -> event type -> [committed, published]
        self.bounds: dict[int, dict[str, list[int]]] = {}
        #: Seconds since 1970 from which no partition has lost a record to retention.
        self.covered_from_s: float = 0.0


class SourceTally:
    """Records of one source, counted once more.

    Args:
        rows: the source's rows.
        committed: offset up to which the group has committed.
        before: records from this offset on were published after the public counts were read.
        span: which buckets.
        sums: of the priority, taken further.
        budget: of all that is held.
    """

    def __init__(
        self,
        rows: Mapping[int, Row],
        committed: int,
        before: int,
        span: Span,
        sums: Sums,
        budget: Budget,
    ) -> None:
        self.rows = rows
        self._committed = committed
        self._before = before
        self._span = span
        self._sums = sums
        self._budget = budget
        self._expected: dict[int, Counts] = {}
        self._cuts = sorted({committed, before, *(row.offset + 1 for row in rows.values())})

    @property
    def end(self) -> int:
        """Records from this offset on say nothing about rows or public counts."""
        return self._cuts[-1]

    def cut(self, offset: int) -> int:
        """The next offset after ``offset`` that records must not be counted together across."""
        index = bisect.bisect_right(self._cuts, offset)
        return self._cuts[index] if index < len(self._cuts) else offset + 1_000_000_000

    def add(self, counts: Mapping[int, Counts], last: int) -> None:
        """Take in the counts, by bucket, of records that no cut divides, up to offset ``last``."""
        committed, published = last < self._committed, last < self._before
        for bucket, found in counts.items():
            if not self._span.holds(bucket):
                continue
            row = self.rows.get(bucket)
            if committed or (row is not None and last <= row.offset):
                expected = self._expected.setdefault(bucket, {})
                before = len(expected)
                for event_type, number in found.items():
                    expected[event_type] = expected.get(event_type, 0) + number
                self._budget.take(len(expected) - before)
            if published:
                bounds = self._sums.bounds.setdefault(bucket, {})
                before = len(bounds)
                for event_type, number in found.items():
                    pair = bounds.setdefault(event_type, [0, 0])
                    pair[0] += number if committed else 0
                    pair[1] += number
                self._budget.take(len(bounds) - before)

    def differences(
        self, priority: str, where: str, *, kept_from_s: float, covered_from_s: float
    ) -> Iterator[Difference]:
        """How the rows differ from the records.

        Args:
            priority: of the topic.
            where: topic and partition.
            kept_from_s: buckets that start earlier are left out, for their rows may have expired.
            covered_from_s: buckets that start earlier may have lost records to retention, so that there
                only too low a count is a difference.
        """
        for bucket in sorted(self._expected.keys() | self.rows.keys()):
            if bucket < kept_from_s:
                continue
            row = self.rows.get(bucket)
            expected = self._expected.get(bucket, {})
            yield from compare(
                priority,
                where,
                bucket,
                {event_type: (number, number) for event_type, number in expected.items()},
                row.counts if row is not None else {},
                covered=bucket >= covered_from_s,
            )

    @property
    def buckets(self) -> int:
        """How many buckets were compared."""
        return len(self._expected.keys() | self.rows.keys())

    @property
    def records(self) -> int:
        """How many records the rows should count."""
        return sum(sum(counts.values()) for counts in self._expected.values())

    @property
    def dead_letters(self) -> int:
        """How many of these cannot be read."""
        return sum(counts.get(DEAD_LETTERS, 0) for counts in self._expected.values())

    def close(self) -> None:
        """Give the memory back."""
        self._budget.free(sum(map(len, self._expected.values())))
        self._expected = {}


# ---------------------------------------------------------------- public counts


class PublicCounts:
    """The 10 s buckets of the public topic."""

    def __init__(self, span: Span, budget: Budget) -> None:
        self._span = span
        self._budget = budget
        #: (priority, bucket) -> slice -> offset and counts
        self._rows: dict[tuple[str, int], dict[int, Row]] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the public topic; older versions of a row, and other rows, are left out."""
        try:
            name = decode_key(key or b"")
        except ValueError:
            return
        if name.resolution_s != FINE or name.bucket is None or not self._span.holds(name.bucket):
            return
        slices = self._rows.setdefault((name.priority, name.bucket), {})
        if value is None:
            slices.pop(name.slice, None)
            return
        try:
            body = orjson.loads(value)
            row = Row(int(body["offset"]), {str(t): int(number) for t, number in body["counts"].items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        known = slices.get(name.slice)
        if known is None or known.offset <= row.offset:
            self._budget.take(len(row.counts) - (len(known.counts) if known is not None else 0))
            slices[name.slice] = row

    def differences(
        self, priority: str, where: str, sums: Sums, *, lower: bool, upper: bool
    ) -> Iterator[Difference]:
        """How the public counts of a priority differ from the records.

        Args:
            priority: which.
            where: name of the public topic.
            sums: what they must lie between.
            lower: whether all that is committed is known to be in them.
            upper: whether all that they count lies in topics of today.
        """
        buckets = {bucket for each, bucket in self._rows if each == priority} | sums.bounds.keys()
        for bucket in sorted(buckets):
            counted: Counts = {}
            for row in self._rows.get((priority, bucket), {}).values():
                for event_type, number in row.counts.items():
                    counted[event_type] = counted.get(event_type, 0) + number
            bounds = {
                event_type: (low if lower else 0, high)
                for event_type, (low, high) in sums.bounds.get(bucket, {}).items()
            }
            covered = upper and bucket >= sums.covered_from_s
            yield from compare(priority, where, bucket, bounds, counted, covered=covered)


def compare(
    priority: str,
    where: str,
    bucket: int,
    bounds: Mapping[str, tuple[int, int]],
    counted: Counts,
    *,
    covered: bool,
) -> Iterator[Difference]:
    """Compare the counts of one bucket with the least and the most that they may be.

    Args:
        priority: of the topic.
        where: what is compared.
        bucket: its start.
        bounds: event type -> least and most.
        counted: event type -> count.
        covered: whether all records are still there; if not, a count may be above the most.
    """
    names = bounds.keys() | counted.keys()
    if OVERFLOW not in counted:
        for event_type in sorted(names):
            low, high = bounds.get(event_type, (0, 0))
            number = counted.get(event_type, 0)
            if number < low:
                yield Difference(priority, where, bucket, event_type, low, number)
            elif covered and number > high:
                yield Difference(priority, where, bucket, event_type, high, number)
        return
    # The cap was hit: which event types go by name depends on which came first, and their sum does not.
    low, high = (sum(bound[side] for bound in bounds.values()) for side in (0, 1))
    total = sum(counted.values())
    if total < low or (covered and total > high):
        yield Difference(priority, where, bucket, OVERFLOW, low if total < low else high, total)
    for event_type in sorted(counted.keys() - {OVERFLOW}):
        high = bounds.get(event_type, (0, 0))[1]
        if covered and counted[event_type] > high:
            yield Difference(priority, where, bucket, event_type, high, counted[event_type])


# ---------------------------------------------------------------- what retention has left


def covered_from_s(
    beginning: int, end: int, first_ms: int | None, *, brokers_clock: bool, future_s: int
) -> float:
    """From which second on a partition still has every record of a bucket.

    Args:
        beginning: its first offset.
        end: the offset after its last record.
        first_ms: time of its first record; None when it has none.
        brokers_clock: whether the times of records are the broker's, which rise with the offset.
        future_s: how far after the broker's time a notification's own time is believed.

    Returns:
        Seconds since 1970; 0 when nothing was deleted, infinite when nothing can be said.
    """
    if beginning == 0:
        return 0.0
    if beginning >= end or first_ms is None or not brokers_clock:
        return math.inf
    # What was deleted is no younger, and lies in no bucket that is further ahead.
    return first_ms / 1000 + future_s
