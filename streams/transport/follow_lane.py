"""Follows an internal topic in order and without a hole, from what was committed.

Faust's own fetching is no basis for counts that must not be lost: when a rebalance stops the flow it skips
records that it has fetched already, and may go on behind them afterwards. A lane's consumer belongs to one
assignment, begins at what was committed, and delivers nothing behind a record that it could not deliver.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.log_lines import BOUNDED
from streams.records import PlacedRecord
from streams.retries import Backoff, Retries
from streams.transport.lane import Lane
from streams.upstream.bulk_records import install_bulk_records
from streams.upstream.corrupt_batches import Corrupt, LeavesOut

log = logging.getLogger(__name__)

_MAX_RECORDS = 500
_WAIT_MS = 1000
_RETRY_S = 0.5

#: Gets topic, partition and consecutive records; tells whether an agent will get them.
Deliver = Callable[[str, int, Sequence[PlacedRecord]], Awaitable[bool]]


#: Told of topic, partition, and how many records were deleted unread, before any later one comes.
OnMissed = Callable[[str, int, int], None]


class FollowLane(Lane):
    """Fetches the assigned partitions of one internal topic, and delivers them as they come.

    Args:
        topic: Kafka topic.
        options: of the Kafka client.
        deliver: gets the records.
        on_failed: called when fetching has ended by an error.
        on_missed: called when records were deleted before they were read.
    """

    def __init__(
        self,
        topic: str,
        options: dict[str, Any],
        deliver: Deliver,
        *,
        on_failed: Callable[[BaseException], None],
        on_missed: OnMissed = lambda *_: None,
    ) -> None:
        super().__init__(topic, options | {"value_deserializer": LeavesOut(self._left_out)}, on_failed)
        self._deliver = deliver
        self._on_missed = on_missed

    async def assign(self, offsets: Mapping[int, int | None], topic_id: str | None = None) -> None:
        """Follow these partitions, each from its offset; None means from its first record.

        Args:
            offsets: by partition.
            topic_id: nothing of another topic of this name is fetched; None to fetch by name.
        """
        await self.revoke()
        if not offsets:
            return
        install_bulk_records()
        consumer = await self._connect(offsets, topic_id, self._was_reset)
        # Where nothing is committed, reading begins at the first record that is left.
        anew = [TopicPartition(self.topic, number) for number, offset in offsets.items() if offset is None]
        if anew:
            for place, begins in (await consumer.beginning_offsets(anew)).items():
                self._was_reset(place.partition, 0, begins)
        self._start(self._fetch(consumer))

    async def revoke(self) -> None:
        """Stop following, and disconnect."""
        await self._disconnect()

    def _was_reset(self, partition: int, before: int, offset: int) -> None:
        if offset > before:
            self._on_missed(self.topic, partition, offset - before)

    def _left_out(self, tp: TopicPartition, corrupt: Corrupt) -> None:
        log.error("%s. The sources are asked to send all again.", corrupt.sentence(tp), extra=BOUNDED)
        self._on_missed(self.topic, tp.partition, corrupt.end - corrupt.first)

    async def _fetch(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        retries = Retries(Backoff(_RETRY_S))
        while True:
            try:
                fetched = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=_MAX_RECORDS)
            except KafkaError as error:
                log.warning("Fetching %s failed (%r); trying again.", self.topic, error)
                await retries.pause()
                continue
            for tp, records in fetched.items():
                if not await self._deliver(self.topic, tp.partition, records):
                    return  # a rebalance has begun, and the next assignment begins at what was committed
