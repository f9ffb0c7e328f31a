"""The app tells when work may begin and when it must end, and whether the group membership is kept up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aiokafka
import faust
import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.transport.consumer import Consumer as FaustConsumer

from streams.upstream.faust_app import member_alive
from tests.unit.streams.upstream.stand_ins import MANAGED, OTHER
from tocsin.app import TocsinApp


async def test_member_alive_sees_a_dead_coordinator_task(app: TocsinApp) -> None:
    assert app._consumer is None
    assert member_alive(app)
    assert app.consumer._thread._consumer is None
    assert app._consumer is app.consumer
    assert member_alive(app)
    state = SimpleNamespace(done=lambda: False)
    app.consumer._thread._consumer = SimpleNamespace(_coordinator=SimpleNamespace(_coordination_task=state))
    assert member_alive(app)
    state.done = lambda: True
    assert not member_alive(app)


def test_aiokafka_keeps_the_task_of_the_membership_where_it_is_looked_for() -> None:
    assert "_coordination_task" in GroupCoordinator.__init__.__code__.co_names
    assert "_coordinator" in aiokafka.AIOKafkaConsumer.__init__.__code__.co_names


async def test_work_begins_with_what_the_group_has_committed(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(faust.App, "on_rebalance_end", lambda _app: begun.append("Faust's own"))
    monkeypatch.setattr(app, "add_future", begun.append)
    monkeypatch.setattr(app.consumer, "assignment", lambda: {MANAGED, OTHER})
    app.consumer._committed_offset[MANAGED] = 6
    app.consumer._committed_offset[OTHER] = 9
    app.consumer.topic_ids = {MANAGED.topic: "x"}
    app.on_rebalance_end()
    assert begun[0] == "Faust's own"
    await begun[1]
    assert app.coordinator.calls == [f"on_ready {[MANAGED]} { ({MANAGED: 6}) } { ({MANAGED.topic: 'x'}) }"]


async def test_faust_keeps_the_committed_offsets_where_they_are_looked_for(app: TocsinApp) -> None:
    assert app.consumer._committed_offset[OTHER] is None
    assert "_committed_offset" in FaustConsumer._commit_offsets.__code__.co_names


async def test_the_assignment_is_forgotten_after_faust_has_waited_for_its_agents(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revoked(_app: Any, _revoked: Any) -> None:
        app.coordinator.calls.append("Faust's own")

    monkeypatch.setattr(faust.App, "_on_partitions_revoked", revoked)
    await app._on_partitions_revoked({MANAGED})
    assert app.coordinator.calls == ["Faust's own", "on_revoked"]


async def test_a_crash_is_told_before_faust_ends_the_worker(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(app, "on_crash", lambda error: told.append((error, app.crashed)))
    error = RuntimeError("a task has failed")
    await app.crash(error)
    assert told[0] == (error, False)
    assert app.crashed
