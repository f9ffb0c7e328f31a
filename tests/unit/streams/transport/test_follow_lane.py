"""A followed topic is delivered without a hole, whatever becomes of a delivery."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, ClassVar

import aiokafka
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from streams.transport.follow_lane import FollowLane

A = TopicPartition("internal", 0)


class FakeConsumer:
    """A consumer that returns what it was given, then nothing."""

    made: ClassVar[list[FakeConsumer]] = []
    fetches: ClassVar[list[Any]] = []
    begins: ClassVar[int] = 0

    def __init__(self, **options: Any) -> None:
        self.positions: dict[TopicPartition, int] = {}
        self.waits = asyncio.Event()
        self.stopped = False
        FakeConsumer.made.append(self)

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, FakeConsumer.begins)

    async def getmany(self, **_: Any) -> Any:
        if not FakeConsumer.fetches:
            self.waits.set()
            await asyncio.Event().wait()
        fetched = FakeConsumer.fetches.pop(0)
        if isinstance(fetched, Exception):
            raise fetched
        return fetched


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiokafka, "AIOKafkaConsumer", FakeConsumer)
    monkeypatch.setattr("streams.transport.follow_lane._RETRY_S", 0.0)
    FakeConsumer.made, FakeConsumer.fetches, FakeConsumer.begins = [], [], 0


def fetched(*offsets: int) -> dict[TopicPartition, list[Any]]:
    return {A: [SimpleNamespace(offset=offset) for offset in offsets]}


def raise_it(error: BaseException) -> None:
    raise error


class Taker:
    """Takes deliveries, and refuses those that begin at certain offsets."""

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.taken: list[int] = []
        self.refusal = asyncio.Event()

    async def __call__(self, topic: str, partition: int, records: list[Any]) -> bool:
        assert (topic, partition) == ("internal", 0)
        if records[0].offset in self.refused:
            self.refusal.set()
            return False
        self.taken += [record.offset for record in records]
        return True


async def test_it_begins_at_what_was_committed_and_goes_on_after_an_error() -> None:
    taker = Taker()
    lane = FollowLane("internal", {}, taker, on_failed=raise_it)
    FakeConsumer.fetches = [fetched(5, 6), KafkaConnectionError(), fetched(7)]
    await lane.assign({0: 5, 1: None})
    (consumer,) = FakeConsumer.made
    assert consumer.positions == {A: 5}
    assert consumer.assigned == [A, TopicPartition("internal", 1)]
    await asyncio.wait_for(consumer.waits.wait(), 10)
    assert taker.taken == [5, 6, 7]
    await lane.revoke()
    assert consumer.stopped


async def test_it_says_what_was_deleted_before_it_was_read() -> None:
    missed: list[tuple[str, int, int]] = []
    lane = FollowLane(
        "internal", {}, Taker(), on_failed=raise_it, on_missed=lambda *what: missed.append(what)
    )
    FakeConsumer.begins = 40
    await lane.assign({0: 5, 1: None})
    assert missed == [("internal", 1, 40)], "nothing was committed, and the first 40 are gone"
    lane._was_reset(0, 5, 40)  # as the consumer tells when 5 is out of range
    lane._was_reset(0, 50, 40)  # a log that was cut is another matter
    assert missed[1:] == [("internal", 0, 35)]
    await lane.revoke()


async def test_nothing_is_delivered_behind_what_was_refused() -> None:
    taker = Taker(6)
    lane = FollowLane("internal", {}, taker, on_failed=raise_it)
    FakeConsumer.fetches = [fetched(5), fetched(6), fetched(7)]
    await lane.assign({0: 5})
    await asyncio.wait_for(taker.refusal.wait(), 10)
    assert lane._task is not None
    await asyncio.wait_for(lane._task, 10)
    assert taker.taken == [5]
    # The next assignment begins where it was committed, with a consumer of its own.
    taker.refused = ()
    FakeConsumer.fetches = [fetched(6, 7)]
    await lane.assign({0: 6})
    first, second = FakeConsumer.made
    assert first.stopped
    await asyncio.wait_for(second.waits.wait(), 10)
    assert taker.taken == [5, 6, 7]
    await lane.revoke()


async def test_without_partitions_it_connects_nothing() -> None:
    lane = FollowLane("internal", {}, Taker(), on_failed=raise_it)
    await lane.assign({})
    assert FakeConsumer.made == []
    await lane.revoke()


async def test_an_error_that_ends_the_fetching_is_told() -> None:
    """Otherwise the worker would say that it works, and count nothing."""
    told: list[BaseException] = []
    taker = Taker()
    lane = FollowLane("internal", {}, taker, on_failed=told.append)
    FakeConsumer.fetches = [fetched(0), RuntimeError("broken")]
    await lane.assign({0: 0})
    async with asyncio.timeout(20):
        while not told:
            await asyncio.sleep(0)
    assert taker.taken == [0]
    assert str(told[0]) == "broken"


async def test_being_revoked_is_no_error() -> None:
    told: list[BaseException] = []
    lane = FollowLane("internal", {}, Taker(), on_failed=told.append)
    await lane.assign({0: 0})
    await FakeConsumer.made[-1].waits.wait()
    await lane.revoke()
    await asyncio.sleep(0)
    assert told == []
