"""A member that is told to stop while it joins the group is disconnected in its own thread, and leaves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.transport.drivers import aiokafka as driver

from streams.upstream.faust_consumer_thread import ConsumerThread


class Closed:
    """A client, or a coordinator; knows whether somebody has begun to close it."""

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


async def touched_by(kind: Any) -> tuple[bool, bool, bool]:
    """What ``close`` of a thread's class does at once: consumer, client, coordinator."""
    consumer = SimpleNamespace(_closed=False, _client=Closed(), _coordinator=Closed())
    thread: Any = SimpleNamespace(_consumer=consumer, app=SimpleNamespace(loop=asyncio.get_running_loop()))
    await asyncio.to_thread(kind.close, thread)
    for _ in range(5):
        await asyncio.sleep(0)
    return consumer._closed, consumer._client.closed, consumer._coordinator.closed


@pytest.mark.parametrize(
    ("kind", "touched"),
    [(ConsumerThread, False), (driver.AIOKafkaConsumerThread, True)],
    ids=["ours", "Faust's, the control"],
)
async def test_an_assignment_while_stopping_closes_nothing_from_another_thread(
    kind: Any, touched: bool
) -> None:
    assert await touched_by(kind) == (touched,) * 3


def test_faust_calls_it_where_an_assignment_comes_while_it_stops() -> None:
    assert "close" in faust.App._on_rebalance_when_stopped.__code__.co_names
    for listener in (faust.App._on_partitions_assigned, faust.App._on_partitions_revoked):
        assert "_on_rebalance_when_stopped" in listener.__code__.co_names
