"""Very many event types that are as long as they may be: no record becomes too large, no worker ends."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from aiokafka import AIOKafkaProducer

from streams.notifications import Priority, encode
from tables.reserved_types import OVERFLOW
from tables.rows import LARGEST_BYTES
from tests.admin import PATIENT
from tests.integration.reading import PublicCounts, all_committed, counts_at_rest, public_counts, read_all
from tests.integration.worker_process import Deployment, eventually
from tests.integration.writing import writer

pytestmark = pytest.mark.kafka

NUMBER = 10_000
_DIGITS = {ord(str(digit)): chr(0x1F400 + digit) for digit in range(10)}
#: 255 characters of four bytes each.
NAMES = [f"{number:0255d}".translate(_DIGITS) for number in range(NUMBER)]


async def publish(producer: AIOKafkaProducer, topic: str, names: list[str]) -> None:
    """Send a notification of each event type to one partition."""
    sent = [
        await producer.send(topic, encode("p", name, Priority.DEBUG, {}, 0, str(number)), partition=0)
        for number, name in enumerate(names)
    ]
    await asyncio.gather(*sent)


async def debug_total(counts: PublicCounts) -> int:
    """Notifications of DEBUG that are counted by now."""
    found = await counts.refresh()
    return sum(count for (priority, _), count in found.items() if priority == "DEBUG")


async def reach(counts: PublicCounts, number: int) -> None:
    """Wait until so many notifications of DEBUG are counted."""

    async def there() -> bool:
        return await debug_total(counts) >= number

    await eventually(f"{number} of DEBUG are counted", there)


async def test_event_types_of_11_mb_do_not_stop_a_worker(deployment: Deployment) -> None:
    settings = deployment.settings
    topic = settings.notification_topic(Priority.DEBUG)
    worker = await deployment.worker().start().ready()
    async with (
        AIOKafkaProducer(bootstrap_servers=settings.brokers, linger_ms=5, **PATIENT) as producer,
        public_counts(settings) as counts,
        writer(settings) as out,
    ):
        await publish(producer, topic, NAMES)
        await reach(counts, NUMBER)
        # CRITICAL is served, before and after a restart.
        await out.raw(
            settings.notification_topic(Priority.CRITICAL),
            encode("p", "on.fire", Priority.CRITICAL, {}, 0, "1"),
        )
        await eventually("the ends are committed", lambda: all_committed(settings))
        assert len(await read_all(settings.brokers, settings.alert_topic("critical"))) == 1
        assert worker.runs
        worker.kill()
        worker = await worker.start().ready()
        await publish(producer, topic, NAMES[::-1][:100])
        await publish(producer, topic, NAMES[:100])
        await out.raw(
            settings.notification_topic(Priority.CRITICAL),
            encode("p", "on.fire", Priority.CRITICAL, {}, 0, "2"),
        )
        await reach(counts, NUMBER + 200)
        await eventually("the ends are committed again", lambda: all_committed(settings))
    await worker.stop()
    at_rest = (await counts_at_rest(settings)).now()
    assert at_rest["CRITICAL", "on.fire"] == 2
    debug = Counter({name: count for (priority, name), count in at_rest.items() if priority == "DEBUG"})
    assert debug.total() == NUMBER + 200
    by_name = NUMBER * 400 // (255 * 4 + 2 + 64)
    assert len(debug) == by_name + 1
    assert debug == Counter(NAMES[:by_name] + NAMES[:100]) + Counter({OVERFLOW: NUMBER - by_name + 100})
    for name in ("partials", "partial-counts-changelog", "combined-counts-changelog"):
        written = await read_all(settings.brokers, settings.internal_topic(name))
        assert max(len(record.value or b"") for record in written) <= LARGEST_BYTES
