"""What the probes say in an outage, in recovery, and when a restart is the cure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.upstream.recovery_progress import RecoveryProgress
from tocsin.health import WorkerHealth


class FakeWorker:
    """A worker whose state is set at will; ready and in peace."""

    def __init__(self) -> None:
        ready = asyncio.Event()
        ready.set()
        self.lost = 0.0
        self.unconfirmed = 0.0
        self.member = True
        self.traffic = SimpleNamespace(ready=ready, scheduler=[], last_done=time.monotonic())
        self.counting = SimpleNamespace(unconfirmed_s=lambda: self.unconfirmed, sources=dict)
        self.silent = 0.0
        self.effects = SimpleNamespace(blocked=False, unconfirmed_s=lambda: self.silent)
        self.reader = SimpleNamespace(complete=True, foreign_app=lambda: None)
        self.brokers = SimpleNamespace(
            lost_s=lambda: self.lost,
            reason=lambda: f"No Kafka broker has answered for {self.lost:.0f} s." if self.lost else None,
        )
        self.topics = SimpleNamespace(troubles={})
        self.wrong_clock: str | None = None
        self.clock = SimpleNamespace(reason=lambda: self.wrong_clock)
        self.nobodys: dict[str, list[int]] = {}
        self.recovery = RecoveryProgress(list, lambda: 0.0)

    def unassigned(self) -> dict[str, list[int]]:
        return self.nobodys

    def member_alive(self) -> bool:
        return self.member


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def health(worker: FakeWorker) -> WorkerHealth:
    return WorkerHealth(
        worker.recovery,
        cast(Any, worker.brokers),
        cast(Any, worker.topics),
        cast(Any, worker.reader),
        cast(Any, worker.clock),
    )


def become_ready(worker: FakeWorker, health: WorkerHealth) -> None:
    health.working(cast(Any, worker))
    worker.recovery.joining()
    worker.recovery.begin()
    worker.recovery.recovered()
    worker.recovery.ready()


def test_started_is_said_once_it_was_ready_and_stays(worker: FakeWorker, health: WorkerHealth) -> None:
    steps: list[tuple[Callable[[], None], str, str]] = [
        (lambda: None, "connecting", "The brokers have not been reached yet."),
        (lambda: health.working(cast(Any, worker)), "connecting", "The brokers have not been reached yet."),
        (worker.recovery.joining, "joining", "The group has not assigned partitions yet."),
        (worker.recovery.begin, "recovering", "State is being recovered: 0 of 0 records."),
        (worker.recovery.recovered, "loading", "State was recovered, and is being loaded."),
    ]
    for step, phase, reason in steps:
        step()
        check = health.started()
        assert (check.ok, check.reasons, check.details["phase"]) == (False, [reason], phase)
    worker.recovery.ready()
    assert health.started().ok
    assert health.started().details["counts_complete"]
    worker.recovery.begin()
    worker.lost = 100.0
    assert health.started().ok


def test_an_outage_makes_it_not_ready_and_is_no_reason_to_restart(
    worker: FakeWorker, health: WorkerHealth
) -> None:
    become_ready(worker, health)
    assert health.ready().ok
    worker.lost = 12.3
    worker.traffic.scheduler = [1]
    worker.traffic.last_done -= 1000
    assert health.ready().reasons == ["No Kafka broker has answered for 12 s."]
    assert health.live().ok
    worker.lost = 0.0
    # The control: with brokers that answer, records that nobody takes are a reason.
    assert not health.live().ok
    worker.traffic.scheduler = []
    assert health.ready().ok
    assert health.live().ok


def test_a_wrong_clock_is_told_beside_the_answer(worker: FakeWorker, health: WorkerHealth) -> None:
    become_ready(worker, health)
    assert "clock" not in health.ready().details
    worker.wrong_clock = "The clock is wrong."
    assert (health.ready().ok, health.ready().details["clock"]) == (True, "The clock is wrong.")


def test_a_dead_membership_is_a_reason_to_restart_in_an_outage_too(
    worker: FakeWorker, health: WorkerHealth
) -> None:
    become_ready(worker, health)
    worker.lost = 12.3
    worker.member = False
    assert health.live().reasons == ["The group membership is no longer kept up."]


def test_counts_that_stay_unconfirmed_make_it_not_ready(worker: FakeWorker, health: WorkerHealth) -> None:
    become_ready(worker, health)
    worker.unconfirmed = 21.0
    assert health.ready().reasons == ["The brokers have not confirmed counts for 21 s."]


def test_alerts_that_stay_unconfirmed_make_it_not_ready(worker: FakeWorker, health: WorkerHealth) -> None:
    become_ready(worker, health)
    worker.silent = 19.0
    assert health.ready().ok
    worker.silent = 21.0
    assert health.ready().reasons == ["The brokers have not confirmed alerts or dead letters for 21 s."]
    assert health.live().ok


def test_a_topic_that_cannot_be_used_makes_it_not_ready_and_is_no_reason_to_restart(
    worker: FakeWorker, health: WorkerHealth
) -> None:
    become_ready(worker, health)
    gone = "The topic notifications.error is gone: make it again with `tocsin topics apply`."
    worker.topics.troubles = {"notifications.error": gone}
    # Its partitions are nobody's, which says nothing more.
    worker.nobodys = {"notifications.error": [0, 1]}
    assert health.ready().reasons == [gone]
    assert health.live().ok
    worker.topics.troubles = {}
    assert health.ready().reasons == ["No worker was given the partitions 0, 1 of notifications.error."]
    assert health.live().ok
    worker.nobodys = {}
    assert health.ready().ok


def test_a_worker_that_starts_is_alive_and_not_ready(worker: FakeWorker, health: WorkerHealth) -> None:
    worker.member = False  # it has not joined
    assert health.live().ok
    assert health.ready().reasons == [
        "The brokers have not been reached yet.",
        "Partitions are being assigned, or state is being recovered.",
    ]
    assert health.ready().details == {"sources": 0, "counts_complete": True}
    worker.lost = 12.3
    assert "No Kafka broker has answered for 12 s." in health.ready().reasons
    health.failed(RuntimeError())
    assert health.live().reasons == ["The worker has failed: RuntimeError."]
