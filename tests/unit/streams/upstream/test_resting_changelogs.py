"""Changelogs are fetched while state is recovered from them, and no longer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka import TopicPartition
from faust.tables.recovery import Recovery
from faust.types import TP

from streams.upstream.faust_consumer import Consumer
from streams.upstream.faust_consumer_thread import ConsumerThread
from streams.upstream.faust_recovery import ObservedRecovery

CHANGELOG, OTHER = TopicPartition("changelog", 0), TopicPartition("changelog", 1)
GENERATION = 7


async def paused_after(tps: set[TP], generation: int) -> set[TopicPartition]:
    """What a consumer of both partitions, in its generation 7, no longer fetches."""
    consumer = aiokafka.AIOKafkaConsumer()
    consumer.assign([CHANGELOG, OTHER])
    consumer._coordinator = SimpleNamespace(generation=GENERATION)
    thread: Any = SimpleNamespace(_ensure_consumer=lambda: consumer)
    await ConsumerThread._rest(thread, tps, generation)
    consumer._coordinator = None
    return set(consumer.paused())


async def test_what_is_recovered_is_no_longer_fetched() -> None:
    assert await paused_after({TP("changelog", 0)}, GENERATION) == {CHANGELOG}


async def test_a_later_assignment_is_left_alone() -> None:
    """Else its recovery would wait for ever for what is paused."""
    assert await paused_after({TP("changelog", 0)}, GENERATION - 1) == set()


async def test_what_is_assigned_no_longer_is_left_out() -> None:
    assert await paused_after({TP("changelog", 1), TP("changelog", 2)}, GENERATION) == {OTHER}


async def test_a_recovery_that_is_complete_lets_its_changelogs_rest_before_work_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    async def rest(tps: set[TP], generation: int) -> None:
        calls.append((tps, generation))

    async def completed(_recovery: Recovery, generation: int) -> None:
        calls.append(generation)

    monkeypatch.setattr(Recovery, "on_recovery_completed", completed)
    followed = TP("changelog", 1)
    recovery: Any = ObservedRecovery.__new__(ObservedRecovery)
    recovery.app = SimpleNamespace(consumer=SimpleNamespace(rest=rest))
    recovery.active_tps, recovery.standby_tps = {TP("changelog", 0), followed}, {followed}
    await recovery.on_recovery_completed(GENERATION)
    assert calls == [({TP("changelog", 0)}, GENERATION), GENERATION]


def test_faust_says_when_recovery_is_complete_and_knows_the_thread() -> None:
    code = Recovery._restart_recovery
    assert "on_recovery_completed" in getattr(code, "fun", code).__code__.co_names
    assert callable(ConsumerThread.call_thread)
    assert "_thread" in Consumer.rest.__code__.co_names
