"""Notification logs that lost their end, as after a power loss with one replica: lost 0, twice 0.

Each test ends with the counts of all that was ever read, and one alert for each CRITICAL of it, under an id
that no other has.
"""

from __future__ import annotations

import time
from collections import Counter

import orjson
import pytest

from streams.notifications import Priority
from streams.notifications.encoding import encode
from streams.settings import Settings
from tests.breakable_kafka import BreakableKafka
from tests.cut_logs import cut, end_of
from tests.integration.reading import Counts, all_committed, public_counts, read_all
from tests.integration.test_verify import verify
from tests.integration.worker_process import PARTITIONS, Deployment, eventually
from tests.integration.writing import writer
from tests.long_form import in_the_long_form
from tests.shared_kafka import START_S

pytestmark = pytest.mark.kafka


async def publish(settings: Settings, priority: Priority, event_type: str, number: int) -> None:
    """Publish notifications, one a batch, each to the next partition."""
    async with writer(settings) as out:
        for index in range(number):
            now_ms = int(time.time() * 1000)
            value = encode("host", event_type, priority, {}, now_ms, f"{event_type}{index}")
            await out.raw(settings.notification_topic(priority), value)


async def counted(settings: Settings, expected: Counts) -> None:
    """Wait until as many are counted as expected, of each type exactly, and all is committed."""
    async with public_counts(settings) as counts:
        await counts.reach(expected)
        # Of the bucket rows, too.
        assert counts.now("1h") == expected
    await eventually("all is committed", lambda: all_committed(settings))


async def check_alerts(settings: Settings, expected: Counts) -> None:
    """One alert for each CRITICAL; each id stands for one notification."""
    messages: dict[str, set[str]] = {}
    rung: Counter[str] = Counter()
    for record in await read_all(settings.brokers, settings.alert_topic("CRITICAL")):
        alert = orjson.loads(record.value)
        message = alert["examples"][0]["message_id"]
        found = messages.setdefault(alert["id"], set())
        if message not in found:
            rung[dict(record.headers)["ce_subject"].decode()] += 1
        found.add(message)
    assert all(len(found) == 1 for found in messages.values())
    assert rung == {name: number for (priority, name), number in expected.items() if priority == "CRITICAL"}


def cut_notifications(kafka: BreakableKafka, settings: Settings, kept: int) -> None:
    """Let each log of two priorities end at offset ``kept``."""
    for priority in (Priority.CRITICAL, Priority.WARN):
        topic = settings.notification_topic(priority)
        for number in range(PARTITIONS):
            assert end_of(kafka.data_dir, topic, number) > kept
            cut(kafka.data_dir, topic, number, kept)
            assert end_of(kafka.data_dir, topic, number) == kept


@pytest.mark.parametrize("after", [40, 100], ids=["shorter", "longer"])
@pytest.mark.parametrize("how", ["stopped", *in_the_long_form("running", "asleep")])
async def test_logs_cut(own_kafka: BreakableKafka, own_deployment: Deployment, how: str, after: int) -> None:
    """What comes at offsets counted before is counted and rung, whether the log is then shorter or longer."""
    settings = own_deployment.settings
    expected: Counts = Counter()
    worker = await own_deployment.worker().start().ready()
    for priority in (Priority.CRITICAL, Priority.WARN):
        await publish(settings, priority, "a", 100)
        expected[priority.value, "a"] = 100
    await counted(settings, expected)
    if how == "stopped":
        await worker.stop()
    elif how == "asleep":
        await worker.freeze()
    own_kafka.kill()
    cut_notifications(own_kafka, settings, 12)
    own_kafka.start(timeout=START_S)
    for priority in (Priority.CRITICAL, Priority.WARN):
        await publish(settings, priority, "a", after)
        expected[priority.value, "a"] += after
    if how == "stopped":
        worker.start()
    elif how == "asleep":
        worker.thaw()
    await counted(settings, expected)
    await worker.ready()
    said = [line for line in worker.log().splitlines() if "lost its end" in line]
    assert len(said) == 2 * PARTITIONS, said
    assert all("goes back to offset 12, and 13 records" in line for line in said)
    # Nor does a restart count or ring any of them again.
    worker.kill()
    await worker.start().ready()
    for priority in (Priority.CRITICAL, Priority.WARN):
        await publish(settings, priority, "b", 20)
        expected[priority.value, "b"] = 20
    await counted(settings, expected)
    assert "lost its end" not in worker.log()
    await check_alerts(settings, expected)
    code, report = await verify(own_deployment)
    assert (code, report["differences"]) == (0, []), report
    assert len(report["ended_sources"]) == 2 * PARTITIONS
    await worker.stop()
