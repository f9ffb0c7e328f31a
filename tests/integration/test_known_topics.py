"""A consumer learns where several topics lie with one request, before it is asked for their offsets."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from streams.upstream.clients import know_topics
from streams.upstream.connections import disconnect
from tests.admin import create_topics
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka


async def _asked_for_ends(kafka: LocalKafka, names: list[str], *, told: bool) -> list[set[str]]:
    """The topics of each request for metadata that a consumer sends when it is asked for all ends."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    client = consumer._client
    update, asked = client._metadata_update, []

    async def noted(cluster: Any, topics: Any) -> Any:
        asked.append(set(topics))
        return await update(cluster, topics)

    client._metadata_update = noted
    try:
        if told:
            await know_topics(consumer, [])
            await know_topics(consumer, names[:2])
            await know_topics(consumer, names[2:])
            await know_topics(consumer, names)
        ends = await consumer.end_offsets([TopicPartition(name, 0) for name in names])
        assert set(ends.values()) == {0}
    finally:
        await disconnect(consumer)
    return asked


async def test_a_consumer_learns_of_several_topics_at_once(kafka: LocalKafka, unique: str) -> None:
    names = [f"{unique}.{number}" for number in range(4)]
    await create_topics(kafka.bootstrap, *(NewTopic(name, 1, 1) for name in names))
    # What it knows already is not asked for again, nor forgotten.
    assert await _asked_for_ends(kafka, names, told=True) == [set(names[:2]), set(names)]
    # Negative control: by itself it asks for one more each time, and rests after each.
    assert len(await _asked_for_ends(kafka, names, told=False)) >= len(names)
