"""What a worker shows of itself besides its health: figures for the metrics, and the state of its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agents.counting import Counting
from agents.ingest import Ingest
from agents.latencies import ClassLatencies, Latencies
from agents.skew import Skew
from agents.source_lives import SourceLives
from streams.broker.clock_check import ClockCheck
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.notifications import Priority, Reason, RecordTime, Repair
from streams.scheduling.age_guard import AgeGuard
from streams.transport.traffic import Traffic
from streams.upstream.recovery_progress import RecoveryProgress
from streams.upstream.store_sizes import StoreSize, store_size
from tocsin.live_profile import LiveProfile


class SchedulerFigures:
    """Implements ``SchedulerSource`` of the web views."""

    def __init__(self, traffic: Traffic, profile: LiveProfile) -> None:
        self._scheduler = traffic.scheduler
        self.snapshot = traffic.snapshot
        self.profile = profile

    @property
    def virtual_time(self) -> float:
        """Virtual time of the fair queue."""
        return self._scheduler.virtual_time

    @property
    def guard(self) -> AgeGuard[Priority, int] | None:
        """The age guard; None when there is none."""
        return self._scheduler.guard


class Tables(Protocol):
    """The tables of a worker, as Faust knows them."""

    @property
    def partial_counts(self) -> Any:
        """Rows of the sources."""

    @property
    def combined_counts(self) -> Any | None:
        """Rows of the combiners; None where nothing is combined."""


class Counted(Protocol):
    """The parts of a worker that have figures."""

    @property
    def tables(self) -> Tables:
        """Of Faust."""

    @property
    def producers(self) -> Sequence[ConfirmedProducer]:
        """All of them."""

    ingest: Ingest
    latencies: ClassLatencies
    clock: ClockCheck
    counting: Counting
    traffic: Traffic
    lives: SourceLives
    recovery: RecoveryProgress
    rebalances: int
    commits: int
    last_commit_s: float


class WorkerFigures:
    """Implements ``WorkerStats`` of the web views."""

    def __init__(self, worker: Counted) -> None:
        self._worker = worker
        stats = self._stats = worker.ingest.stats
        #: Records by priority.
        self.counted: Mapping[Priority, int] = stats.counted
        self.forwarded: Mapping[Priority, int] = stats.forwarded
        #: From publishing until a record is counted, and until its alert is confirmed.
        self.counted_latencies: Mapping[Priority, Latencies] = worker.latencies.counted
        self.alerted_latencies: Mapping[Priority, Latencies] = worker.latencies.alerted
        #: Records that were deleted before they were read, by priority.
        self.never_read: Mapping[Priority, int] = worker.traffic.never_read_by
        #: Records that were counted, and that the brokers then lost, by priority.
        self.counted_lost: Mapping[Priority, int] = worker.lives.counted_lost
        #: Records that could not be read, by priority and reason; repairs of those that could, by name.
        self.dead_letters: Mapping[tuple[Priority, Reason], int] = stats.dead_letters
        self.dead_letter_bytes: Mapping[tuple[Priority, Reason], int] = stats.dead_letter_bytes
        self.repairs: Mapping[Repair, int] = stats.repairs
        #: Record times that are not the brokers'; notifications dated long before their record's.
        self.record_times: Mapping[tuple[Priority, RecordTime], int] = stats.record_times
        self.late: Mapping[Priority, int] = stats.late

    @property
    def time_replaced(self) -> int:
        """Records counted under the broker's time."""
        return self._stats.time_replaced

    @property
    def skew(self) -> Mapping[Priority, Skew]:
        """How far the times of notifications lie from those of their records."""
        return self._stats.skew.most()

    @property
    def clock_ahead_s(self) -> float:
        """Seconds that this worker's clock is ahead of the brokers'."""
        return self._worker.clock.ahead_s

    @property
    def flush_seconds(self) -> float:
        """Seconds of the last flush."""
        return self._worker.counting.last_flush_s

    @property
    def flushes(self) -> int:
        """Flushes so far."""
        return self._worker.counting.flushes

    @property
    def event_types(self) -> int:
        """Event types that this worker combines."""
        return self._worker.counting.event_types()

    @property
    def producer_retries(self) -> int:
        """Sends that were repeated."""
        return sum(producer.failures for producer in self._worker.producers)

    @property
    def rebalances(self) -> int:
        """Assignments that ended."""
        return self._worker.rebalances

    @property
    def commits(self) -> int:
        """Commits of offsets."""
        return self._worker.commits

    @property
    def commit_seconds(self) -> float:
        """Seconds of the last one."""
        return self._worker.last_commit_s

    @property
    def recovery_seconds(self) -> float:
        """Seconds of the last recovery."""
        return self._worker.recovery.elapsed_s

    @property
    def recovery_left(self) -> int:
        """Records that it has still to read."""
        return self._worker.recovery.left

    def stores(self) -> Mapping[str, StoreSize]:
        """Sizes of the local copies, by table."""
        tables = self._worker.tables
        return {
            table.name: store_size(table)
            for table in (tables.partial_counts, tables.combined_counts)
            if table is not None
        }
