"""Reading topics to look at them: from some time to the end, or on and on; without a consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from streams.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from streams.records import PlacedRecord
    from streams.upstream.topic_ids import TopicDescription

#: Seconds in which brokers must have answered.
_CONNECT_S: Final = 10.0
#: Seconds without progress after which a read to the end is given up.
_STALL_S: Final = 30.0
#: Seconds of silence after which a follower asks whether the brokers are still there.
_PROBE_S: Final = 10.0
_POLL_MS: Final = 500
_MOST_RECORDS: Final = 2000


class TopicReader:
    """Reads topics without a consumer group: looking leaves no trace. Made by ``topic_reader``."""

    def __init__(self, settings: Settings, consumer: Any, ends: dict[Any, int]) -> None:
        self._settings = settings
        self._consumer = consumer
        self._ends = ends
        self._told = False

    @property
    def client(self) -> Any:
        """The aiokafka consumer."""
        return self._consumer

    def is_new(self, record: PlacedRecord) -> bool:
        """Whether a record was written after the topics were opened."""
        return bool(record.offset >= self._ends[_tp(record)])

    async def follow(self) -> AsyncIterator[list[PlacedRecord]]:
        """Batches of records as they come, sorted by time; empty ones in between, and no end.

        Raises:
            click.ClickException: the brokers refuse.
        """
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            batch = await self._batch()
            if batch:
                heard = loop.time()
            elif loop.time() - heard > _PROBE_S:
                # No news must mean that there are none, not that the brokers are away.
                await self._probe()
                heard = loop.time()
            yield batch

    async def to_end(self) -> AsyncIterator[list[PlacedRecord]]:
        """Batches of records up to the end that the topics had when they were opened.

        Raises:
            click.ClickException: the brokers refuse, or stop answering.
        """
        loop = asyncio.get_running_loop()
        progress = loop.time()
        while await self._behind():
            batch = await self._batch()
            if batch:
                progress = loop.time()
                yield [record for record in batch if not self.is_new(record)]
            elif loop.time() - progress > _STALL_S:
                raise click.ClickException(
                    f"Kafka at {self._settings.brokers} has sent nothing for {_STALL_S:.0f} s: "
                    "look at the brokers."
                )

    async def _behind(self) -> bool:
        for partition, end in self._ends.items():
            if await self._consumer.position(partition) < end:
                return True
        return False

    async def _batch(self) -> list[PlacedRecord]:
        from aiokafka.errors import KafkaError

        try:
            fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
        except KafkaError as error:
            raise click.ClickException(f"Reading failed: {error}.") from error
        records: list[PlacedRecord] = [record for part in fetched.values() for record in part]
        records.sort(key=lambda record: (record.timestamp, record.topic, record.partition, record.offset))
        return records

    async def _probe(self) -> None:
        from aiokafka.errors import KafkaError

        try:
            async with asyncio.timeout(_PROBE_S):
                await self._consumer.end_offsets(list(self._ends))
        except (KafkaError, TimeoutError):
            if not self._told:
                click.echo(
                    f"tocsin: Kafka at {self._settings.brokers} has stopped answering; trying again.",
                    err=True,
                )
            self._told = True
        else:
            if self._told:
                click.echo("tocsin: Kafka answers again.", err=True)
            self._told = False


@asynccontextmanager
async def topic_reader(
    settings: Settings,
    names: Sequence[str],
    *,
    start_ms: int | None,
    all_needed: bool = True,
    only_partition: int | None = None,
) -> AsyncIterator[TopicReader]:
    """Open topics for reading.

    Args:
        settings: addresses and credentials.
        names: topics.
        start_ms: read from this time on, in milliseconds since 1970; 0 is the beginning, None the end.
        all_needed: whether each topic must be there, or just one of them.
        only_partition: read this one only, of each topic; None for all.

    Raises:
        ConfigurationError: no broker can be used, or a topic is not there or may not be read.
    """
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import KafkaError

    from streams.broker.client_options import client_options
    from streams.upstream.connections import disconnect
    from streams.upstream.lenient_records import install_lenient_records

    install_lenient_records()
    consumer = None
    try:
        try:
            async with asyncio.timeout(_CONNECT_S):
                partitions = await _partitions(settings, names, all_needed)
                if only_partition is not None:
                    partitions = [tp for tp in partitions if tp.partition == only_partition]
                consumer = AIOKafkaConsumer(
                    **client_options(settings),
                    client_id=f"{settings.app_id}-look",
                    group_id=None,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                )
                await consumer.start()
                consumer.assign(partitions)
                ends = await consumer.end_offsets(partitions)
                for partition, offset in (await _starts(consumer, partitions, start_ms, ends)).items():
                    consumer.seek(partition, offset)
        except TimeoutError:
            raise ConfigurationError(
                f"Kafka at {settings.brokers} did not answer within {_CONNECT_S:.0f} s: "
                "look at the brokers, or set TOCSIN_BROKERS."
            ) from None
        except KafkaError as error:
            raise ConfigurationError(
                f"Kafka at {settings.brokers} cannot be read ({error}): "
                "look at the brokers, or set TOCSIN_BROKERS."
            ) from None
        yield TopicReader(settings, consumer, ends)
    finally:
        if consumer is not None:
            await disconnect(consumer)


async def _partitions(settings: Settings, names: Sequence[str], all_needed: bool) -> list[Any]:
    from aiokafka import TopicPartition

    from streams.broker.admin import admin_client
    from streams.upstream.topic_ids import fetch_topics

    # Asked for first, since a consumer would have the brokers create a topic that is not there.
    async with admin_client(settings, timeout_s=_CONNECT_S * 0.8) as admin:
        found = (await fetch_topics(admin, names)).values()
    usable = [topic for topic in found if topic.error is None and topic.may_read]
    for topic in found:
        if topic not in usable and (all_needed or not usable):
            if (sentence := topic_fault(topic)) is not None:
                raise ConfigurationError(sentence)
            raise ConfigurationError(
                f"The topic {topic.name} may not be read by this user: grant Read on it."
            )
    return [TopicPartition(topic.name, number) for topic in usable for number in range(topic.partitions)]


def topic_fault(topic: TopicDescription) -> str | None:
    """Why a topic is of no use, in one sentence; None when it can be used."""
    from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC

    if topic.error is None:
        return None
    if topic.error == UNKNOWN_TOPIC:
        why, advice = "is missing", "run `tocsin topics apply`, or change its name in the settings"
    elif topic.error == NOT_AUTHORISED:
        why, advice = "may not be seen by this user", "grant Describe on it"
    else:
        why, advice = f"cannot be used, the broker says {topic.error}", "change its name in the settings"
    return f"The topic {topic.name} {why}: {advice}."


async def _starts(
    consumer: Any, partitions: list[Any], start_ms: int | None, ends: dict[Any, int]
) -> dict[Any, int]:
    if start_ms is None:
        return ends
    if start_ms <= 0:
        beginnings: dict[Any, int] = await consumer.beginning_offsets(partitions)
        return beginnings
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, start_ms))
    return {partition: ends[partition] if at is None else at.offset for partition, at in found.items()}


def _tp(record: PlacedRecord) -> Any:
    from aiokafka import TopicPartition

    return TopicPartition(record.topic, record.partition)
