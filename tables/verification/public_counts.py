"""Public counts, and what they must lie between. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tables.buckets import FINE
from tables.public_rows import decode_key, decode_value
from tables.row_bodies import Counts
from tables.verification.budget import Budget
from tables.verification.comparison import Difference, Span, compare


class PublicBounds:
    """What the public counts of one priority must lie between."""

    def __init__(self) -> None:
        #: bucket -> event type -> [committed, published]
        self.by_bucket: dict[int, dict[str, list[int]]] = {}
        #: Seconds since 1970 from which no partition has lost a record to retention.
        self.covered_from_s: float = 0.0
        #: event type -> [committed, published], of all records that were counted again.
        self.totals: dict[str, list[int]] = {}
        #: Whether these are all that were ever published.
        self.whole = True

    def add_totals(self, counts: Counts, *, committed: bool) -> int:
        """Add records to the totals; return how many event types are new."""
        before = len(self.totals)
        for event_type, number in counts.items():
            pair = self.totals.setdefault(event_type, [0, 0])
            pair[0] += number if committed else 0
            pair[1] += number
        return len(self.totals) - before


@dataclass(slots=True)
class _Slice:
    """Counts of one slice in a bucket, and the input offset that they are as of."""

    offset: int
    counts: Counts


class PublicCounts:
    """The 10 s buckets of the public topic."""

    def __init__(self, span: Span, budget: Budget) -> None:
        self._span = span
        self._budget = budget
        #: (priority, bucket) -> slice, or a part of it -> offset and counts
        self._rows: dict[tuple[str, int], dict[int, _Slice]] = {}

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
            slices.pop(name.place, None)
            return
        try:
            found = decode_value(value)
        except ValueError:
            return
        if found.counts is None:
            return
        row = _Slice(found.offset, found.counts)
        known = slices.get(name.place)
        if known is None or known.offset <= row.offset:
            self._budget.take(len(row.counts) - (len(known.counts) if known is not None else 0))
            slices[name.place] = row

    def differences(
        self, priority: str, where: str, bounds: PublicBounds, *, lower: bool, upper: bool
    ) -> Iterator[Difference]:
        """How the public counts of a priority differ from the records.

        Args:
            priority: which.
            where: name of the public topic.
            bounds: what they must lie between.
            lower: whether all that is committed is known to be in them.
            upper: whether all that they count lies in topics of today.
        """
        buckets = {bucket for each, bucket in self._rows if each == priority} | bounds.by_bucket.keys()
        for bucket in sorted(buckets):
            counted: Counts = {}
            for row in self._rows.get((priority, bucket), {}).values():
                for event_type, number in row.counts.items():
                    counted[event_type] = counted.get(event_type, 0) + number
            least_and_most = {
                event_type: (low if lower else 0, high)
                for event_type, (low, high) in bounds.by_bucket.get(bucket, {}).items()
            }
            covered = upper and bucket >= bounds.covered_from_s
            yield from compare(priority, where, bucket, least_and_most, counted, covered=covered)
