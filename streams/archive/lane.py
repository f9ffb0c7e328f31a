"""Reads the assigned partitions of one notification topic, and hands the records over as they come."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.log_lines import BOUNDED
from streams.quantities import either, quantity
from streams.records import Record
from streams.retries import Backoff, Retries
from streams.transport.lane import Lane
from streams.transport.step_over import step_over
from streams.upstream.bulk_records import AsParsed, install_bulk_records, passed_over, tell_epochs

log = logging.getLogger(__name__)

_MAX_RECORDS: Final = 500
_WAIT_MS: Final = 1000
_RETRY_S: Final = 0.5
_PARTITION_BYTES: Final = 2**20
_FETCH_BYTES: Final = 4 * 2**20
#: Bytes of the largest record that is archived; a batch may unpack to twice as much.
_LARGEST: Final = 2**29
_AS_PARSED: Final = AsParsed("The archive has a mark in the place of each.")


@dataclass(frozen=True, slots=True)
class Missing:
    """Offsets whose records were deleted before they were read."""

    offsets: range
    why: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a lane hands over of one partition.

    Attributes:
        partition: of the lane's topic.
        records: consecutive, in order; or what stands for those that were deleted.
        position: offset at which reading goes on behind them.
        leader_epoch: of the record before that offset; -1 where it is not known.
    """

    partition: int
    records: Sequence[Record] | Missing
    position: int
    leader_epoch: int


class ArchiveLane(Lane):
    """Fetches partitions of one topic. What cannot be read has an `UnreadableRecord` in its place.

    Args:
        topic: Kafka topic.
        options: of the Kafka client.
        take: gets what was read; returns once there is room for more.
        on_failed: called when fetching has ended by an error.
    """

    def __init__(
        self,
        topic: str,
        options: dict[str, Any],
        take: Callable[[Taken], Awaitable[None]],
        *,
        on_failed: Callable[[BaseException], None],
    ) -> None:
        limits = {"max_partition_fetch_bytes": _PARTITION_BYTES, "fetch_max_bytes": _FETCH_BYTES}
        super().__init__(topic, options | limits | {"value_deserializer": _AS_PARSED}, on_failed)
        self._take = take
        #: Of the topic that is read; another of the same name has another one.
        self.topic_id = ""
        #: Partition -> offset that will be read next, as far as records were handed over.
        self.positions: dict[int, int] = {}
        #: Partition -> leader epoch of the last record that the client has taken apart, where it is known.
        self._epochs: dict[int, int] = {}
        #: Partition -> first offsets of runs of one epoch, and the epochs; the first run has the position.
        self._runs: dict[int, deque[tuple[int, int]]] = {}
        #: Partition, and where reading would have gone on and does go on.
        self._resets: list[tuple[int, int, int]] = []
        self._diverged: set[int] = set()

    async def assign(
        self,
        offsets: Mapping[int, int | None],
        topic_id: str,
        epochs: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Read these partitions, each from its offset; None means from its first record.

        Args:
            offsets: by partition.
            topic_id: nothing of another topic of this name is read.
            epochs: leader epoch of the record before the offset, where it is known.

        Raises:
            KafkaError: it could not connect; may be called again.
        """
        await self.revoke()
        if not offsets:
            return
        install_bulk_records(_LARGEST)
        self.topic_id = topic_id
        self._epochs = dict(epochs)
        self._runs = {partition: deque([(-1, epochs.get(partition, -1))]) for partition in offsets}
        self._resets, self._diverged = [], set()
        consumer = await self._connect(
            offsets,
            topic_id,
            lambda *reset: self._resets.append(reset),
            epochs=self._epochs,
            on_diverged=lambda partition, _: self._diverged.add(partition),
        )
        tell_epochs(consumer, self._epoch_met)
        self.positions = {partition: offset or 0 for partition, offset in offsets.items()}
        self._start(self._fetch(consumer))

    async def revoke(self) -> Mapping[int, range]:
        """Stop reading, and disconnect.

        Returns:
            Partition -> offsets that are there and were not handed over, as far as is known.
        """
        ends = self.ends()
        await self._disconnect()
        positions, self.positions = self.positions, {}
        return {partition: range(positions[partition], end) for partition, end in ends.items()}

    def ends(self) -> dict[int, int]:
        """Partition -> offset after its last record, as of the last fetch."""
        if self._consumer is None:
            return {}
        ends = {each: self._consumer.highwater(TopicPartition(self.topic, each)) for each in self.positions}
        return {partition: end for partition, end in ends.items() if end is not None}

    def behind(self) -> int:
        """Records that are there and were not handed over yet, as far as is known."""
        return sum(max(0, end - self.positions[partition]) for partition, end in self.ends().items())

    async def _fetch(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        retries = Retries(Backoff(_RETRY_S))
        places = {TopicPartition(self.topic, partition): partition for partition in self.positions}
        while True:
            try:
                fetched = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_MAX_RECORDS)
            except KafkaError as error:
                self._warn(error)
                await retries.pause()
                continue
            except Exception as error:  # noqa: BLE001 - hostile records raise anything
                log.warning("A record of %s cannot be taken apart (%r).", self.topic, error)
                await self._step_over(consumer, {tp: self.positions[each] for tp, each in places.items()})
                continue
            again = await self._went_elsewhere(consumer)
            for tp, records in fetched.items():
                if tp.partition not in again:
                    await self._hand_over(tp.partition, records, records[-1].offset + 1)
            for tp, partition in places.items():
                passed = passed_over(consumer, tp)
                if passed is not None and passed[0] == self.positions[partition]:
                    # Markers of transactions are no records: deleted later, they would be taken for some.
                    await self._hand_over(partition, (), passed[1])

    async def _step_over(
        self, consumer: aiokafka.AIOKafkaConsumer, positions: Mapping[TopicPartition, int]
    ) -> None:
        """Hand over records one by one, up to a stand-in for one that cannot be taken apart."""
        try:
            async for tp, records, position in step_over(consumer, positions):
                if tp.partition not in await self._went_elsewhere(consumer):
                    await self._hand_over(tp.partition, records, position)
        except KafkaError as error:
            self._warn(error)

    async def _hand_over(self, partition: int, records: Sequence[Record] | Missing, position: int) -> None:
        runs = self._runs[partition]
        while len(runs) > 1 and runs[1][0] < position:
            runs.popleft()
        await self._take(Taken(partition, records, position, runs[0][1]))
        self.positions[partition] = position

    # ---------------------------------------------------------------- where the log is another than it was

    def _epoch_met(self, partition: int, epoch: int, offset: int) -> None:
        if self._epochs.get(partition) != epoch:
            self._epochs[partition] = epoch
            self._runs[partition].append((offset, epoch))

    async def _went_elsewhere(self, consumer: aiokafka.AIOKafkaConsumer) -> set[int]:
        """Tell of what will not be read, or once more, before what comes behind it is handed over.

        Returns:
            Partitions that are to be read again from their first record: what came of them is out of date.
        """
        resets, self._resets = self._resets, []
        for partition, before, offset in resets:
            if offset > before:
                await self._was_deleted(partition, max(before, self.positions[partition]), offset)
            else:
                self._read_again(partition, offset)
        again = set(self._diverged)
        for partition in again:
            tp = TopicPartition(self.topic, partition)
            self._epochs.pop(partition, None)
            try:
                await consumer.seek_to_beginning(tp)
                offset = await consumer.position(tp)
            except KafkaError as error:
                self._warn(error)  # tried again at the next turn
                continue
            self._read_again(partition, offset)
            self._diverged.discard(partition)
        return again

    async def _was_deleted(self, partition: int, first: int, offset: int) -> None:
        if offset <= first:
            return
        log.error(
            "%s of %s, partition %d, %s archived (offsets %d to %d): give the topic a longer retention.ms, "
            "or run more archivers. The archive has a mark in their place.",
            quantity(offset - first, "record"),
            self.topic,
            partition,
            either(offset - first, "was deleted before it was", "were deleted before they were"),
            first,
            offset - 1,
            extra=BOUNDED,
        )
        missing = Missing(range(first, offset), "deleted before it was archived")
        await self._hand_over(partition, missing, offset)

    def _read_again(self, partition: int, offset: int) -> None:
        log.error(
            "The log of %s, partition %d, has lost its end, and others are there now: it is archived again "
            "from offset %d on. What the archive has from before may be in it twice, or on no broker now.",
            self.topic,
            partition,
            offset,
            extra=BOUNDED,
        )
        self._epochs.pop(partition, None)
        self._runs[partition] = deque([(-1, -1)])
        self.positions[partition] = offset
