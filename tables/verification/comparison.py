"""Counts of one bucket beside the least and the most that they may be. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tables.reserved_types import OVERFLOW
from tables.row_bodies import Counts


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
        bucket: start of the 10 s bucket, in seconds since 1970; ``TOTAL`` in a difference of totals.
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
