"""Reading partitions from offset to offset, for `tocsin verify`; leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import click

from streams.records import PlacedRecord, UnreadableRecord
from streams.settings import ConfigurationError, Settings

_CONNECT_S: Final = 15.0
#: Seconds without progress after which reading is given up.
_STALL_S: Final = 30.0
_POLL_MS: Final = 500
_MOST_RECORDS: Final = 5000
#: Records looked at one by one in search of one that cannot be taken apart.
_MOST_STEPS: Final = 20_000


class PartitionReader:
    """Reads one partition after another. Made by ``partition_reader``."""

    def __init__(self, settings: Settings, consumer: Any) -> None:
        self._settings = settings
        self._consumer = consumer

    def open(self, partitions: Iterable[Any]) -> None:
        """Name all partitions that will be read, before the first is."""
        self._consumer.assign(list(partitions))
        self._consumer.pause(*self._consumer.assignment())

    async def beginnings(self, partitions: Iterable[Any]) -> dict[Any, int]:
        """First offset of each partition."""
        found: dict[Any, int] = await self._ask(self._consumer.beginning_offsets(list(partitions)))
        return found

    async def ends(self, partitions: Iterable[Any]) -> dict[Any, int]:
        """Offset after the last record of each partition."""
        found: dict[Any, int] = await self._ask(self._consumer.end_offsets(list(partitions)))
        return found

    async def offset_at(self, partition: Any, time_ms: int) -> int | None:
        """The first offset that has this time or a later one; None when there is none."""
        found = (await self._ask(self._consumer.offsets_for_times({partition: time_ms})))[partition]
        return None if found is None else int(found.offset)

    async def first(self, partition: Any, start: int, end: int) -> PlacedRecord | None:
        """The first record from ``start`` to before ``end``; None when there is none."""
        async with contextlib.aclosing(self.records(partition, start, end)) as found:
            async for records in found:
                for record in records:
                    return record
        return None

    async def records(self, partition: Any, start: int, end: int) -> AsyncGenerator[list[PlacedRecord]]:
        """Records from offset ``start`` to before ``end``, in order; what cannot be read has a stand-in.

        Raises:
            click.ClickException: the brokers refuse, or stop answering.
        """
        if start >= end:
            return
        loop = asyncio.get_running_loop()
        consumer = self._consumer
        self._turn_to(partition)
        consumer.seek(partition, start)
        position, progress = start, loop.time()
        while position < end:
            found = await self._some(partition, position)
            if found:
                yield [record for record in found if record.offset < end]
            # A log that was compacted ends without a record at its last offset.
            reached = await self._ask(consumer.position(partition))
            if reached > position:
                position, progress = reached, loop.time()
            elif loop.time() - progress > _STALL_S:
                raise click.ClickException(
                    f"Kafka at {self._settings.brokers} has sent nothing for {_STALL_S:.0f} s: "
                    "look at the brokers."
                )

    def _turn_to(self, partition: Any) -> None:
        # One assignment for all: a new one takes the client a second. Others are paused, which keeps
        # nothing of theirs in memory.
        consumer = self._consumer
        if partition not in consumer.assignment():
            raise ValueError(f"{partition} was not opened")
        consumer.pause(*(consumer.assignment() - {partition} - consumer.paused()))
        consumer.resume(partition)

    async def _some(self, partition: Any, position: int) -> list[PlacedRecord]:
        from aiokafka.errors import KafkaError

        try:
            fetched = await self._consumer.getmany(partition, timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
        except KafkaError as error:
            raise _failed(self._settings, error) from error
        except Exception:  # noqa: BLE001 - hostile records raise anything
            return await self._step_over(partition, position)
        found: list[PlacedRecord] = fetched.get(partition, [])
        return found

    async def _step_over(self, partition: Any, position: int) -> list[PlacedRecord]:
        """Read one by one up to a record that the client cannot take apart, as the fetch lanes do."""
        from aiokafka.errors import KafkaError

        consumer = self._consumer
        consumer.seek(partition, position)
        found: list[PlacedRecord] = []
        while len(found) < _MOST_STEPS:
            try:
                fetched = await consumer.getmany(partition, timeout_ms=_POLL_MS, max_records=1)
            except KafkaError as error:
                raise _failed(self._settings, error) from error
            except Exception as error:  # noqa: BLE001 - as above
                offset = found[-1].offset + 1 if found else position
                why = f"{type(error).__name__}: {error}"
                found.append(UnreadableRecord(partition.topic, partition.partition, offset, why))
                consumer.seek(partition, offset + 1)
                return found
            if not fetched:
                return found
            found += fetched[partition]
        return found

    async def _ask(self, answer: Any) -> Any:
        from aiokafka.errors import KafkaError

        try:
            async with asyncio.timeout(_STALL_S):
                return await answer
        except (KafkaError, TimeoutError) as error:
            raise _failed(self._settings, error) from error


def _failed(settings: Settings, error: BaseException) -> click.ClickException:
    return click.ClickException(
        f"Kafka at {settings.brokers} cannot be read ({str(error) or type(error).__name__})."
    )


@asynccontextmanager
async def partition_reader(settings: Settings) -> AsyncIterator[PartitionReader]:
    """Connect.

    Raises:
        ConfigurationError: no broker can be used.
    """
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import KafkaError

    from streams.broker.client_options import client_options
    from streams.upstream.connections import disconnect
    from streams.upstream.lenient_records import install_lenient_records
    from streams.upstream.unpacking import limit_for

    # As workers do, so that the same records are dead letters.
    install_lenient_records(limit_for(settings.max_notification_bytes))
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        client_id=f"{settings.app_id}-verify",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 2**20,
        # The next partition waits for the fetch of the one before to come back.
        fetch_max_wait_ms=50,
    )
    try:
        try:
            async with asyncio.timeout(_CONNECT_S):
                await consumer.start()
        except (KafkaError, TimeoutError) as error:
            raise ConfigurationError(
                f"Kafka at {settings.brokers} cannot be read ({str(error) or type(error).__name__}): "
                "look at the brokers, or set TOCSIN_BROKERS."
            ) from None
        yield PartitionReader(settings, consumer)
    finally:
        await disconnect(consumer)
