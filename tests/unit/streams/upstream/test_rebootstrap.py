"""Connections to brokers that cannot be had are tried at a bounded rate; aiokafka has what is changed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import aiokafka.client
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import LeaderNotAvailableError, UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataResponse_v1
from aiokafka.structs import BrokerMetadata

from streams.upstream import rebootstrap

_ASKS = 200


class Clock:
    """Stands for the time and for what sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        wake = self.now + seconds
        await self.give_way()
        self.now = max(self.now, wake)

    async def give_way(self) -> None:
        """Let all others run."""
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(given.set_result, None)
        await given


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rebootstrap.time, "monotonic", made.monotonic)
    monkeypatch.setattr(rebootstrap.asyncio, "sleep", made.sleep)
    return made


class Connection:
    def connected(self) -> bool:
        return True


@pytest.fixture
async def client() -> AIOKafkaClient:
    made = AIOKafkaClient(bootstrap_servers="a:1")
    made.cluster._brokers = {1: BrokerMetadata(1, "a", 1, None)}
    return made


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
    """The times of tries to connect, which all fail."""
    times: list[float] = []

    async def create_conn(*_: Any, **__: Any) -> Any:
        times.append(clock.now)
        await clock.give_way()
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(aiokafka.client, "create_conn", create_conn)
    return times


async def ask(get_conn: Callable[..., Any], client: AIOKafkaClient, clock: Clock) -> float:
    """Ask for a connection again and again, as aiokafka's loops do; returns the seconds that it took."""
    began = clock.now
    for _ in range(_ASKS):
        assert await get_conn(client, 1) is None
        clock.now += 0.01
    return clock.now - began


async def test_an_address_is_tried_once_a_second(
    client: AIOKafkaClient, clock: Clock, tried: list[float]
) -> None:
    took = await ask(rebootstrap._get_conn, client, clock)
    pauses = [round(later - earlier, 3) for earlier, later in pairwise(tried)]
    assert pauses == sorted(pauses)
    assert pauses[0] >= 0.1
    assert len(tried) <= took + 5


async def test_stock_aiokafka_tries_each_time(
    client: AIOKafkaClient, clock: Clock, tried: list[float]
) -> None:
    await ask(rebootstrap._stock_get_conn, client, clock)
    assert len(tried) == _ASKS


async def test_those_that_ask_meanwhile_share_one_try(
    client: AIOKafkaClient, clock: Clock, tried: list[float]
) -> None:
    assert await rebootstrap._get_conn(client, 1) is None
    clock.now += 10
    assert await asyncio.gather(*(rebootstrap._get_conn(client, 1) for _ in range(20))) == [None] * 20
    assert len(tried) == 2


async def test_an_address_that_answers_is_had_at_once_again(
    client: AIOKafkaClient, clock: Clock, tried: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(rebootstrap._get_conn, client, clock)
    there = Connection()

    async def create_conn(*_: Any, **__: Any) -> Any:
        return there

    monkeypatch.setattr(aiokafka.client, "create_conn", create_conn)
    clock.now += 1
    assert await rebootstrap._get_conn(client, 1) is there
    assert await rebootstrap._get_conn(client, 1) is there
    assert rebootstrap._of(client).pauses == {}


class Metadata:
    """Answers for metadata without a broker: of which partitions the topic ``t`` has a leader."""

    def __init__(self, client: AIOKafkaClient, clock: Clock) -> None:
        self.client, self.clock = client, clock
        self.times: list[float] = []
        #: Of partition -> leader; None when the topic is not there.
        self.leaders: dict[int, int] | None = None

    async def update(self, _client: AIOKafkaClient, cluster: ClusterMetadata, topics: Any) -> bool:
        self.times.append(self.clock.now)
        await self.clock.give_way()
        error = UnknownTopicOrPartitionError.errno if self.leaders is None else 0
        parts = [
            (LeaderNotAvailableError.errno if leader < 0 else 0, partition, leader, [1], [1])
            for partition, leader in (self.leaders or {}).items()
        ]
        answer = MetadataResponse_v1(
            [(1, "a", 1, None)], 1, [(error, topic, False, parts) for topic in topics]
        )
        cluster.update_metadata(answer)
        return True

    async def asked(self, number: int) -> float:
        """Ask again and again, as a producer does; returns the seconds that it took."""
        began = self.clock.now
        for _ in range(number):
            assert await rebootstrap._metadata_update(self.client, self.client.cluster, {"t"})
        return self.clock.now - began


@pytest.mark.parametrize(
    ("leaders", "waits"), [(None, True), ({0: 1, 1: -1}, True), ({0: 1, 1: 1}, False), ({}, False)]
)
async def test_metadata_of_what_is_not_there_is_asked_for_at_a_bounded_rate(
    client: AIOKafkaClient,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    leaders: dict[int, int] | None,
    waits: bool,
) -> None:
    """The control is what is there: without the pause the one would take no longer than the other."""
    metadata = Metadata(client, clock)
    metadata.leaders = leaders
    monkeypatch.setattr(rebootstrap, "_stock_metadata_update", metadata.update)
    took = await metadata.asked(50)
    assert took == pytest.approx(49 * rebootstrap.MISSING_S if waits else 0.0)
    metadata.leaders = {0: 1}
    await metadata.asked(1)
    assert await metadata.asked(10) == 0.0, "as soon as it is there, nobody waits"


def test_aiokafka_has_what_is_changed() -> None:
    for stock, wanted in (
        (rebootstrap._stock_get_conn, ["node_id", "group", "no_hint"]),
        (rebootstrap._stock_metadata_update, ["cluster_metadata", "topics"]),
    ):
        assert list(inspect.signature(stock).parameters)[1:] == wanted
    # Only known brokers are asked, through `_get_conn`, by whom everybody waits for metadata.
    names = rebootstrap._stock_metadata_update.__code__.co_names
    assert "_get_conn" in names
    assert "_bootstrap_servers" not in names
    assert "_metadata_update" in AIOKafkaClient._md_synchronizer.__code__.co_names
    assert "create_conn" in AIOKafkaClient.bootstrap.__code__.co_names
    assert list(inspect.signature(ClusterMetadata.update_metadata).parameters)[1:] == ["metadata"]
