"""A producer that does not stop is closed all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import aiokafka
import pytest
from aiokafka import AIOKafkaClient
from aiokafka.producer.sender import Sender

from streams.upstream.producers import close_at_once


async def sending(*, answered: bool) -> None:
    """What a producer's background task does when it is told to end: it waits for what is under way."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not answered:
            await asyncio.Event().wait()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[AIOKafkaClient]:
    """The clients that were closed."""
    found: list[AIOKafkaClient] = []

    async def close(client: AIOKafkaClient) -> None:
        found.append(client)

    monkeypatch.setattr(AIOKafkaClient, "close", close)
    return found


@pytest.fixture
async def producer() -> Any:
    """A real one that is not connected."""
    made = aiokafka.AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    yield made
    made._closed = True


@pytest.mark.parametrize("answered", [True, False])
async def test_its_sender_is_ended_and_its_connections_are_closed(
    producer: Any, closed: list[AIOKafkaClient], answered: bool
) -> None:
    task = producer._sender._sender_task = asyncio.create_task(sending(answered=answered))
    await asyncio.sleep(0)
    await close_at_once(producer, 0.01)
    assert closed == [producer.client]
    assert task.done()
    assert task.cancelled() != answered


async def test_one_that_never_started_is_closed(producer: Any, closed: list[AIOKafkaClient]) -> None:
    await close_at_once(producer, 0.01)
    assert closed == [producer.client]


def test_a_producer_still_has_what_is_used() -> None:
    assert "_sender_task" in Sender.start.__code__.co_names
    assert "_sender" in aiokafka.AIOKafkaProducer.stop.__code__.co_names
