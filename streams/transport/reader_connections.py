"""Connecting topic readers: to several topics at once, or to read one partition after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.broker.admin import COMMAND_ATTEMPT_S, admin_client
from streams.broker.client_options import client_options
from streams.broker.topic_problems import topic_fault
from streams.settings import ConfigurationError, Settings
from streams.transport.topic_reader import MOST_RECORDS, TopicReader
from streams.upstream.bulk_records import install_bulk_records
from streams.upstream.connections import disconnect
from streams.upstream.corrupt_batches import LeavesOut
from streams.upstream.lenient_records import MOST_UNPACKED, install_lenient_records
from streams.upstream.refused_fetches import rest_after_refusals
from streams.upstream.topic_ids import fetch_topics
from streams.upstream.unpacking import limit_for

#: Seconds in which brokers must have answered.
_CONNECT_S: Final = 15.0
#: Where others share the event loop.
_MODEST_RECORDS: Final = 100
_MODEST_BYTES: Final = 128 * 2**10


@asynccontextmanager
async def topic_reader(
    settings: Settings,
    names: Sequence[str],
    *,
    start_ms: int | None,
    tell: Callable[[str], None],
    all_needed: bool = True,
    only_partition: int | None = None,
) -> AsyncIterator[TopicReader]:
    """Open topics to be read side by side.

    Args:
        settings: addresses and credentials.
        names: topics.
        start_ms: read from this time on, in milliseconds since 1970; 0 is the beginning, None the end.
        tell: called with a sentence for the user while it goes on.
        all_needed: whether each topic must be there, or just one of them.
        only_partition: read this one only, of each topic; None for all.

    Raises:
        ConfigurationError: no broker can be used, or a topic is not there or may not be read.
    """

    async def begin(reader: TopicReader) -> None:
        partitions = await _partitions(settings, names, all_needed)
        if only_partition is not None:
            partitions = [tp for tp in partitions if tp.partition == only_partition]
        await reader.client.start()
        await reader.start_at(partitions, start_ms)

    async with _connected(settings, "look", MOST_UNPACKED, tell, begin) as reader:
        yield reader


@asynccontextmanager
async def partition_reader(settings: Settings, tell: Callable[[str], None]) -> AsyncIterator[TopicReader]:
    """Connect, to read one partition after another.

    Args:
        settings: addresses and credentials.
        tell: called with a sentence for the user while it goes on.

    Raises:
        ConfigurationError: no broker can be used.
    """
    # As workers do, so that the same records are dead letters.
    limit = limit_for(settings.max_notification_bytes)
    # The next partition waits for the fetch of the one before to come back.
    options = {"max_partition_fetch_bytes": 4 * 2**20, "fetch_max_wait_ms": 50}
    start = _connected(
        settings, "verify", limit, tell, lambda it: it.client.start(), with_corrupt=True, **options
    )
    async with start as reader:
        yield reader


@asynccontextmanager
async def modest_reader(settings: Settings, tell: Callable[[str], None]) -> AsyncIterator[TopicReader]:
    """Connect, to read one partition after another in a process that has records of its own to care for.

    What is fetched and handed out at a time is little, so that the event loop is not held.

    Args:
        settings: addresses and credentials.
        tell: called with a sentence for the user while it goes on.

    Raises:
        ConfigurationError: no broker can be used.
    """
    options: dict[str, Any] = {
        "max_partition_fetch_bytes": _MODEST_BYTES,
        "fetch_max_bytes": 2 * _MODEST_BYTES,
        "fetch_max_wait_ms": 50,
    }
    start = _connected(
        settings,
        "web",
        MOST_UNPACKED,
        tell,
        lambda it: it.client.start(),
        most_records=_MODEST_RECORDS,
        **options,
    )
    async with start as reader:
        yield reader


@asynccontextmanager
async def _connected(
    settings: Settings,
    name: str,
    limit: int,
    tell: Callable[[str], None],
    begin: Callable[[TopicReader], Awaitable[None]],
    *,
    with_corrupt: bool = False,
    most_records: int = MOST_RECORDS,
    **options: Any,
) -> AsyncIterator[TopicReader]:
    install_lenient_records(limit)
    install_bulk_records()
    leaves_out = LeavesOut(lambda *_: None)
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        client_id=f"{settings.app_id}-{name}",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=settings.isolation_level,  # as workers do
        value_deserializer=leaves_out,
        **options,
    )
    reader = TopicReader(settings, consumer, tell, most_records=most_records)
    leaves_out.told = reader.left_out
    if with_corrupt:
        leaves_out.stand_ins = reader.keep
    try:
        try:
            async with asyncio.timeout(_CONNECT_S):
                await begin(reader)
            rest_after_refusals(consumer)
        except TimeoutError:
            raise ConfigurationError(
                f"Kafka at {settings.brokers} did not answer within {_CONNECT_S:.0f} s: "
                "look at the brokers, or set TOCSIN_BROKERS."
            ) from None
        except KafkaError as error:
            raise ConfigurationError(
                f"Kafka at {settings.brokers} cannot be read ({str(error) or type(error).__name__}): "
                "look at the brokers, or set TOCSIN_BROKERS."
            ) from None
        yield reader
    finally:
        await disconnect(consumer)


async def _partitions(settings: Settings, names: Sequence[str], all_needed: bool) -> list[TopicPartition]:
    # Asked for first, since a consumer would have the brokers create a topic that is not there.
    async with admin_client(settings, timeout_s=COMMAND_ATTEMPT_S, attempt_s=COMMAND_ATTEMPT_S) as admin:
        found = (await fetch_topics(admin, names)).values()
    usable = [topic for topic in found if topic.error is None and topic.may_read]
    for topic in found:
        if (fault := topic_fault(topic, reads=True)) is not None and (all_needed or not usable):
            raise ConfigurationError(fault)
    return [TopicPartition(topic.name, number) for topic in usable for number in range(topic.partitions)]
