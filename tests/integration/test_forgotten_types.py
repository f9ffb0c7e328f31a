"""A burst of junk event types does not hold the places for ever: those of today get theirs, exactly."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from streams.notifications import Priority, encode
from streams.settings import Settings
from tables.reserved_types import OVERFLOW
from tests.admin import PATIENT, create_topics
from tests.integration.reading import PublicCounts, all_committed, counts_at_rest, public_counts
from tests.integration.worker_process import PARTITIONS, Deployment, eventually

pytestmark = pytest.mark.kafka

PLACES = 10
DAY_MS = 86_400_000
JUNK = [f"junk.{number}" for number in range(PLACES)]
REAL = ["real.a", "real.b"]


async def make_topic(settings: Settings, topic: str) -> None:
    """A topic that takes the times of publishers, so that days can be played in seconds."""
    configs = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
    await create_topics(settings.brokers, NewTopic(topic, PARTITIONS, 1, topic_configs=configs))


async def publish(producer: AIOKafkaProducer, topic: str, names: Sequence[str], time_ms: int) -> None:
    for name in names:
        value = encode("p", name, Priority.INFO, {}, time_ms, "1")
        await producer.send_and_wait(topic, value, partition=0, timestamp_ms=time_ms)


async def reach(counts: PublicCounts, number: int) -> None:
    """Wait until so many are counted in all; what a reader sees meanwhile never falls."""
    seen = 0

    async def there() -> bool:
        nonlocal seen
        total = (await counts.refresh()).total()
        assert total >= seen, f"the sum of totals fell from {seen} to {total}"
        seen = total
        return total >= number

    await eventually(f"{number} are counted", there)


async def test_event_types_of_last_week_give_their_places_back(deployment: Deployment) -> None:
    deployment.configure(max_event_types=str(PLACES))
    settings = deployment.settings
    topic = settings.notification_topic(Priority.INFO)
    await make_topic(settings, topic)
    worker = await deployment.worker().start().ready()
    now_ms = int(time.time() * 1000)
    async with (
        AIOKafkaProducer(bootstrap_servers=settings.brokers, **PATIENT) as producer,
        public_counts(settings) as counts,
    ):
        await publish(producer, topic, JUNK * 3, now_ms - 9 * DAY_MS)
        # Too late for a place, and too early for that of another.
        await publish(producer, topic, REAL, now_ms - 2 * DAY_MS - 8 * DAY_MS // 2)
        await reach(counts, 3 * PLACES + 2)
        found = await counts.refresh()
        assert found == {("INFO", name): 3 for name in JUNK} | {("INFO", OVERFLOW): 2}

        await publish(producer, topic, REAL * 2, now_ms)
        worker.kill()  # before, within or after the flush of what was forgotten
        await publish(producer, topic, [*REAL, JUNK[0]], now_ms)
        worker = await worker.start().ready()
        await reach(counts, 3 * PLACES + 2 + 7)
        await eventually("the ends are committed", lambda: all_committed(settings))
        worker.kill()
        worker = await worker.start().ready()
        await publish(producer, topic, [*REAL, JUNK[0]], now_ms)
        await reach(counts, 3 * PLACES + 2 + 10)
        live = await counts.refresh()
    await worker.stop()
    at_rest = (await counts_at_rest(settings)).now()
    for found in (live, at_rest):
        assert found.total() == 3 * PLACES + 2 + 10
        assert [found["INFO", name] for name in REAL] == [4, 4]
        assert found["INFO", JUNK[0]] in {2, 5}, "it came back: before it lost its name, or after"
        assert {name for _, name in found} <= {*REAL, JUNK[0], OVERFLOW}
