"""A load of all five priorities for as long as a run lasts, each record and each acknowledgement recorded."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import aiokafka
from aiokafka.errors import KafkaError

from streams.notifications import Priority, encode
from streams.publishing.generator import Made, generate
from tests.chaos.history import History
from tests.chaos.members import until

_TICK_S = 0.1
_BATCH_BYTES = 2**20
#: Records of a batch, which then always fit.
_BATCH = 500
#: Batches that may wait for their acknowledgement; more are not sent, as a publisher with a bound would do.
_MOST_UNDER_WAY = 300
#: One record in so many is of an event type that occurs in this second only: what is lost of it stays lost,
#: because no later count of the same type can make up for it.
_ONCE = 12

_OF_A_STORM = (Priority.CRITICAL, Priority.ERROR)

#: Header that says what a record must be counted as, whatever becomes of its value: ``id|second|event type``,
#: the last two empty where it belongs into the dead letters.
HEADER = "chaos"


class _Record(NamedTuple):
    identity: str
    event_type: str | None
    value: bytes | None
    header: str


class Hostile(NamedTuple):
    """A value, and what it is to be counted as.

    Attributes:
        value: of the record.
        event_type: None where the record belongs into the dead letters.
        second: that it is counted under; None where that is the broker's.
    """

    value: bytes | None
    event_type: str | None = None
    second: int | None = None


class Load:
    """Publishes notifications, and tells the history.

    Args:
        brokers: bootstrap addresses.
        topics: priority -> notification topic.
        partitions: of each topic.
        history: is told of each batch before it is sent, and when it is acknowledged.
        seed: the same one makes the same notifications.
        rate: notifications a second.
        bad_share: share of those that cannot be read.
    """

    def __init__(
        self,
        brokers: str,
        topics: Mapping[Priority, str],
        partitions: int,
        history: History,
        *,
        seed: int,
        rate: int,
        bad_share: float = 0.01,
    ) -> None:
        self._brokers = brokers
        self._topics = topics
        self._partitions = partitions
        self._history = history
        self._random = random.Random(seed)
        self._made: Iterator[Made] = generate(seed, None, int(time.time() * 1000), bad_share=bad_share)
        self._rate = rate
        self._batches = 0
        self._records = 0
        self._under_way: set[asyncio.Task[bool]] = set()
        self._task: asyncio.Task[None] | None = None
        self._producer: aiokafka.AIOKafkaProducer | None = None
        #: Notifications a second while everything is CRITICAL or ERROR; 0 while nothing of the kind goes on.
        self.storm_rate = 0
        #: Whether some event types occur in one second only.
        self.once = True
        #: Records acknowledged so far.
        self.acknowledged = 0

    async def start(self) -> None:
        """Start publishing."""
        self._producer = self._new_producer()
        await self._producer.start()
        self._task = asyncio.create_task(self._run(), name="load")

    async def stop(self) -> None:
        """Stop publishing, and wait until every batch is acknowledged or given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=60)
        if self._producer is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(10):
                    await self._producer.stop()

    async def spread_over(self, partitions: int) -> None:
        """Publish to so many partitions of each topic from now on, which some broker knows of."""
        assert self._producer is not None, "the load was not started"
        client = self._producer.client

        async def known() -> bool:
            await client.force_metadata_update()
            found = (client.cluster.partitions_for_topic(topic) or () for topic in self._topics.values())
            return all(len(each) >= partitions for each in found)

        await until(f"the load knows {partitions} partitions", known, 30)
        self._partitions = partitions

    async def reconnect(self, brokers: str) -> None:
        """Publish to other addresses; what was not acknowledged at the old ones is given up."""
        self._brokers = brokers
        fresh, gone = self._new_producer(), self._producer
        await fresh.start()
        self._producer = fresh
        assert gone is not None, "the load was not started"
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(10):
                await gone.stop()

    def _new_producer(self) -> aiokafka.AIOKafkaProducer:
        # No idempotence: a publisher of another kind may send twice, and then there are two records.
        return aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=10_000,
        )

    async def _run(self) -> None:
        last, due = time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            due += (now - last) * (self.storm_rate or self._rate)
            last = now
            if due >= 1 and len(self._under_way) < _MOST_UNDER_WAY:
                self._send(min(int(due), self.storm_rate or self._rate))
            # What was held back is not made up for: the load stays what it is.
            due %= 1
            await asyncio.sleep(_TICK_S)

    def _send(self, number: int) -> None:
        second = int(time.time())
        batches: dict[tuple[str, int], list[_Record]] = {}
        for _ in range(number):
            made = next(self._made)
            if self.storm_rate and made.priority not in _OF_A_STORM:
                made = made._replace(priority=_OF_A_STORM[self._records % 2])
            if self.once and (self._records + 1) % _ONCE == 0:
                made = made._replace(event_type=f"once.{second}")
            partition = self._random.randrange(self._partitions)
            batches.setdefault((self._topics[made.priority], partition), []).append(self._record(made))
        for (topic, partition), records in batches.items():
            for start in range(0, len(records), _BATCH):
                some = records[start : start + _BATCH]
                task = asyncio.create_task(self._publish(topic, partition, some))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    def _record(self, made: Made) -> _Record:
        self._records += 1
        identity = f"{self._records}"
        if made.raw is not None:
            return _Record(identity, None, made.raw, f"{identity}||")
        now_ms = int(time.time() * 1000)
        value = encode(made.publisher_id, made.event_type, made.priority, made.payload, now_ms, identity)
        return _Record(identity, made.event_type, value, f"{identity}|{now_ms // 1000}|{made.event_type}")

    async def publish(self, priority: Priority, event_type: str, number: int, partition: int = 0) -> None:
        """Publish some notifications of one event type now."""
        made = Made(priority, "chaos.host", event_type, {}, 0)
        await self._publish(self._topics[priority], partition, [self._record(made) for _ in range(number)])

    async def publish_as(
        self,
        priority: Priority,
        partition: int,
        values: Iterable[Hostile],
        producer: aiokafka.AIOKafkaProducer | None = None,
    ) -> bool:
        """Publish values as they are, in one batch; returns whether the brokers took it.

        Args:
            priority: of the topic.
            partition: of the topic.
            values: and what each is to be counted as.
            producer: for batches that the load's own does not make.
        """
        records = []
        for value, event_type, second in values:
            self._records += 1
            identity = f"{self._records}"
            header = f"{identity}|{'' if second is None else second}|{event_type or ''}"
            records.append(_Record(identity, event_type, value, header))
        return await self._publish(self._topics[priority], partition, records, producer)

    async def _publish(
        self,
        topic: str,
        partition: int,
        records: list[_Record],
        producer: aiokafka.AIOKafkaProducer | None = None,
    ) -> bool:
        producer = producer or self._producer
        assert producer is not None, "the load was not started"
        self._batches += 1
        number = self._batches
        batch = producer.create_batch()
        for record in records:
            headers = [(HEADER, record.header.encode())]
            assert batch.append(timestamp=None, key=None, value=record.value, headers=headers) is not None
        batch.close()
        named = [[record.identity, record.event_type] for record in records]
        self._history.write("publish", n=number, t=topic, p=partition, e=named)
        try:
            confirmed = await (await producer.send_batch(batch, topic, partition=partition))
        except KafkaError as error:
            self._history.write("refused", n=number, why=repr(error)[:200])
            return False
        self._history.write("ack", n=number, o=confirmed.offset)
        self.acknowledged += len(records)
        return True
