"""Publishing raw records to notification topics, and knowing where each of them lies."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from streams.notifications import Priority, encode
from streams.publishing.generator import Made, generate
from streams.settings import Settings
from tests.admin import PATIENT
from tests.integration.reading import Counts
from tests.integration.worker_process import PARTITIONS, eventually

#: topic, partition and offset
Place = tuple[str, int, int]
Headers = Sequence[tuple[str, bytes]]

_BATCH = 100


@dataclass
class Published:
    """What was published: how many by priority and event type, and where the forwarded ones lie."""

    counts: Counts = field(default_factory=Counter)
    forwarded: dict[str, set[Place]] = field(default_factory=dict)

    def add(self, priority: Priority, event_type: str, place: Place) -> None:
        self.counts[priority.value, event_type] += 1
        if priority in {Priority.CRITICAL, Priority.ERROR}:
            self.forwarded.setdefault(priority.value, set()).add(place)

    @property
    def number_forwarded(self) -> int:
        return sum(len(places) for places in self.forwarded.values())


class Writer:
    """A producer that keeps account of what the brokers confirmed."""

    def __init__(self, producer: Any, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings
        self._turn = 0
        #: Of each topic, to which records go in turn.
        self.partitions = PARTITIONS
        self.published = Published()

    async def raw(
        self, topic: str, value: bytes | None, headers: Headers = (), *, key: bytes | None = None
    ) -> Place:
        """Send one record as it is, and return where it lies."""
        (place,) = await self._send(topic, [(key, value, headers)])
        return place

    async def _send(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, Headers]]
    ) -> list[Place]:
        # Unlike send(), this takes a record without key and value.
        batch = self._producer.create_batch()
        number = 0
        for key, value, headers in records:
            assert batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is not None
            number += 1
        self._turn += 1
        partition = self._turn % self.partitions
        while True:
            try:
                future = await self._producer.send_batch(batch, topic, partition=partition)
                break
            except KafkaTimeoutError:
                # aiokafka counts the waiting for earlier batches several times over; nothing was taken.
                continue
        confirmed = await future
        return [(topic, partition, confirmed.offset + index) for index in range(number)]

    async def spread_over(self, partitions: int) -> None:
        """Send to so many partitions of each topic from now on; they are there, as some broker knows."""
        client = self._producer.client

        async def known() -> bool:
            await client.force_metadata_update()
            return all(
                len(client.cluster.partitions_for_topic(self._settings.notification_topic(each)) or ())
                >= partitions
                for each in self._settings.priorities
            )

        await eventually(f"the producer knows {partitions} partitions", known)
        self.partitions = partitions

    async def made(self, notifications: Iterable[Made]) -> None:
        """Publish made notifications as fast as can be, each to the topic of its priority."""
        iterator = iter(notifications)
        while chunk := list(islice(iterator, 10 * _BATCH)):
            by_priority: dict[Priority, list[Made]] = {}
            for made in chunk:
                by_priority.setdefault(made.priority, []).append(made)
            await asyncio.gather(
                *(
                    self._some(priority, group[start : start + _BATCH])
                    for priority, group in by_priority.items()
                    for start in range(0, len(group), _BATCH)
                )
            )

    @asynccontextmanager
    async def steadily(self, load: Iterator[Made], rate: int = 1500) -> AsyncIterator[None]:
        """Publish from ``load``, which is endless, as long as the block runs, ``rate`` a second.

        A worker keeps up with this, so that it is in mid-stream at any time. The first tenth of a second's
        load is published before the block begins, since a block need not let other tasks run. What a busy
        machine holds back is not made up for: a load that is faster than said would only hold it up more.
        """
        # Nobody knows how long the block lasts on a slow machine, so no number is enough for it.
        assert not isinstance(load, islice), "a load with an end need not last as long as the block"
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def publish() -> None:
            await self.made(list(islice(load, rate // 10)))

        async def go_on() -> None:
            due = loop.time()
            while not enough.is_set():
                due = max(due + 0.1, loop.time())
                await asyncio.sleep(due - loop.time())
                await publish()

        await publish()
        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            enough.set()
            await task

    async def goes_on(self, number: int = 1) -> None:
        """Wait until ``number`` more are published; to be used within :meth:`steadily`."""
        until = self.published.counts.total() + number
        await eventually(f"{number} more published", lambda: self.published.counts.total() >= until)

    async def _some(self, priority: Priority, group: list[Made]) -> None:
        topic = self._settings.notification_topic(priority)
        values = [encode_made(made) for made in group]
        places = await self._send(topic, ((None, value, ()) for value in values))
        for made, place in zip(group, places, strict=True):
            self.published.add(priority, made.event_type, place)


def encode_made(made: Made) -> bytes:
    """A made notification of now, in the seed's form."""
    now_ms = int(time.time() * 1000)
    return encode(made.publisher_id, made.event_type, made.priority, made.payload, now_ms, str(uuid.uuid4()))


def made_load(seed: int, count: int | None = None) -> Iterator[Made]:
    """Notifications of all five priorities, ``count`` or endless; the same seed makes the same ones."""
    return generate(seed, count, int(time.time() * 1000))


@asynccontextmanager
async def writer(settings: Settings) -> AsyncIterator[Writer]:
    """A connected writer; the topics must be there."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.brokers,
        acks="all",
        max_request_size=2**22,
        max_batch_size=2**21,
        **PATIENT,
    )
    await producer.start()
    try:
        yield Writer(producer, settings)
    finally:
        await producer.stop()
