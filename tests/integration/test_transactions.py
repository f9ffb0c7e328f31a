"""Notifications of transactions: counted and rung once they are committed, never when they are aborted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from streams.notifications import Priority, encode
from streams.settings import Settings
from tests.admin import PATIENT, apply_topics
from tests.integration.reading import (
    Counts,
    all_committed,
    committed_offsets,
    counts_at_rest,
    difference,
    end_offsets,
    public_counts,
    read_all,
)
from tests.integration.test_verify import verify
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def transactional(settings: Settings, name: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.brokers,
        transactional_id=f"{settings.app_id}-{name}",
        # Longer than a test takes on a busy machine; brokers allow 15 minutes.
        transaction_timeout_ms=600_000,
        **PATIENT,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def publish(producer: AIOKafkaProducer, settings: Settings, event_type: str, number: int) -> None:
    """So many CRITICAL and DEBUG to each partition."""
    for priority in (Priority.CRITICAL, Priority.DEBUG):
        value = encode("p", event_type, priority, {}, 0, "m")
        topic = settings.notification_topic(priority)
        for partition in range(PARTITIONS):
            for _ in range(number):
                await producer.send_and_wait(topic, value, partition=partition)


def of_each(**numbers: int) -> Counts:
    """The counts when so many of each event type lie on each partition of both topics."""
    return Counter(
        {(name, each): PARTITIONS * n for each, n in numbers.items() for name in ("CRITICAL", "DEBUG")}
    )


async def lag(worker: Worker) -> int:
    """Records that the worker says it has not handled."""
    _, body = await asyncio.to_thread(worker.get, "/api/v1/scheduler")
    classes: Any = orjson.loads(body)["classes"]
    return sum(int(each["lag"]["records"]) for each in classes)


async def no_lag(worker: Worker) -> None:
    """Wait until a worker says that it has handled all."""

    async def is_so() -> bool:
        return await lag(worker) == 0

    await eventually("there is no lag", is_so)


async def rung(settings: Settings) -> Counter[str]:
    """How many alerts there are, by event type."""
    records = await read_all(settings.brokers, settings.alert_topic("critical"))
    return Counter(orjson.loads(record.value)["labels"]["alertname"] for record in records)


async def aborted_and_committed(settings: Settings) -> None:
    """Transactions of both ends in each partition, and last one that is aborted."""
    async with transactional(settings, "one") as producer:
        async with producer.transaction():
            await publish(producer, settings, "committed", 3)
        await producer.begin_transaction()
        await publish(producer, settings, "aborted", 2)
        await producer.abort_transaction()
        async with producer.transaction():
            await publish(producer, settings, "committed", 1)
        await producer.begin_transaction()
        await publish(producer, settings, "aborted", 1)
        await producer.abort_transaction()


@pytest.mark.parametrize("running", [True, False])
async def test_aborted_ones_are_neither_counted_nor_rung_and_markers_are_no_lag(
    deployment: Deployment, running: bool
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    worker = deployment.worker()
    if running:
        await worker.start().ready()
    await aborted_and_committed(settings)
    if not running:
        await worker.start().ready()
    expected = of_each(committed=4)
    async with public_counts(settings) as counts:
        await counts.reach(expected)
        await eventually("the markers behind the last record are committed", lambda: all_committed(settings))
        await no_lag(worker)
    code, report = await verify(deployment)
    assert (code, report["records"]) == (0, expected.total()), report
    await worker.stop()
    # Begun again behind markers, and with more to come.
    await worker.start().ready()
    await aborted_and_committed(settings)
    async with public_counts(settings) as counts:
        await counts.reach(of_each(committed=8))
        await eventually("the markers are committed", lambda: all_committed(settings))
        await no_lag(worker)
    await worker.stop()
    at_rest = (await counts_at_rest(settings)).now()
    assert at_rest == of_each(committed=8), difference(at_rest, of_each(committed=8))
    assert await rung(settings) == {"committed": 8 * PARTITIONS}


async def test_partitions_with_nothing_but_what_was_aborted_have_no_lag(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with transactional(settings, "one") as producer:
        await producer.begin_transaction()
        await publish(producer, settings, "aborted", 2)
        await producer.abort_transaction()
    await eventually("the markers are committed", lambda: all_committed(settings))
    await no_lag(worker)
    await worker.stop()
    assert (await counts_at_rest(settings)).now() == Counter()


async def test_an_open_one_is_waited_for(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    topic = settings.notification_topic(Priority.CRITICAL)
    async with transactional(settings, "one") as producer, public_counts(settings) as counts:
        await producer.begin_transaction()
        await publish(producer, settings, "open", 2)
        async with AIOKafkaProducer(bootstrap_servers=settings.brokers, **PATIENT) as other:
            await publish(other, settings, "behind", 1)
        await eventually(
            "it says so", lambda: f"Records of {topic}, partition 0, have waited" in worker.log()
        )
        assert await counts.refresh() == Counter()
        debug = settings.notification_topic(Priority.DEBUG)
        all_of_them = sum((await end_offsets(settings.brokers, topic, debug)).values())

        async def lags() -> bool:
            return await lag(worker) == all_of_them

        await eventually("its lag is all of them", lags)
        await worker.ready()
        await producer.commit_transaction()
        await counts.reach(of_each(open=2, behind=1))
        await eventually("the markers are committed", lambda: all_committed(settings))
    await worker.stop()


async def test_whoever_wants_all_at_once_gets_what_is_aborted_too(deployment: Deployment) -> None:
    """The control: so it was, but for the lag."""
    deployment.configure(isolation_level="read_uncommitted")
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    await aborted_and_committed(settings)
    async with public_counts(settings) as counts:
        await counts.reach(of_each(committed=4, aborted=3))
        await eventually("the markers are committed", lambda: all_committed(settings))
    assert await committed_offsets(settings)
    await worker.stop()
    assert await rung(settings) == {"committed": 4 * PARTITIONS, "aborted": 3 * PARTITIONS}
