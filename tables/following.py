"""What the readers of public topics share: a consumer without a group, and up to when it has read."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NoReturn

import aiokafka
from aiokafka import TopicPartition

from streams.cancellation import end
from streams.retries import Backoff, Retries
from streams.upstream.bulk_records import install_bulk_records
from streams.upstream.connections import disconnect
from streams.upstream.corrupt_batches import Corrupt, LeavesOut
from streams.upstream.fetch_progress import FetchProgress
from streams.upstream.lenient_records import install_lenient_records
from streams.upstream.refused_fetches import rest_after_refusals

#: Seconds after which a partition that was not seen to its end is one that is missing. A broker answers at
#: least once a second.
SILENT_S = 10.0


def follower_options(
    options: dict[str, Any], left_out: Callable[[TopicPartition, Corrupt], None], **more: Any
) -> dict[str, Any]:
    """Options of the consumer.

    Args:
        options: of the aiokafka client.
        left_out: told of records that are corrupt on the broker's disk.
        more: options that are others than usual.
    """
    usual = {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        # The broker answers at once when something has come.
        "fetch_max_wait_ms": 1000,
        # After which the client looks at each partition although nothing has happened to any.
        "consumer_timeout_ms": 5000,
        "value_deserializer": LeavesOut(left_out),
    }
    return options | usual | more


async def start_follower(consumer: aiokafka.AIOKafkaConsumer) -> None:
    """Start a consumer that was made with these options."""
    install_lenient_records()
    install_bulk_records()
    await consumer.start()
    rest_after_refusals(consumer)


class SeenEnds:
    """When the partitions of a topic were seen to their ends, and so up to when all is taken in.

    Args:
        clock: the time in seconds since 1970.
        steady: seconds, only for differences.

    Attributes:
        partitions: how many the topic has; 0 while that is not known.
        seen: partition -> when it was seen to its end, by ``steady``.
    """

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._clock = clock
        self.steady = steady
        self.partitions = 0
        self.seen: dict[int, float] = {}

    def watch(self, consumer: aiokafka.AIOKafkaConsumer) -> FetchProgress:
        """Watch the fetches of a consumer that has started."""
        return FetchProgress(consumer, self.seen, self.steady)

    @property
    def seen_at(self) -> float:
        """When the last of the ends was seen, by ``steady``; 0 before all were."""
        if not self.partitions or len(self.seen) < self.partitions:
            return 0.0
        return min(self.seen.values())

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which all that was published is taken in; 0 before all was.

        It stands still while a broker does not answer, and while this process is behind.
        """
        seen_at = self.seen_at
        return self._clock() - (self.steady() - seen_at) if seen_at else 0.0

    @property
    def missing(self) -> set[int]:
        """Partitions that were not seen to their end in the last 10 s, or never."""
        since = self.steady() - SILENT_S
        return {number for number in range(self.partitions) if self.seen.get(number, since) <= since}

    @property
    def complete(self) -> bool:
        """Whether all that was published is taken in, but for that of the last seconds."""
        return self.partitions > 0 and not self.missing


class Follower(ABC):
    """Reads in the background with one consumer after another, until it is stopped.

    Args:
        options: of the consumer, from ``follower_options``.
        backoff: pauses before reading again; they begin anew when it went well for longer than the longest.
        steady: seconds, only for differences.
    """

    def __init__(self, options: dict[str, Any], backoff: Backoff, steady: Callable[[], float]) -> None:
        self._options = options
        self._backoff = backoff
        self._steady = steady
        self._task: asyncio.Task[None] | None = None
        self._consumer: aiokafka.AIOKafkaConsumer | None = None

    def _begin(self, name: str) -> None:
        self._task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        """Stop reading."""
        await end(self._task)
        await self._disconnect()

    async def _run(self) -> None:
        retries = Retries(self._backoff)
        while True:
            began = self._steady()
            try:
                await self._read(await self._connected())
            except Exception as error:  # noqa: BLE001 - without it what is shown would stand still, silently
                begins_anew = self._ended(error)
            await self._disconnect()
            if begins_anew or self._steady() - began > self._backoff.most_s:
                retries = Retries(self._backoff)
            await retries.pause()

    async def _connected(self) -> aiokafka.AIOKafkaConsumer:
        consumer = self._consumer = aiokafka.AIOKafkaConsumer(**self._options)
        await start_follower(consumer)
        return consumer

    async def _disconnect(self) -> None:
        # Kept until it is disconnected: a call beside this one, or after one that was cancelled, waits too.
        consumer = self._consumer
        if consumer is not None:
            await disconnect(consumer)
            if self._consumer is consumer:
                self._consumer = None

    @abstractmethod
    async def _read(self, consumer: aiokafka.AIOKafkaConsumer) -> NoReturn:
        """Read with a consumer that has started, until that fails."""

    @abstractmethod
    def _ended(self, error: Exception) -> bool:
        """Say why reading has ended; return whether the pauses begin with the first one again."""
