"""Into how many slices the event types are cut: fixed at the first start, and kept in a topic of its own.

The topics that hold counts have a partition for each slice, and every count depends on how many there are: an
event type that moved to another slice would be counted in both. So the number does not follow the partitions
of any topic, which anybody may raise. The first record of the topic says it, for all workers of all pools and
for good; it is written by the first worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.broker.client_options import client_options
from streams.broker.topic_plan import slices_topic
from streams.settings import ConfigurationError, Settings
from streams.upstream.clients import client_of, know_topics
from streams.upstream.connections import disconnect
from streams.upstream.topic_ids import TopicDescription

#: Milliseconds to wait for the first record, which is there.
_READ_MS = 5000


class _Slices(msgspec.Struct):
    """Value of a record of the topic; further fields may come."""

    slices: int


async def kept_slices(
    admin: AIOKafkaAdminClient, settings: Settings, found: Mapping[str, TopicDescription]
) -> int | None:
    """The number of slices, where it is fixed; None while nobody has written it.

    Args:
        admin: started client.
        settings: of the worker.
        found: topics that are there; the one that holds the number may be missing.

    Raises:
        ConfigurationError: the topic holds something else.
    """
    name = slices_topic(settings)
    topic = found.get(name)
    if topic is None or topic.error is not None or not topic.may_read or topic.leaderless:
        return None
    return await _first_record(_options(admin, settings), name)


async def keep_slices(admin: AIOKafkaAdminClient, settings: Settings, number: int) -> int:
    """Fix the number of slices as ``number``, unless it was fixed before; return which it is.

    Raises:
        ConfigurationError: the topic holds something else.
    """
    name, options = slices_topic(settings), _options(admin, settings)
    # Also waits, without a line in the log, until the leader of a new topic knows that it is that.
    if (known := await _first_record(options, name)) is not None:
        return known
    producer = AIOKafkaProducer(acks="all", **options)
    await producer.start()
    try:
        await producer.send_and_wait(name, msgspec.json.encode(_Slices(number)), partition=0)
    finally:
        await producer.stop()
    # Another worker may have been faster, and then its record is the first.
    return await _first_record(options, name) or number


def _options(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, Any]:
    """Of clients that go straight to the brokers that ``admin`` has found; others may be away."""
    brokers = client_of(admin).cluster.brokers()
    found = [
        f"[{each.host}]:{each.port}" if ":" in each.host else f"{each.host}:{each.port}" for each in brokers
    ]
    return client_options(settings) | {"bootstrap_servers": found}


async def _first_record(options: Mapping[str, Any], name: str) -> int | None:
    place = TopicPartition(name, 0)
    consumer = AIOKafkaConsumer(enable_auto_commit=False, **options)
    await consumer.start()
    try:
        await know_topics(consumer, [name])
        end = (await consumer.end_offsets([place]))[place]
        if not end:
            return None
        consumer.assign([place])
        consumer.seek(place, 0)
        async with asyncio.timeout(_READ_MS / 1000):
            record = await consumer.getone(place)
    finally:
        await disconnect(consumer)
    try:
        number = msgspec.json.decode(record.value or b"", type=_Slices).slices
    except msgspec.DecodeError as error:
        raise _unreadable(name) from error
    if number < 1:
        raise _unreadable(name)
    return number


def _unreadable(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"The first record of the topic {name} is no number of slices, so others write to it: give all "
        "workers a new TOCSIN_APP_ID, which counts again what retention still holds."
    )
