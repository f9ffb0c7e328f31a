"""Who asks for the assignment gets the current one, and a commit does not make it anew for each partition."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.upstream.faust_consumer_thread import ConsumerThread

PARTITIONS = 20


class FakeConsumer:
    """With aiokafka's own state of what is assigned."""

    def __init__(self) -> None:
        self.state = SubscriptionState()
        self.committed: dict[Any, Any] = {}

    def assign(self, partitions: int) -> None:
        self.state.assign_from_user({TopicPartition("notifications.debug", p) for p in range(partitions)})

    def assignment(self) -> Any:
        return self.state.assigned_partitions()

    async def commit(self, offsets: dict[Any, Any]) -> None:
        self.committed = offsets


def make(kind: type[Any]) -> Any:
    thread = kind.__new__(kind)
    thread._consumer = FakeConsumer()
    thread._ensure_consumer = lambda: thread._consumer
    thread.tp_last_committed_at = {}
    thread.log = SimpleNamespace(exception=pytest.fail)
    thread._assignment = None, frozenset()
    return thread


async def sets_made_by_a_commit(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> int:
    made = 0
    stock = driver.ensure_TPset

    def counted(tps: Iterable[Any]) -> Any:
        nonlocal made
        made += 1
        return stock(tps)

    monkeypatch.setattr(driver, "ensure_TPset", counted)
    thread = make(kind)
    thread._consumer.assign(PARTITIONS)
    offsets = {TP("notifications.debug", partition): 7 for partition in range(PARTITIONS + 1)}
    assert await thread._commit(offsets)
    assert len(thread._consumer.committed) == PARTITIONS  # one is not assigned
    return made


async def test_a_commit_makes_the_set_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await sets_made_by_a_commit(ConsumerThread, monkeypatch) == 1


async def test_stock_faust_makes_it_for_each_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await sets_made_by_a_commit(driver.AIOKafkaConsumerThread, monkeypatch) == PARTITIONS + 1


async def test_a_new_assignment_is_seen_at_once() -> None:
    thread = make(ConsumerThread)
    assert thread.assignment() == frozenset()
    thread._consumer.assign(2)
    assert thread.assignment() == {TP("notifications.debug", 0), TP("notifications.debug", 1)}
    assert thread.assignment() is thread.assignment()
    thread._consumer.assign(1)
    assert thread.assignment() == {TP("notifications.debug", 0)}
    thread._consumer.state.unsubscribe()
    assert thread.assignment() == frozenset()
