"""Publishing a past: notifications with times spread over hours, in their text and in their records.

A bucket follows a notification's own time only near the record's time, so both have to be old.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.notifications.priority import DEFAULT_PRIORITIES, Priority
from tests.benchmarks.cluster import notification_topics

_MINUTE = 60
_BATCH_RECORDS = 1000
_AHEAD = 16


@dataclass(frozen=True, slots=True)
class History:
    """What has happened.

    Attributes:
        hours: how long ago it began; it ends now.
        event_types: how many distinct ones, each always of one priority.
        every_minutes: each event type comes once in this time.
    """

    hours: float = 24.0
    event_types: int = 1000
    every_minutes: int = 1

    @property
    def messages(self) -> int:
        """Notifications in all."""
        return len(self.minutes) * self.event_types

    @property
    def minutes(self) -> range:
        """Minutes before now in which every event type came once."""
        return range(round(self.hours * 60), 0, -self.every_minutes)


def priority_of(event_type: int) -> Priority:
    """Priority of an event type: half of all are DEBUG, the others are even."""
    others = [priority for priority in DEFAULT_PRIORITIES if priority is not Priority.DEBUG]
    return Priority.DEBUG if event_type % 2 else others[event_type // 2 % len(others)]


async def publish(brokers: str, prefix: str, partitions: int, history: History) -> int:
    """Publish it in order of time, each event type on every partition in turn; the number of records."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks=1, linger_ms=0, max_batch_size=2**20)
    await producer.start()
    topics = notification_topics(prefix)
    now = int(time.time()) // _MINUTE * _MINUTE
    open_batches: dict[tuple[str, int], Any] = {}
    waiting: set[asyncio.Future[Any]] = set()
    sent = 0

    async def send(place: tuple[str, int]) -> None:
        batch = open_batches.pop(place)
        future = await producer.send_batch(batch, place[0], partition=place[1])
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        while len(waiting) >= _AHEAD:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    names = [f"compute.instance.operation_{number:04d}.end" for number in range(history.event_types)]
    of_type = [priority_of(number) for number in range(history.event_types)]
    try:
        for turn, minute in enumerate(history.minutes):
            for number, name in enumerate(names):
                # Within the minute too, so that a partition's records are in order of time.
                at = now - minute * _MINUTE + _MINUTE * number / history.event_types
                priority = of_type[number]
                stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
                value = (
                    f'{{"message_id": "{turn:016x}{number:016x}", "publisher_id": "compute.host01", '
                    f'"timestamp": "{stamp}", "priority": "{priority.value}", "event_type": "{name}", '
                    '"payload": {"state": "active"}}'
                ).encode()
                place = topics[priority], (number + turn) % partitions
                batch = open_batches.get(place)
                if batch is None:
                    batch = open_batches[place] = producer.create_batch()
                batch.append(timestamp=int(at * 1000), key=None, value=value)
                sent += 1
                if batch.record_count() >= _BATCH_RECORDS:
                    await send(place)
        for place in list(open_batches):
            await send(place)
        if waiting:
            await asyncio.gather(*waiting)
    finally:
        await producer.stop()
    return sent
