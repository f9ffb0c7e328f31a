"""What a worker did since it started, as the metrics and its state show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from streams.notifications.notification import Reason, Repair
from streams.notifications.priority import Priority
from streams.notifications.record_time import RecordTime

if TYPE_CHECKING:  # Faust would come with it
    pass


class TimeSkew(Protocol):
    """How far notifications are dated from their records, at most, in seconds."""

    behind_s: float
    ahead_s: float


class Histogram(Protocol):
    """Latencies: ``agents.latencies.Latencies``.

    Attributes:
        bounds_s: upper bounds of the buckets, in seconds.
        counts: of each bucket, and of what lies above the last bound.
        sum_s: of all latencies, in seconds.
    """

    bounds_s: ClassVar[Sequence[float]]
    counts: list[int]
    sum_s: float


class StoreSize(Protocol):
    """Local copies of a table: ``streams.upstream.store_sizes.StoreSize``."""

    @property
    def partitions(self) -> int:
        """How many are open."""

    @property
    def file_bytes(self) -> int:
        """Of their files."""

    @property
    def memory_bytes(self) -> int:
        """Of rows that are in no file yet, and of blocks that were read."""

    @property
    def rows(self) -> int:
        """About how many rows."""


class WorkerStats(Protocol):
    """What this worker did since it started, for the metrics.

    The first six fit ``agents.ingest.IngestStats``. Counters may not fall while the process lives.
    """

    @property
    def counted(self) -> Mapping[Priority, int]:
        """Records counted."""

    @property
    def forwarded(self) -> Mapping[Priority, int]:
        """Records forwarded to alert topics."""

    @property
    def dead_letters(self) -> Mapping[tuple[Priority, Reason], int]:
        """Records that could not be read, by the priority of their topic and why."""

    @property
    def dead_letter_bytes(self) -> Mapping[tuple[Priority, Reason], int]:
        """Bytes of the values of these."""

    @property
    def repairs(self) -> Mapping[Repair, int]:
        """Repairs of untidy records."""

    @property
    def never_read(self) -> Mapping[Priority, int]:
        """Records that were deleted before they were read."""

    @property
    def counted_lost(self) -> Mapping[Priority, int]:
        """Records that were counted, and that the brokers then lost."""

    @property
    def counted_latencies(self) -> Mapping[Priority, Histogram]:
        """From publishing until a record is counted."""

    @property
    def alerted_latencies(self) -> Mapping[Priority, Histogram]:
        """From publishing until an alert is confirmed; only of priorities that are forwarded."""

    @property
    def time_replaced(self) -> int:
        """Records counted under the broker's time because their own was too far from it."""

    @property
    def record_times(self) -> Mapping[tuple[Priority, RecordTime], int]:
        """Records whose time is not the broker's."""

    @property
    def late(self) -> Mapping[Priority, int]:
        """Records that are dated more than five minutes before the time of their record."""

    @property
    def skew(self) -> Mapping[Priority, TimeSkew]:
        """How far the two lie apart, in the last minute or two."""

    @property
    def clock_ahead_s(self) -> float:
        """Seconds that this worker's clock is ahead of the brokers'; 0 while they agree."""

    @property
    def flush_seconds(self) -> float:
        """Seconds that the last flush of counts took (``Counting.last_flush_s``)."""

    @property
    def flushes(self) -> int:
        """Flushes of counts."""

    @property
    def event_types(self) -> int:
        """Event types that this worker combines (``Counting.event_types``)."""

    @property
    def producer_retries(self) -> int:
        """Sends that were repeated because a broker did not confirm them."""

    @property
    def rebalances(self) -> int:
        """Assignments that ended."""

    @property
    def commits(self) -> int:
        """Commits of offsets that the brokers confirmed."""

    @property
    def commit_seconds(self) -> float:
        """Seconds that the last one took."""

    @property
    def recovery_seconds(self) -> float:
        """Seconds that recovery takes, or took the last time."""

    @property
    def recovery_left(self) -> int:
        """Records of changelogs that recovery has still to read."""

    def stores(self) -> Mapping[str, StoreSize]:
        """Table -> the size of its local copies on this worker."""
