"""Reading topics without a consumer group, so that looking leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.records import PlacedRecord, ReadingFailedError, UnreadableRecord
from streams.settings import Settings
from streams.transport.step_over import step_over
from streams.upstream.corrupt_batches import Corrupt

#: Seconds without progress after which a read to some end is given up.
_STALL_S: Final = 30.0
#: Seconds of silence after which a follower asks whether the brokers are still there.
_PING_S: Final = 10.0
_POLL_MS: Final = 500
#: Records handed out at a time, where nothing else is said.
MOST_RECORDS: Final = 5000


class TopicReader:
    """Reads topics: all that are open side by side (``follow``, ``to_end``), or one partition (``records``).

    A record that the client cannot take apart has an `UnreadableRecord` in its place. A batch that is corrupt
    on a broker's disk is passed over, with a warning. Made by ``topic_reader`` and ``partition_reader``.

    Args:
        settings: for what is said of failures.
        consumer: is connected.
        tell: called with a sentence for the user while it goes on.
        most_records: handed out at a time.
    """

    def __init__(
        self,
        settings: Settings,
        consumer: AIOKafkaConsumer,
        tell: Callable[[str], None],
        *,
        most_records: int = MOST_RECORDS,
    ) -> None:
        self._settings = settings
        self._consumer = consumer
        self._tell = tell
        self._most_records = most_records
        #: Partition and end of each corrupt batch -> the first of its offsets that was to be read.
        self.corrupt: dict[tuple[TopicPartition, int], int] = {}
        #: Stand-ins that were not handed out yet.
        self._kept: dict[TopicPartition, list[UnreadableRecord]] = {}
        self._told = False
        #: Partition -> offset after the last record that was handed out, of those read side by side.
        self._positions: dict[TopicPartition, int] = {}
        #: Ends that the topics had when they were opened to be read side by side.
        self._ends: dict[TopicPartition, int] = {}

    @property
    def client(self) -> Any:
        """The aiokafka consumer."""
        return self._consumer

    # ---------------------------------------------------------------- topics side by side

    async def start_at(self, partitions: Sequence[TopicPartition], start_ms: int | None) -> None:
        """Open partitions for ``follow`` and ``to_end``; see ``topic_reader``.

        Raises:
            KafkaError: the brokers refuse.
        """
        consumer = self._consumer
        consumer.assign(partitions)
        self._ends = await consumer.end_offsets(partitions)
        self._positions = await _starts(consumer, partitions, start_ms, self._ends)
        for partition, offset in self._positions.items():
            consumer.seek(partition, offset)

    def is_new(self, record: PlacedRecord) -> bool:
        """Whether a record was written after the topics were opened."""
        return bool(record.offset >= self._ends[TopicPartition(record.topic, record.partition)])

    async def follow(self) -> AsyncIterator[list[PlacedRecord]]:
        """Batches of records as they come, sorted by time; empty ones in between, and no end.

        Raises:
            ReadingFailedError: the brokers refuse.
        """
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            batch = await self._batch()
            if batch:
                heard = loop.time()
            elif loop.time() - heard > _PING_S:
                # No news must mean that there are none, not that the brokers are away.
                await self._ping()
                heard = loop.time()
            yield batch

    async def to_end(self) -> AsyncIterator[list[PlacedRecord]]:
        """Batches of records up to the end that the topics had when they were opened.

        Raises:
            ReadingFailedError: the brokers refuse, or stop answering.
        """
        loop = asyncio.get_running_loop()
        progress = loop.time()
        while await self._behind():
            batch = await self._batch()
            if batch:
                progress = loop.time()
                yield [record for record in batch if not self.is_new(record)]
            elif loop.time() - progress > _STALL_S:
                raise self._stalled()

    async def _behind(self) -> bool:
        for partition, end in self._ends.items():
            if await self._consumer.position(partition) < end:
                return True
        return False

    async def _batch(self) -> list[PlacedRecord]:
        records = await self._fetch(self._positions)
        records.sort(key=_in_time)
        return records

    async def _ping(self) -> None:
        try:
            async with asyncio.timeout(_PING_S):
                await self._consumer.end_offsets(list(self._ends))
        except (KafkaError, TimeoutError):
            if not self._told:
                self._tell(f"Kafka at {self._settings.brokers} has stopped answering; trying again.")
            self._told = True
        else:
            if self._told:
                self._tell("Kafka answers again.")
            self._told = False

    # ---------------------------------------------------------------- one partition after another

    def open(self, partitions: Iterable[TopicPartition]) -> None:
        """Name all partitions of which ``records`` will be read, before the first is."""
        self._consumer.assign(list(partitions))
        self._consumer.pause(*self._consumer.assignment())

    async def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """First offset of each partition."""
        found: dict[TopicPartition, int] = await self._ask(self._consumer.beginning_offsets(list(partitions)))
        return found

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offset after the last record of each partition."""
        found: dict[TopicPartition, int] = await self._ask(self._consumer.end_offsets(list(partitions)))
        return found

    async def offset_at(self, partition: TopicPartition, time_ms: int) -> int | None:
        """The first offset that has this time or a later one; None when there is none."""
        found = (await self._ask(self._consumer.offsets_for_times({partition: time_ms})))[partition]
        return None if found is None else int(found.offset)

    async def first(self, partition: TopicPartition, start: int, end: int) -> PlacedRecord | None:
        """The first record from ``start`` to before ``end``; None when there is none."""
        async with contextlib.aclosing(self.records(partition, start, end)) as found:
            async for records in found:
                for record in records:
                    return record
        return None

    async def records(
        self, partition: TopicPartition, start: int, end: int
    ) -> AsyncGenerator[list[PlacedRecord]]:
        """Records from offset ``start`` to before ``end``, in order.

        Raises:
            ReadingFailedError: the brokers refuse, or stop answering.
        """
        if start >= end:
            return
        loop = asyncio.get_running_loop()
        consumer = self._consumer
        self._turn_to(partition)
        consumer.seek(partition, start)
        position, progress = start, loop.time()
        while position < end:
            found = await self._fetch({partition: position})
            if found:
                yield [record for record in found if record.offset < end]
            # A log that was compacted ends without a record at its last offset.
            reached = await self._ask(consumer.position(partition))
            if reached > position:
                position, progress = reached, loop.time()
            elif loop.time() - progress > _STALL_S:
                raise self._stalled()

    def _turn_to(self, partition: TopicPartition) -> None:
        # One assignment for all: a new one takes the client a second. Others are paused, which keeps
        # nothing of theirs in memory.
        consumer = self._consumer
        if partition not in consumer.assignment():
            raise ValueError(f"{partition} was not opened")
        consumer.pause(*(consumer.assignment() - {partition} - consumer.paused()))
        consumer.resume(partition)

    # ---------------------------------------------------------------- both

    def left_out(self, tp: TopicPartition, corrupt: Corrupt) -> None:
        """Say, once, that a corrupt batch is passed over."""
        if (place := (tp, corrupt.end)) not in self.corrupt:
            self._tell(f"WARNING: {corrupt.sentence(tp)}.")
        self.corrupt[place] = min(corrupt.first, self.corrupt.get(place, corrupt.first))

    def keep(self, tp: TopicPartition, stand_ins: list[UnreadableRecord]) -> None:
        """Hand these out in the place of a corrupt batch."""
        self._kept.setdefault(tp, []).extend(stand_ins)

    async def _fetch(self, positions: dict[TopicPartition, int]) -> list[PlacedRecord]:
        """Some records from these offsets on, each partition's in order; moves the offsets on."""
        before = dict(positions)
        found = await self._fetched(positions)
        if self._kept:
            kept, self._kept = self._kept, {}
            for tp, stand_ins in kept.items():
                if tp not in positions:
                    continue
                # Those of a batch that was read again are there twice.
                fresh = {each.offset: each for each in stand_ins if each.offset >= before[tp]}
                found += fresh.values()
                positions[tp] = max([positions[tp], *(offset + 1 for offset in fresh)])
            found.sort(key=_in_order)
        return found

    async def _fetched(self, positions: dict[TopicPartition, int]) -> list[PlacedRecord]:
        consumer = self._consumer
        found: list[PlacedRecord] = []
        try:
            try:
                fetched = await consumer.getmany(
                    *positions, timeout_ms=_POLL_MS, max_records=self._most_records
                )
                for tp, records in fetched.items():
                    found += records
                    positions[tp] = records[-1].offset + 1
            except KafkaError:
                raise
            except Exception:  # noqa: BLE001 - hostile records raise anything
                # As workers do, so that the same records are dead letters.
                async for tp, records, position in step_over(consumer, dict(positions)):
                    found += records
                    positions[tp] = position
        except KafkaError as error:
            raise ReadingFailedError(f"Reading failed: {error}.") from error
        return found

    async def _ask(self, answer: Any) -> Any:
        try:
            async with asyncio.timeout(_STALL_S):
                return await answer
        except (KafkaError, TimeoutError) as error:
            raise ReadingFailedError(
                f"Kafka at {self._settings.brokers} cannot be read ({str(error) or type(error).__name__})."
            ) from error

    def _stalled(self) -> ReadingFailedError:
        return ReadingFailedError(
            f"Kafka at {self._settings.brokers} has sent nothing for {_STALL_S:.0f} s: look at the brokers."
        )


async def _starts(
    consumer: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    start_ms: int | None,
    ends: dict[TopicPartition, int],
) -> dict[TopicPartition, int]:
    if start_ms is None:
        return dict(ends)
    if start_ms <= 0:
        beginnings: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        return beginnings
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, start_ms))
    return {partition: ends[partition] if at is None else at.offset for partition, at in found.items()}


def _in_order(record: PlacedRecord) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _in_time(record: PlacedRecord) -> tuple[int, str, int, int]:
    written_ms = -1 if record.timestamp is None else record.timestamp
    return written_ms, record.topic, record.partition, record.offset
