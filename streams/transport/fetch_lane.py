"""Fetch lanes: one connection per priority, so that no class can hold up the fetches of another.

One shared consumer couples the classes: it has one fetch in flight per broker, and it fetches from no
partition of a broker while one of them has records that were not taken. A lane belongs to no consumer
group; it follows the assignment that the group gave this worker, and the group member commits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.log_lines import BOUNDED
from streams.notifications.priority import Priority
from streams.quantities import either, quantity
from streams.records import Record, UnreadableRecord
from streams.retries import Backoff, Retries
from streams.scheduling.scheduler import Scheduler
from streams.transport.lane import FETCH_WAIT_MS, Lane
from streams.transport.step_over import step_over
from streams.upstream.arrivals import has_arrivals
from streams.upstream.bulk_records import (
    AS_PARSED,
    held_by,
    install_bulk_records,
    passed_over,
    size_of,
    tell_epochs,
    wait_at_broker,
)

log = logging.getLogger(__name__)

#: Records taken over at once: decoding a fetch response blocks the event loop for about a millisecond.
_MAX_RECORDS = 500
#: Partitions whose records fit into one answer of a broker. On its way through the client it is there several
#: times over, so that more would cost memory, and hold the event loop for longer, and make nothing faster.
_PARTITIONS_A_FETCH = 4
#: Milliseconds to wait for records when every partition is asked for.
_IDLE_WAIT_MS = 5000
#: Milliseconds to wait when some partition has no room, so that it is asked for soon after it has.
_BUSY_WAIT_MS = 10
#: Milliseconds that a broker may wait for records of some partitions while others are paused: it answers one
#: request at a time, so that a partition which is resumed waits for the answer.
_PAUSED_WAIT_MS = 20
_RETRY_S = 0.5

#: Partition, leader epoch, and offset of its first record.
MetEpoch = tuple[int, int, int]
OnEpochs = Callable[[Sequence[MetEpoch]], Awaitable[Collection[int]]]


class FetchLane(Lane):
    """Fetches the assigned partitions of one priority into the scheduler's buffer.

    Args:
        priority: of the topic.
        topic: Kafka topic.
        scheduler: buffers the records.
        options: of the Kafka client.
        fetch_bytes: asked for per partition and fetch, as they lie on the broker.
        largest: bytes of the largest record that is wanted.
        isolation_level: whether records of transactions are read before they are committed.
        on_records: called when records have come.
        on_failed: called when fetching has ended by an error.
        on_never_read: called with partition, offset, and how many records before that offset were deleted
            before they were read.
        on_epochs: awaited with the leader epochs that were met, before a record of theirs is taken over;
            returns partitions of which other records were read before.
        on_diverged: called with a partition, once, when its log has lost its end, or has other records
            than those that were read; nothing more of it is fetched before the next assignment.
    """

    def __init__(
        self,
        priority: Priority,
        topic: str,
        scheduler: Scheduler[Priority, int, Record],
        options: dict[str, Any],
        *,
        fetch_bytes: int,
        largest: int = 0,
        isolation_level: str = "read_uncommitted",
        on_records: Callable[[], None],
        on_failed: Callable[[BaseException], None],
        on_never_read: Callable[[int, int, int], None] = lambda *_: None,
        on_epochs: OnEpochs | None = None,
        on_diverged: Callable[[int], None] = lambda _: None,
    ) -> None:
        limits = {
            "max_partition_fetch_bytes": fetch_bytes,
            "fetch_max_bytes": _PARTITIONS_A_FETCH * fetch_bytes,
            "isolation_level": isolation_level,
        }
        super().__init__(topic, options | limits | {"value_deserializer": AS_PARSED}, on_failed)
        self.priority = priority
        self._largest = largest
        self._fetch_bytes = fetch_bytes
        self._scheduler = scheduler
        self._on_records = on_records
        self._on_never_read = on_never_read
        self._on_epochs = on_epochs
        self._on_diverged = on_diverged
        #: Partition -> leader epoch of the last record that was handed out, where it is known.
        self._epochs: dict[int, int] = {}
        self._met: list[MetEpoch] = []
        self._diverged: set[int] = set()
        self._room = asyncio.Event()
        #: Partition -> offset that will be read next, as far as records were taken over.
        self.positions: dict[int, int] = {}
        self._started_at: dict[int, int] = {}

    async def assign(
        self,
        offsets: Mapping[int, int | None],
        topic_id: str | None = None,
        epochs: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Fetch these partitions, each from its offset; None means from its first record.

        Args:
            offsets: by partition.
            topic_id: nothing of another topic of this name is fetched; None to fetch by name.
            epochs: leader epoch of the record before the offset, where it is known.
        """
        await self.revoke()
        if not offsets:
            return
        install_bulk_records(self._largest)
        self._epochs, self._met, self._diverged = dict(epochs), [], set()
        consumer = await self._connect(
            offsets,
            topic_id,
            self._was_reset,
            epochs=self._epochs,
            on_diverged=lambda partition, _: self._parts(partition),
        )
        tell_epochs(consumer, self._epoch_met)
        self._scheduler.assign(self.priority, offsets)
        self.positions = {partition: offset or 0 for partition, offset in offsets.items()}
        self._started_at = dict(self.positions)
        self._room.set()
        self._start(self._fetch(consumer))

    async def revoke(self) -> None:
        """Stop fetching, disconnect, and forget what is buffered."""
        await self._disconnect()
        self._scheduler.revoke(self.priority, list(self.positions))
        self.positions = {}

    def has_room(self) -> None:
        """Tell the lane that the buffer may have room again."""
        self._room.set()

    def has_arrivals(self) -> bool:
        """Whether a broker has sent something that is not in the buffer yet: records, most often."""
        return self._consumer is not None and has_arrivals(self._consumer)

    def end_offset(self, partition: int) -> int | None:
        """Offset after the last record of a partition, as of its last fetch; None before the first."""
        if self._consumer is None or partition not in self.positions:
            return None
        end: int | None = self._consumer.highwater(TopicPartition(self.topic, partition))
        return end

    def with_markers(self) -> list[int]:
        """Partitions in which transactions have left something behind the last record that was taken over.

        Left out are those with an epoch that was met and is not noted yet. An offset behind its first record
        would be committed as one of the epoch before, which ends sooner: read again, the partition would seem
        to have lost its end.
        """
        consumer = self._consumer
        if consumer is None:
            return []
        met = {partition for partition, *_ in self._met}
        return [
            partition
            for partition, position in self.positions.items()
            if partition not in met
            and (passed := passed_over(consumer, TopicPartition(self.topic, partition))) is not None
            and passed[0] == position
        ]

    def past_markers(self, partition: int, offset: int) -> int:
        """The offset behind what lies at ``offset`` and is not to be read: markers, and what was aborted."""
        if self._consumer is None:
            return offset
        passed = passed_over(self._consumer, TopicPartition(self.topic, partition))
        return offset if passed is None or passed[0] != offset else passed[1]

    def started_at(self, partition: int) -> int | None:
        """Where reading began, as long as no record was taken over since."""
        started = self._started_at.get(partition)
        return started if started == self.positions.get(partition) else None

    async def _fetch(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        retries = Retries(Backoff(_RETRY_S))
        scheduler, priority, topic = self._scheduler, self.priority, self.topic
        partitions = {partition: TopicPartition(topic, partition) for partition in self.positions}
        every = fetching = set(partitions)
        most_held = _PARTITIONS_A_FETCH * self._fetch_bytes
        while True:
            wanted = scheduler.wanted(priority)
            # Left alone, aiokafka fetches each partition of which it holds nothing, whether there is room for
            # more or not: what it holds then grows with the number of partitions and the size of records.
            may_fetch = every if wanted and held_by(consumer) < most_held else set(wanted)
            if fetching != may_fetch:
                consumer.pause(*(partitions[p] for p in fetching - may_fetch))
                consumer.resume(*(partitions[p] for p in may_fetch - fetching))
                fetching = may_fetch
                wait_at_broker(consumer, FETCH_WAIT_MS if fetching == every else _PAUSED_WAIT_MS)
            if not wanted:
                self._room.clear()
                await self._room.wait()
                continue
            wait_ms = _IDLE_WAIT_MS if len(wanted) == len(partitions) else _BUSY_WAIT_MS
            try:
                fetched = await consumer.getmany(
                    *(partitions[p] for p in wanted), timeout_ms=wait_ms, max_records=_MAX_RECORDS
                )
            except KafkaError as error:
                self._warn(error)
                await retries.pause()
                continue
            except Exception as error:  # noqa: BLE001 - hostile records raise anything
                log.warning("A record of %s cannot be taken apart (%r).", topic, error)
                await self._step_over(consumer, [partitions[p] for p in wanted])
                continue
            if self._met:
                await self._note_epochs()
            for tp, records in fetched.items():
                scheduler.add(priority, tp.partition, records, size_of(records))
                self.positions[tp.partition] = records[-1].offset + 1
            if fetched:
                self._on_records()
                await asyncio.sleep(0)

    async def _step_over(self, consumer: aiokafka.AIOKafkaConsumer, suspects: list[TopicPartition]) -> None:
        """Take over records one by one, up to a stand-in for one that cannot be taken apart."""
        positions = {tp: self.positions[tp.partition] for tp in suspects}
        try:
            async for tp, records, position in step_over(consumer, positions):
                nbytes = 0 if isinstance(records[0], UnreadableRecord) else size_of(records)
                if self._met:
                    await self._note_epochs()
                self._take_over(tp.partition, records, nbytes, position)
        except KafkaError as error:
            self._warn(error)

    def _take_over(self, partition: int, records: Sequence[Record], nbytes: int, position: int) -> None:
        self._scheduler.add(self.priority, partition, records, nbytes)
        self.positions[partition] = position
        self._on_records()

    def _epoch_met(self, partition: int, epoch: int, offset: int) -> None:
        if self._epochs.get(partition) != epoch:
            self._epochs[partition] = epoch
            self._met.append((partition, epoch, offset))

    async def _note_epochs(self) -> None:
        # Kept until they are noted, see `with_markers`; a later assignment has a list of its own.
        met, noted = self._met, list(self._met)
        parted = () if self._on_epochs is None else await self._on_epochs(noted)
        del met[: len(noted)]
        if parted:
            for partition in parted:
                self._parts(partition)
            await asyncio.Event().wait()  # for the end of this assignment

    def _parts(self, partition: int) -> None:
        """What was read of a partition and what the broker has are not the same any more."""
        if partition not in self._diverged:
            self._diverged.add(partition)
            self._on_diverged(partition)

    def _was_reset(self, partition: int, before: int, offset: int) -> None:
        if offset <= before:
            self._parts(partition)
            return
        log.warning(
            "%s of %s, partition %d, %s read: give the topic a longer retention.ms, or its priority more "
            "workers.",
            quantity(offset - before, "record"),
            self.topic,
            partition,
            either(offset - before, "was deleted before it was", "were deleted before they were"),
            extra=BOUNDED,  # one a partition, each with a number of its own
        )
        self.positions[partition] = max(offset, self.positions.get(partition, 0))
        self._on_never_read(partition, offset, offset - before)
