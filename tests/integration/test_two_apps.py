"""Two app ids on one cluster: they may share what is read, and not the topic of counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams.settings import EXIT_CONFIG, Settings
from tables.public_rows import app_of, decode_key
from tables.totals import Totals
from tests.admin import PATIENT
from tests.integration.reading import all_committed, public_counts, read_all
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import made_load, writer
from tests.window_counts import counts_in

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def producer_of(settings: Settings) -> AsyncIterator[Any]:
    """A producer that writes what it is told."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, acks="all", **PATIENT)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def test_the_topic_of_another_app_is_refused_and_one_of_its_own_is_exact(
    deployment: Deployment,
) -> None:
    settings = deployment.settings
    first = await deployment.worker("first").start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=5, count=300))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        before = await read_all(settings.brokers, settings.event_counts_topic)
        assert {app_of(record.value) for record in before if record.value is not None} == {settings.app_id}

        other = deployment.worker("other", app_id=f"{settings.app_id}-b").start()
        assert await other.ended() == EXIT_CONFIG
        (said,) = [line for line in other.log().splitlines() if line.startswith("tocsin: ")]
        assert f"{settings.event_counts_topic} holds the counts of the app {settings.app_id}," in said
        assert "TOCSIN_EVENT_COUNTS_TOPIC" in said
        assert "Traceback" not in other.log()
        after = await read_all(settings.brokers, settings.event_counts_topic)
        assert {app_of(record.value) for record in after if record.value is not None} == {settings.app_id}

        # With a topic of its own it reads the same notifications, and both are exact.
        deployment.configure(app_id=f"{settings.app_id}-b", event_counts_topic=f"{settings.app_id}-b.counts")
        theirs = deployment.settings
        second = await deployment.worker("second").start().ready()
        async with public_counts(theirs) as other_counts:
            await out.made(made_load(seed=6, count=200))
            await counts.reach(out.published.counts)
            await other_counts.reach(out.published.counts)
        await first.ready()
        await second.ready()
        await second.stop()
    await first.stop()


async def test_rows_that_another_app_writes_later_are_left_out_said_and_replaced(
    deployment: Deployment,
) -> None:
    """As when two apps have started at the same time on a new topic."""
    settings = deployment.settings
    topic = settings.event_counts_topic
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=5, count=300))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        published = out.published.counts
        newest = {
            (record.partition, record.key): record.value
            for record in await read_all(settings.brokers, topic)
            if record.value is not None
        }
        async with producer_of(settings) as producer:
            for (partition, key), value in newest.items():
                assert settings.app_id.encode() in value
                false = value.replace(settings.app_id.encode(), b"another-app").replace(b":[", b":[9")
                await producer.send_and_wait(topic, false, key=key, partition=partition)

        def says_why() -> bool:
            status, body = worker.get("/readyz")
            return status == 503 and b"The app another-app writes its counts" in body

        await eventually("it is not ready, and says why", says_why)
        (said,) = [line for line in worker.log().splitlines() if "rows of the app another-app" in line]
        assert "ERROR" in said
        assert "TOCSIN_EVENT_COUNTS_TOPIC" in said
        assert worker.get("/livez")[0] == 200
    await worker.stop()

    # Its own rows are published over them at the next start, so that compaction cannot take them.
    await worker.start().ready()

    async def replaced() -> bool:
        totals = Totals(settings.app_id)
        last = {
            (record.partition, record.key): record.value for record in await read_all(settings.brokers, topic)
        }
        for (_, key), value in last.items():
            if value is not None and app_of(value) != settings.app_id:
                return False
            assert decode_key(key)
            totals.apply(key, value)
        found = {(each.priority, each.event_type): each.count for each in counts_in(totals, "total", 0.0)}
        return found == published

    await eventually("its own rows lie over those of the other", replaced)
    await worker.ready()
    await worker.stop()
