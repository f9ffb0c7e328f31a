"""What a bridge hands over to a real Kafka: each record's fate is its own."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import NewTopic

from streams.bridges.to_kafka import KafkaWriter
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.notifications.priority import Priority
from streams.settings import Settings
from tests.admin import create_topics
from tests.integration.reading import read_all
from tests.integration.worker_process import BOUND_S, Deployment, eventually

pytestmark = pytest.mark.kafka


async def create(settings: Settings, name: str, **config: str) -> None:
    configs = {key.replace("_", "."): value for key, value in config.items()}
    await create_topics(settings.brokers, NewTopic(name, 2, 1, topic_configs=configs))


async def test_record_that_is_too_large_takes_no_other_of_its_batch_with_it(deployment: Deployment) -> None:
    settings = deployment.settings
    topic = settings.notification_topic(Priority.INFO)
    # The batch of all is larger than the topic takes, and so is one of its records.
    await create(settings, topic, max_message_bytes="5000")
    await create(settings, settings.dead_letter_topic)
    writer = KafkaWriter(settings, linger_s=0.1)
    await writer.start()
    try:
        small = [b"%03d" % index * 300 for index in range(20)]
        futures = [writer.post(value, priority=Priority.INFO) for value in small[:10]]
        large = writer.post(b"x" * 6000, [("message-id", b"m")], priority=Priority.INFO)
        futures += [writer.post(value, priority=Priority.INFO) for value in small[10:]]
        async with asyncio.timeout(BOUND_S):
            await asyncio.gather(*futures)
            with pytest.raises(RecordRefusedForSizeError):
                await large
            await writer.dead_letter(
                b"x" * 6000, [("message-id", b"m")], priority=Priority.INFO, detail="too large"
            )
        assert writer.bytes == 0
    finally:
        assert await writer.stop(BOUND_S)
    assert sorted(record.value for record in await read_all(settings.brokers, topic)) == small
    (letter,) = await read_all(settings.brokers, settings.dead_letter_topic)
    headers = dict(letter.headers)
    assert (letter.value, headers["message-id"], headers["tocsin-topic"]) == (
        b"x" * 6000,
        b"m",
        topic.encode(),
    )


async def test_topic_that_is_missing_is_named_and_waited_for(deployment: Deployment) -> None:
    settings = deployment.settings
    topic = settings.notification_topic(Priority.WARN)
    writer = KafkaWriter(settings)
    await writer.start()
    try:
        future = writer.post(b"1", priority=Priority.WARN)
        await eventually("it is said", lambda: "tocsin topics apply" in (writer.reason() or ""))
        assert not future.done()
        await create(settings, topic)
        async with asyncio.timeout(BOUND_S):
            await future
        assert writer.reason() is None
        assert writer.failures > 0
    finally:
        await writer.stop(0.0)
    assert [record.value for record in await read_all(settings.brokers, topic)] == [b"1"]


async def test_what_is_not_confirmed_when_it_stops_is_cancelled(deployment: Deployment) -> None:
    settings = deployment.settings
    writer = KafkaWriter(settings, linger_s=BOUND_S)
    await create(settings, settings.notification_topic(Priority.INFO))
    await writer.start()
    future = writer.post(b"1", priority=Priority.INFO)
    assert not await writer.stop(0.0)
    assert future.cancelled()
    assert writer.post(b"2", priority=Priority.INFO).cancelled()
    assert writer.bytes == 0
