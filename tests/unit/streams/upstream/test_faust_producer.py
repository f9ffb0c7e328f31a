"""Faust's producer waits for brokers that are away, and leaves no connection behind."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

from streams.upstream import connections
from streams.upstream.faust_producer import Producer
from tocsin.app import TocsinApp


async def test_it_tries_until_it_is_no_longer_wanted_and_closes_each_client(
    app: TocsinApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[AIOKafkaClient] = []
    close = AIOKafkaClient.close

    async def told(client: AIOKafkaClient) -> None:
        closed.append(client)
        if len(closed) == 3:
            app._stopped.set()
        await close(client)

    monkeypatch.setattr(connections, "_AGAIN_S", 0.0)
    monkeypatch.setattr(AIOKafkaClient, "close", told)
    producer = app.producer
    assert isinstance(producer, Producer)
    assert producer._producer is None
    await producer.on_start()
    assert len(set(closed)) == 3
    with pytest.raises(KafkaConnectionError):
        await producer._connect()
    assert closed[3:] == [producer._producer.client]
    producer._producer._closed = True  # else it warns that it was not stopped
