"""A producer is connected and ended in bounded time, and none is left open."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.broker.producers import client as module
from streams.broker.producers.client import connected_producer, end_producer


class Producer:
    """Stands in for aiokafka's: it starts and stops as it is told."""

    made: list[Producer]
    how_to_start = "at once"
    how_to_stop = "at once"

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.closed = False
        self.client = SimpleNamespace(close=self._close, cluster=SimpleNamespace())
        self._sender = None
        self.made.append(self)

    async def start(self) -> None:
        if self.how_to_start == "never":
            await asyncio.Event().wait()
        if self.how_to_start == "fails":
            raise KafkaConnectionError("no broker")

    async def stop(self) -> None:
        if self.how_to_stop == "never":
            await asyncio.Event().wait()
        if self.how_to_stop == "fails":
            raise KafkaError("out of order")
        self.closed = True

    async def _close(self) -> None:
        self.closed = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    monkeypatch.setattr(module.aiokafka, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(module, "NOT_CONNECTED_S", 0.01)
    monkeypatch.setattr(Producer, "made", [], raising=False)
    return Producer.made


async def test_every_producer_is_idempotent_whatever_it_is_given(made: list[Producer]) -> None:
    options = {"acks": 1, "client_id": "a", "linger_ms": 5, "enable_idempotence": False}
    producer = await connected_producer(options)
    assert made[0].options == {"client_id": "a", "linger_ms": 5, "acks": "all", "enable_idempotence": True}
    assert producer is made[0]


@pytest.mark.parametrize(("how", "says"), [("fails", "no broker"), ("never", "no answer within 0.01 s")])
async def test_one_that_cannot_connect_is_closed(
    how: str, says: str, made: list[Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Producer, "how_to_start", how)
    with pytest.raises(KafkaConnectionError, match=says):
        await connected_producer({}, 0.01)
    assert [producer.closed for producer in made] == [True]


@pytest.mark.parametrize(("how", "in_order"), [("at once", True), ("fails", False), ("never", False)])
async def test_it_is_closed_however_it_stops(
    how: str, in_order: bool, made: list[Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Producer, "how_to_stop", how)
    producer: Any = Producer()
    assert await end_producer(producer, 0.01) == in_order
    assert producer.closed


async def test_who_is_cancelled_while_one_connects_ends_and_leaves_none_open(
    made: list[Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Producer, "how_to_start", "never")
    task = asyncio.create_task(connected_producer({}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made[0].closed
