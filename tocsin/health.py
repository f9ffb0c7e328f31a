"""What the probes say about a worker, and its figures for the metrics.

Three questions with different answers: *started* is true once the worker was ready for the first time, and
says until then how far recovery is; *ready* is false while recovering, rebalancing, draining, or when the
brokers do not answer or confirm; *live* is false only when a restart is the cure. A broker outage or a
starved low priority is no reason to restart a worker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from agents.counting import Counting
from agents.effects import Effects
from agents.ingest import IngestStats
from streams.broker.outage import BrokerWatch
from streams.notifications import Priority, Reason, Repair
from streams.transport.delivery import ConfirmedProducer
from streams.transport.traffic import Traffic
from streams.upstream.recovery_progress import RecoveryProgress
from tables.totals_reader import TotalsReader
from tables.views.sources import Check

#: Seconds without a finished batch, while records are buffered, after which a worker is stuck.
_STUCK_S = 60.0
#: Seconds after which unconfirmed counts make a worker not ready.
_UNCONFIRMED_S = 20.0


class Worker(Protocol):
    """The app, as far as its health goes."""

    traffic: Traffic | None
    counting: Counting | None
    effects: Effects
    reader: TotalsReader
    alert_producer: ConfirmedProducer
    count_producer: ConfirmedProducer
    rebalances: int
    recovery: RecoveryProgress
    brokers: BrokerWatch

    def member_alive(self) -> bool:
        """Whether the group membership is being kept up."""


class WorkerHealth:
    """Implements ``Health`` and ``WorkerStats`` of the web views."""

    def __init__(self, worker: Worker, stats: IngestStats) -> None:
        self._worker = worker
        self._stats = stats
        self._draining = False
        self._started_at: float | None = None
        #: What ended the worker, if anything did.
        self.error: BaseException | None = None

    def failed(self, error: BaseException) -> None:
        """The worker cannot go on."""
        self.error = self.error or error

    def reached_brokers(self) -> None:
        """The self-check passed and the producers are connected."""
        self._started_at = time.monotonic()

    def draining(self) -> None:
        """The worker was told to stop."""
        self._draining = True

    # ---------------------------------------------------------------- Health

    def started(self) -> Check:
        """Whether the worker was ready once; later rebalances and outages do not change it."""
        recovery = self._worker.recovery
        if self._started_at is None:
            return Check(False, ["The brokers have not been reached yet."], recovery.shown())
        reasons = [] if recovery.was_ready else [recovery.sentence(), *self._away()]
        return Check(not reasons, reasons, self._details() | recovery.shown())

    def ready(self) -> Check:
        """Whether the worker is working on its share."""
        worker = self._worker
        reasons = []
        if self._draining:
            reasons.append("The worker is stopping.")
        if self.error is not None:
            reasons.append(f"The worker has failed: {type(self.error).__name__}.")
        if worker.traffic is None or not worker.traffic.ready.is_set():
            recovery = worker.recovery
            reasons.append("Partitions are being assigned, or state is being recovered.")
            if recovery.phase == "recovering":
                reasons.append(recovery.sentence())
        reasons += self._away()
        silent = self._unconfirmed_s()
        if silent > _UNCONFIRMED_S:
            reasons.append(f"The brokers have not confirmed counts for {silent:.0f} s.")
        return Check(not reasons, reasons, self._details())

    def live(self) -> Check:
        """Whether anything but a restart can help."""
        worker = self._worker
        reasons = []
        if self.error is not None:
            reasons.append(f"The worker has failed: {type(self.error).__name__}.")
        if self._started_at is not None and not self._draining and not worker.member_alive():
            reasons.append("The group membership is no longer kept up.")
        traffic = worker.traffic
        if traffic is not None and traffic.ready.is_set() and len(traffic.scheduler):
            idle = time.monotonic() - traffic.last_done
            waiting = worker.effects.blocked or worker.brokers.lost_s() > 0
            if idle > _STUCK_S and not waiting and self._unconfirmed_s() < _UNCONFIRMED_S:
                reasons.append(f"Records are buffered, and no batch was finished for {idle:.0f} s.")
        return Check(not reasons, reasons)

    def _away(self) -> list[str]:
        reason = self._worker.brokers.reason()
        return [] if reason is None else [reason]

    def _unconfirmed_s(self) -> float:
        counting = self._worker.counting
        return 0.0 if counting is None else counting.unconfirmed_s()

    def _details(self) -> dict[str, Any]:
        worker = self._worker
        return {
            "sources": 0 if worker.counting is None else len(worker.counting.sources()),
            "counts_complete": worker.reader.complete,
        }

    # ---------------------------------------------------------------- WorkerStats

    @property
    def counted(self) -> Mapping[Priority, int]:
        """Records counted."""
        return self._stats.counted

    @property
    def forwarded(self) -> Mapping[Priority, int]:
        """Records forwarded."""
        return self._stats.forwarded

    @property
    def dead_letters(self) -> Mapping[Reason, int]:
        """Records that could not be read."""
        return self._stats.dead_letters

    @property
    def repairs(self) -> Mapping[Repair, int]:
        """Repairs by name."""
        return self._stats.repairs

    @property
    def time_replaced(self) -> int:
        """Records counted under the broker's time."""
        return self._stats.time_replaced

    @property
    def flush_seconds(self) -> float:
        """Seconds of the last flush."""
        counting = self._worker.counting
        return 0.0 if counting is None else counting.last_flush_s

    @property
    def flushes(self) -> int:
        """Flushes so far."""
        counting = self._worker.counting
        return 0 if counting is None else counting.flushes

    @property
    def event_types(self) -> int:
        """Event types that this worker combines."""
        counting = self._worker.counting
        return 0 if counting is None else int(counting.state()["event_types"])

    @property
    def producer_retries(self) -> int:
        """Sends that were repeated."""
        return self._worker.alert_producer.failures + self._worker.count_producer.failures

    @property
    def rebalances(self) -> int:
        """Assignments that ended."""
        return self._worker.rebalances
