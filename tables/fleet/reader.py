"""Reads the status topic into memory, on every worker and in ``tocsin web``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, NoReturn

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from streams.log_lines import LimitedLog
from streams.records import PlacedRecord
from streams.retries import Backoff
from streams.upstream.corrupt_batches import Corrupt
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, fetch_topics
from tables.fleet.memory import Fleet, FleetMemory
from tables.fleet.state import LeftOutError, WorkerState
from tables.following import Follower, SeenEnds, follower_options

log = logging.getLogger(__name__)

#: The longest is what pages may be late by after an outage of the brokers.
_RETRY: Final = Backoff(1.0, factor=2, most_s=5.0)
#: Seconds between looks at whether the topic is there and is the same one.
_LOOK_INTERVAL_S: Final = 5.0
#: Records taken at a time: one takes about a twentieth of a millisecond.
_MOST_RECORDS: Final = 10
#: Bytes asked for per partition and fetch.
_FETCH_BYTES: Final = 256 * 2**10


class _ChangedError(Exception):
    """The topic is not what it was, or not there: it is to be looked at anew."""


class FleetReader(Follower):
    """Follows the status topic without a consumer group. Implements ``FleetSource`` of the web views.

    Args:
        topic: the status topic.
        app: ``TOCSIN_APP_ID``.
        options: of the aiokafka client.
        clock: the time in seconds since 1970.
        steady: seconds, only for differences.
    """

    def __init__(
        self,
        topic: str,
        app: str,
        options: dict[str, Any],
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        usual = follower_options(
            options, self._left_out, max_partition_fetch_bytes=_FETCH_BYTES, fetch_max_bytes=_FETCH_BYTES
        )
        super().__init__(usual, _RETRY, steady)
        self._topic = topic
        self._clock = clock
        self._ends = SeenEnds(clock, steady)
        self._memory = FleetMemory(app)
        self._log = LimitedLog(__name__, interval_s=600.0)
        #: Why not all workers can be shown, one sentence; None while they can.
        self.trouble: str | None = None

    # ---------------------------------------------------------------- FleetSource

    @property
    def complete(self) -> bool:
        """Whether the topic was read to its end within the last seconds."""
        return self._ends.complete

    @property
    def missing(self) -> set[int]:
        """Partitions of which that is not so."""
        return self._ends.missing

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which the topic was read; 0 before it was."""
        return self._ends.as_of

    def moment(self) -> object:
        """Something that is equal for as long as all workers are as they were."""
        return self._memory.moment(*self._read_until())

    def looking(self) -> Generator[None, None, Fleet]:
        """All workers, as of then, found in short steps."""
        return self._memory.looking(*self._read_until())

    @property
    def silent_s(self) -> float:
        """Seconds for which no worker was heard from, as of then; infinite where there is no row of any."""
        return self._memory.silent_s(*self._read_until())

    @property
    def combiners_silent_s(self) -> float:
        """Seconds for which no worker was heard from that combines counts, likewise."""
        return self._memory.combiners_silent_s(*self._read_until())

    def _read_until(self) -> tuple[float, float]:
        """Up to when the topic was read, by the steady clock and by the reader's own."""
        # While brokers are away nobody can be heard, which says nothing of the workers.
        seen_at = self._ends.seen_at or self._steady()
        return seen_at, self._clock() - (self._steady() - seen_at)

    # ---------------------------------------------------------------- the worker that has it

    def own(self, worker: str, state: WorkerState) -> None:
        """Take the state of the worker that has this reader, which shows it whatever the topic does."""
        self._memory.own(worker, state)

    # ---------------------------------------------------------------- reading

    def start(self) -> None:
        """Start reading in the background."""
        self._begin("fleet-reader")

    def _ended(self, error: Exception) -> bool:
        if isinstance(error, _ChangedError):
            self._say(str(error))
        elif isinstance(error, TopicAuthorizationFailedError):
            self._say(self._denied())
        else:
            self._log.warning("Reading %s failed (%r); trying again.", self._topic, error)
        return False

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning("%s", trouble)
        self.trouble = trouble or None

    def _denied(self) -> str:
        return f"The states of the workers cannot be read: grant Read on the topic {self._topic}."

    async def _layout(self, consumer: aiokafka.AIOKafkaConsumer) -> tuple[str, int] | None:
        """Id and number of partitions of the topic; None while the brokers say nothing of it.

        Raises:
            _ChangedError: it is not there, or may not be read.
        """
        topic = (await fetch_topics(consumer, [self._topic]))[self._topic]
        if topic.error == UNKNOWN_TOPIC:
            raise _ChangedError(
                f"There is no topic {self._topic}, so workers do not know of each other: make it with "
                "`tocsin topics apply`; counts and alerts do not need it."
            )
        if topic.error == NOT_AUTHORISED or (topic.error is None and not topic.may_read):
            raise _ChangedError(self._denied())
        return None if topic.error is not None else (topic.topic_id, topic.partitions)

    async def _read(self, consumer: aiokafka.AIOKafkaConsumer) -> NoReturn:
        layout = await self._layout(consumer)
        if layout is None:
            raise _ChangedError("")
        self._ends.partitions, self._ends.seen = layout[1], {}
        places = [TopicPartition(self._topic, number) for number in range(layout[1])]
        consumer.assign(places)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        progress = self._ends.watch(consumer)
        self.trouble = None
        look_at = self._steady() + _LOOK_INTERVAL_S
        while True:
            fetched = await consumer.getmany(*places, timeout_ms=1000, max_records=_MOST_RECORDS)
            for tp, records in fetched.items():
                self._take(records, ends[tp])
                progress.taken(tp.partition, records[-1].offset + 1)
            if self._steady() > look_at:
                look_at = self._steady() + _LOOK_INTERVAL_S
                if await self._layout(consumer) not in (None, layout):
                    raise _ChangedError("")
            await asyncio.sleep(0)

    def _take(self, records: Sequence[PlacedRecord], known_end: int) -> None:
        # Of several rows of a worker in one answer, only the last one is shown.
        newest = {record.key: record.offset for record in records}
        now = self._steady()
        for record in records:
            if newest[record.key] != record.offset:
                continue
            try:
                self._memory.take(
                    record.key,
                    record.value,
                    (record.timestamp or 0) / 1000,
                    now,
                    live=record.offset >= known_end,
                )
            except LeftOutError as error:
                self._log.warning(
                    "Left out %s/%d/%d: %s", self._topic, record.partition, record.offset, error
                )

    def _left_out(self, tp: TopicPartition, corrupt: Corrupt) -> None:
        self._log.warning("%s. The states of workers that lay there are left out.", corrupt.sentence(tp))
