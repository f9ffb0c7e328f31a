"""When a consumer has seen all: by what brokers answer, never because nothing came."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from streams.upstream.fetch_progress import FetchProgress


class Broker:
    """Answers fetches of one topic: partition -> error and end."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ends: dict[int, tuple[int, int]] = {}
        self.seen: dict[int, float] = {}
        self.client = SimpleNamespace(send=self._send)
        consumer: Any = SimpleNamespace(_client=self.client)
        self.progress = FetchProgress(consumer, self.seen, lambda: self.now)

    async def _send(self, node_id: Any, request: Any, **options: Any) -> Any:
        del node_id, request, options
        self.now += 1.0  # a broker waits for news
        parts = [(number, error, end, end, 0, [], -1, b"") for number, (error, end) in self.ends.items()]
        return SimpleNamespace(topics=[("counts", parts)])

    async def fetch(self, **asked: int) -> None:
        wanted = [(int(name[1:]), offset, 1000) for name, offset in asked.items()]
        request = FetchRequest(1000, 1, 1000, 0, [("counts", wanted)])
        await self.client.send(1, request)


async def test_the_end_is_seen_as_of_when_it_was_asked_for() -> None:
    broker = Broker()
    broker.ends = {0: (0, 7)}
    await broker.fetch(p0=7)
    assert broker.seen == {0: 100.0}


async def test_who_is_behind_has_seen_it_when_the_records_are_taken_in() -> None:
    broker = Broker()
    broker.ends = {0: (0, 20), 1: (0, 3)}
    await broker.fetch(p0=5, p1=3)
    assert broker.seen == {1: 100.0}
    broker.progress.taken(0, 12)
    assert broker.seen == {1: 100.0}
    broker.progress.taken(0, 20)
    assert broker.seen == {0: 100.0, 1: 100.0}


async def test_of_several_topics_each_is_watched_for_itself() -> None:
    broker = Broker()
    consumer: Any = SimpleNamespace(_client=broker.client)
    seen: dict[str, dict[int, float]] = {"counts": {}, "other": {}}
    progress = {
        topic: FetchProgress(consumer, seen[topic], lambda: broker.now, topic)
        for topic in ("counts", "other")
    }
    broker.ends = {0: (0, 7), 1: (0, 9)}
    await broker.fetch(p0=7, p1=8)
    assert seen == {"counts": {0: 100.0}, "other": {}}
    progress["other"].taken(1, 9)
    assert seen == {"counts": {0: 100.0}, "other": {}}
    progress["counts"].taken(1, 9)
    assert seen == {"counts": {0: 100.0, 1: 100.0}, "other": {}}


async def test_an_error_and_other_requests_say_nothing() -> None:
    broker = Broker()
    broker.ends = {0: (6, -1)}
    await broker.fetch(p0=7)
    await broker.client.send(1, MetadataRequest(["counts"]))
    assert broker.seen == {}


def test_the_client_asks_as_it_is_read_here() -> None:
    source = inspect.getsource(Fetcher)
    assert "await self._client.send(node_id, request)" in source
    assert "for partition, error_code, highwater, *part_data in partitions" in source
    assert "fetch_offsets[tp]" in source
