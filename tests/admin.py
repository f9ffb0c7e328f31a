"""An admin client of Kafka, connected, and what several tests have it do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from streams.broker.admin import admin_client
from streams.broker.topics import ensure_topics
from streams.settings import Settings
from streams.upstream.topic_ids import fetch_topics

_POLL_S = 0.05
_BOUND_S = 180.0
#: Options of clients in tests: on a busy machine a broker may need longer than the 40 s that clients give it
#: until it has heard of a topic, or answers.
PATIENT: Final[dict[str, Any]] = {"request_timeout_ms": int(1000 * _BOUND_S)}


@asynccontextmanager
async def admin_of(brokers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client of these brokers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, **PATIENT)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create_topics(brokers: str, *topics: NewTopic) -> None:
    """Create topics, and return when each of their partitions takes records.

    A topic is created as soon as the controller has it. Brokers hear of it later, and name the leader of a
    partition before that takes anything: who asks before is refused.
    """
    async with admin_of(brokers) as admin:
        answer = await admin.create_topics(list(topics))
        assert {code for _, code, *_ in answer.topic_errors} <= {0}, answer
        names = [topic.name for topic in topics]
        async with asyncio.timeout(_BOUND_S):
            while any(it.error or it.leaderless for it in (await fetch_topics(admin, names)).values()):
                await asyncio.sleep(_POLL_S)
    consumer = AIOKafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False, **PATIENT)
    await consumer.start()
    try:
        # A leader that tells the end of its partition takes records, too.
        await consumer.end_offsets(
            [TopicPartition(topic.name, number) for topic in topics for number in range(topic.num_partitions)]
        )
    finally:
        await consumer.stop()


async def apply_topics(settings: Settings) -> list[str]:
    """``tocsin topics apply``, as patient as a test: on a busy machine its 30 s may be too few."""
    async with admin_client(settings, timeout_s=_BOUND_S, attempt_s=_BOUND_S) as admin:
        return (await ensure_topics(admin, settings, create=True, wait_s=_BOUND_S)).created


async def raise_partitions(admin: AIOKafkaAdminClient, topics: Iterable[str], partitions: int) -> None:
    """Give topics more partitions, as `kafka-topics.sh --alter` does, and wait until a broker knows them.

    Brokers answer as soon as the controller has them, so whoever asks at once may be told the old number.
    """
    wanted = set(topics)
    answer = await admin.create_partitions({topic: NewPartitions(partitions) for topic in wanted})
    assert {code for _, code, *_ in answer.topic_errors} <= {0}, answer
    async with asyncio.timeout(_BOUND_S):
        while any(it.partitions < partitions for it in (await fetch_topics(admin, wanted)).values()):
            await asyncio.sleep(_POLL_S)


def set_topic_config(brokers: str, topic: str, name: str, value: str | None) -> None:
    """Set a topic's configuration, and return when the broker goes by it; None takes its default again.

    For a cluster of one broker. The controller has it first. The broker then shows what it has heard of
    before its logs go by it, and hears of one change after the other: when it shows a later one than one
    that it has shown, the first is in force.
    """
    admin = AdminClient({"bootstrap.servers": brokers})
    _alter(admin, topic, name, value)
    for _ in range(2):  # a default is not waited for, so that the next may come to the broker with it
        _alter(admin, topic, "file.delete.delay.ms", str(60_000 + time.monotonic_ns() % 1_000_000))


def _alter(admin: AdminClient, topic: str, name: str, value: str | None) -> None:
    """Change one value, and wait until a broker shows it."""
    kind = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
    entry = ConfigEntry(name, value or "", incremental_operation=kind)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(_BOUND_S)
    until = time.monotonic() + _BOUND_S
    while value is not None:
        (found,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        if found.result(_BOUND_S)[name].value == value:
            return
        assert time.monotonic() < until, f"{name} of {topic} is not {value}"
        time.sleep(_POLL_S)
