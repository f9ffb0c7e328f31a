"""Topics that are deleted, made again, or closed to this user while a worker runs: lost 0, twice 0.

Each test ends with the counts of all that ever was in a topic and could be read, and one alert for each
CRITICAL of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.notifications import Priority
from streams.notifications.encoding import encode
from streams.settings import Settings
from tests.integration.reading import Counts, public_counts, read_all
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import Writer, writer

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def admin_of(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.brokers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def delete(admin: AIOKafkaAdminClient, topic: str) -> None:
    """Delete a topic, and wait until the broker has let it go."""
    answer = await admin.delete_topics([topic])
    assert [code for _, code in answer.topic_error_codes] == [0]

    async def gone() -> bool:
        return topic not in await admin.list_topics()

    await eventually(f"{topic} is gone", gone)


async def make(admin: AIOKafkaAdminClient, topic: str, partitions: int = PARTITIONS) -> None:
    """Make a topic; one that was just deleted may take the broker a moment."""

    async def made() -> bool:
        answer = await admin.create_topics(
            [NewTopic(topic, partitions, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})]
        )
        return [code for _, code, *_ in answer.topic_errors] == [0]

    await eventually(f"{topic} is made", made)


async def publish(out: Writer, topic: str, event_type: str, number: int, priority: Priority) -> None:
    """Publish notifications of one type, each to the next partition."""
    for index in range(number):
        message_id = f"{event_type}-{index}"
        value = encode("host", event_type, priority, {}, int(time.time() * 1000), message_id)
        await out.raw(topic, value)


async def alerts(settings: Settings, priority: Priority) -> Counter[str]:
    """Alerts by event type."""
    records = await read_all(settings.brokers, settings.alert_topic(priority.value))
    return Counter(dict(record.headers)["ce_subject"].decode() for record in records)


async def counted(settings: Settings, expected: Counts) -> None:
    """Wait until as many are counted as expected, of each type exactly."""
    async with public_counts(settings) as counts:
        await counts.reach(expected)


async def says(worker: Worker, *words: str) -> None:
    """Wait until the worker is not ready, and says so with these words."""

    def said() -> bool:
        status, body = worker.get("/readyz")
        return status == 503 and all(word in body.decode() for word in words)

    await eventually(f"/readyz says {words}", said)


async def test_a_topic_made_again_under_a_running_worker(deployment: Deployment) -> None:
    """The worst case: as many records as before lie in the new topic before anybody looks."""
    settings = deployment.settings
    topic = settings.notification_topic(Priority.CRITICAL)
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, admin_of(settings) as admin:
        await publish(out, topic, "a", 100, Priority.CRITICAL)
        await counted(settings, Counter({("CRITICAL", "a"): 100}))
        await delete(admin, topic)
        await make(admin, topic)
    async with writer(settings) as out:
        await publish(out, topic, "b", 60, Priority.CRITICAL)
        await publish(out, topic, "c", 60, Priority.CRITICAL)
        expected = Counter({("CRITICAL", "a"): 100, ("CRITICAL", "b"): 60, ("CRITICAL", "c"): 60})
        await counted(settings, expected)
        await worker.ready()
        await publish(out, topic, "d", 20, Priority.CRITICAL)
        expected["CRITICAL", "d"] = 20
        await counted(settings, expected)
    # Nor does a restart count or ring any of them again.
    await worker.stop()
    await worker.start().ready()
    async with writer(settings) as out:
        await publish(out, topic, "e", 20, Priority.CRITICAL)
    expected["CRITICAL", "e"] = 20
    await counted(settings, expected)
    rung = await alerts(settings, Priority.CRITICAL)
    assert rung == {"a": 100, "b": 60, "c": 60, "d": 20, "e": 20}, rung
