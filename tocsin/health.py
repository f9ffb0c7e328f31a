"""What the probes say about a worker.

Three questions with different answers: *started* is true once the worker was ready for the first time, and
says until then how far recovery is; *ready* is false while recovering, rebalancing, draining, or when the
brokers do not answer or confirm, or a topic cannot be used; *live* is false only when a restart is the cure.
A broker outage or a starved low priority is no reason to restart a worker.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from agents.counting import Counting
from agents.effects_by_priority import EffectsByPriority
from streams.broker.clock_check import ClockCheck
from streams.broker.outage import BrokerWatch
from streams.broker.topic_watch import TopicWatch
from streams.notifications.visible import visible
from streams.transport.traffic import Traffic
from streams.upstream.recovery_progress import RecoveryProgress
from tables.totals_reader import TotalsReader
from tables.views.sources import Check

#: Seconds without a finished batch, while records are buffered, after which a worker is stuck.
_STUCK_S = 60.0
#: Seconds after which unconfirmed counts or alerts make a worker not ready.
_UNCONFIRMED_S = 20.0


class Working(Protocol):
    """The parts of a worker that its health depends on."""

    traffic: Traffic
    counting: Counting
    effects: EffectsByPriority

    def unassigned(self) -> Mapping[str, Sequence[int]]:
        """Topic -> its partitions that are nobody's in the group."""

    def member_alive(self) -> bool:
        """Whether the group membership is being kept up."""


class WorkerHealth:
    """Implements ``Health`` of the web views, from before the brokers were reached to the end.

    Args:
        recovery: how far it is.
        brokers: whether they answer.
        topics: whether they are there and may be used.
        reader: of the counts that are shown.
        clock: whether this worker's agrees with the brokers'.
    """

    def __init__(
        self,
        recovery: RecoveryProgress,
        brokers: BrokerWatch,
        topics: TopicWatch,
        reader: TotalsReader,
        clock: ClockCheck,
    ) -> None:
        self._recovery = recovery
        self._brokers = brokers
        self._topics = topics
        self._reader = reader
        self._clock = clock
        #: What works; None while the worker starts, and nothing of it can be unwell.
        self._worker: Working | None = None
        self._draining = False
        #: What ended the worker, if anything did.
        self.error: BaseException | None = None

    def failed(self, error: BaseException) -> None:
        """The worker cannot go on."""
        self.error = self.error or error

    def working(self, worker: Working) -> None:
        """The self-check passed, the producers are connected, and ``worker`` is about to join its group."""
        self._worker = worker

    def draining(self) -> None:
        """The worker was told to stop."""
        self._draining = True

    # ---------------------------------------------------------------- Health

    def started(self) -> Check:
        """Whether the worker was ready once; later rebalances and outages do not change it."""
        recovery = self._recovery
        if self._worker is None:
            return Check(False, ["The brokers have not been reached yet."], recovery.shown())
        reasons = [] if recovery.was_ready else [recovery.sentence(), *self._away()]
        return Check(not reasons, reasons, self._details() | recovery.shown())

    def ready(self) -> Check:
        """Whether the worker is working on its share."""
        reasons = []
        if self._draining:
            reasons.append("The worker is stopping.")
        reasons += self._failure()
        if self._worker is None:
            reasons.append(self._recovery.sentence())
        if self._worker is None or not self._worker.traffic.ready.is_set():
            reasons.append("Partitions are being assigned, or state is being recovered.")
            if self._recovery.phase == "recovering":
                reasons.append(self._recovery.sentence())
        reasons += self._away()
        troubles = self._topics.troubles
        reasons += troubles.values()
        reasons += self._unassigned(troubles)
        if (other := self._reader.foreign_app()) is not None:
            reasons.append(f"The app {visible(other)} writes its counts to the same topic as this one.")
        for what, silent_s in self._unconfirmed().items():
            if silent_s > _UNCONFIRMED_S:
                reasons.append(f"The brokers have not confirmed {what} for {silent_s:.0f} s.")
        return Check(not reasons, reasons, self._details())

    def live(self) -> Check:
        """Whether anything but a restart can help."""
        reasons = self._failure()
        if self._worker is not None:
            if not self._draining and not self._worker.member_alive():
                reasons.append("The group membership is no longer kept up.")
            reasons += self._stuck(self._worker)
        return Check(not reasons, reasons)

    # ---------------------------------------------------------------- reasons

    def _failure(self) -> list[str]:
        return [] if self.error is None else [f"The worker has failed: {type(self.error).__name__}."]

    def _stuck(self, worker: Working) -> list[str]:
        traffic = worker.traffic
        if not traffic.ready.is_set() or not len(traffic.scheduler):
            return []
        idle = time.monotonic() - traffic.last_done
        waiting = worker.effects.blocked or self._brokers.lost_s() > 0
        if idle <= _STUCK_S or waiting or self._unconfirmed()["counts"] >= _UNCONFIRMED_S:
            return []
        return [f"Records are buffered, and no batch was finished for {idle:.0f} s."]

    def _away(self) -> list[str]:
        reason = self._brokers.reason()
        return [] if reason is None else [reason]

    def _unassigned(self, troubles: Collection[str]) -> list[str]:
        if self._worker is None:
            return []
        return [
            f"No worker was given the partitions {', '.join(map(str, missing))} of {topic}."
            for topic, missing in self._worker.unassigned().items()
            if topic not in troubles
        ]

    def _unconfirmed(self) -> Mapping[str, float]:
        """What -> seconds for which it has waited to be confirmed."""
        worker = self._worker
        if worker is None:
            return {"counts": 0.0, "alerts or dead letters": 0.0}
        return {
            "counts": worker.counting.unconfirmed_s(),
            "alerts or dead letters": worker.effects.unconfirmed_s(),
        }

    def _details(self) -> dict[str, Any]:
        wrong_clock = self._clock.reason()
        return ({} if wrong_clock is None else {"clock": wrong_clock}) | {
            "sources": 0 if self._worker is None else len(self._worker.counting.sources()),
            "counts_complete": self._reader.complete,
        }
