"""What the web views show where nothing is consumed: while a worker starts, and of ``tocsin web``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streams.notifications import Priority, Reason, RecordTime, Repair
from streams.scheduling.age_guard import AgeGuard
from tables.feeds import PingResult
from tables.views.sources import Profile
from tables.views.worker_stats import Histogram, StoreSize, TimeSkew

if TYPE_CHECKING:  # Faust would come with it
    from streams.transport.class_traffic import ClassTraffic


@dataclass(frozen=True, slots=True)
class NothingYet:
    """Nothing was done, and there are no classes.

    Implements ``WorkerStats``, ``SchedulerSource`` and ``HubStats`` of the web views.
    """

    counted: Mapping[Priority, int] = field(default_factory=dict)
    forwarded: Mapping[Priority, int] = field(default_factory=dict)
    counted_latencies: Mapping[Priority, Histogram] = field(default_factory=dict)
    alerted_latencies: Mapping[Priority, Histogram] = field(default_factory=dict)
    dead_letters: Mapping[tuple[Priority, Reason], int] = field(default_factory=dict)
    dead_letter_bytes: Mapping[tuple[Priority, Reason], int] = field(default_factory=dict)
    repairs: Mapping[Repair, int] = field(default_factory=dict)
    never_read: Mapping[Priority, int] = field(default_factory=dict)
    counted_lost: Mapping[Priority, int] = field(default_factory=dict)
    time_replaced: int = 0
    record_times: Mapping[tuple[Priority, RecordTime], int] = field(default_factory=dict)
    late: Mapping[Priority, int] = field(default_factory=dict)
    skew: Mapping[Priority, TimeSkew] = field(default_factory=dict)
    clock_ahead_s: float = 0.0
    flush_seconds: float = 0.0
    flushes: int = 0
    event_types: int = 0
    producer_retries: int = 0
    rebalances: int = 0
    commits: int = 0
    commit_seconds: float = 0.0
    recovery_seconds: float = 0.0
    recovery_left: int = 0
    profile: Profile | None = None
    virtual_time: float = 0.0
    guard: AgeGuard[Priority, int] | None = None
    results: Mapping[PingResult, int] = field(default_factory=dict)
    untold_s: float = 0.0

    def stores(self) -> Mapping[str, StoreSize]:
        """No tables."""
        return {}

    def snapshot(self) -> Mapping[Priority, ClassTraffic]:
        """No classes."""
        return {}
