"""Topics that are deleted, made again, or closed to this user while a worker runs: lost 0, twice 0.

Each test ends with the counts of all that ever was in a topic and could be read, and one alert for each
CRITICAL of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka.admin import (
    AclOperation,
    AclPermissionType,
)

from streams.notifications import Priority
from streams.notifications.encoding import encode
from streams.settings import Settings
from tables.reserved_types import DEAD_LETTERS
from tests.admin import admin_of, apply_topics
from tests.configured_kafka import AUTHORIZER, configured_kafka
from tests.integration.acls import add_rules, remove_rules, rule
from tests.integration.reading import Counts, all_committed, public_counts, read_all
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import Writer, writer
from tests.long_form import in_the_long_form
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def strict_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that asks who may do what, and creates a topic for whoever asks about it."""
    properties = AUTHORIZER | {"auto.create.topics.enable": "true"}
    with configured_kafka(tmp_path_factory.mktemp("strict") / "data", lambda _: properties) as kafka:
        yield kafka


@pytest.fixture
def strict(strict_kafka: LocalKafka, unique: str, tmp_path: Path) -> Iterator[Deployment]:
    """A deployment on that broker, whose workers are told not to create topics."""
    made = Deployment(strict_kafka.bootstrap, unique, tmp_path)
    made.configure(create_topics="false")
    yield made
    for worker in made.workers:
        worker.cleanup()
        print(f"---------------- end of the log of {worker.name}\n{worker.tail()}")


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


async def publish(
    out: Writer, topic: str, event_type: str, number: int, priority: Priority, size: int = 0
) -> None:
    """Publish notifications of one type, each to the next partition, with so many bytes to carry."""
    payload = {"text": "x" * size} if size else {}
    for index in range(number):
        message_id = f"{event_type}-{index}"
        value = encode("host", event_type, priority, payload, int(time.time() * 1000), message_id)
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
    async with writer(settings) as out, admin_of(settings.brokers) as admin:
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
    await eventually("alerts are confirmed", lambda: all_committed(settings))
    rung = await alerts(settings, Priority.CRITICAL)
    assert rung == {"a": 100, "b": 60, "c": 60, "d": 20, "e": 20}, rung


@pytest.mark.xdist_group("strict")
async def test_a_topic_that_is_gone_and_comes_back(strict: Deployment) -> None:
    """Other priorities go on; nobody but the operator makes the topic again; then all is as it should be."""
    await apply_topics(strict.settings)
    settings = strict.settings
    topic, other = (settings.notification_topic(each) for each in (Priority.CRITICAL, Priority.WARN))
    worker = await strict.worker().start().ready()
    expected: Counts = Counter({("CRITICAL", "a"): 40, ("WARN", "w"): 20})
    async with writer(settings) as out:
        await publish(out, topic, "a", 40, Priority.CRITICAL)
        await publish(out, other, "w", 20, Priority.WARN)
    await counted(settings, expected)
    async with admin_of(settings.brokers) as admin:
        await delete(admin, topic)
        await says(worker, f"The topic {topic} is gone: make it again with `tocsin topics apply`.")
        assert worker.get("/livez")[0] == 200
        async with writer(settings) as out:
            await publish(out, other, "x", 30, Priority.WARN)
        expected["WARN", "x"] = 30
        await counted(settings, expected)
        assert topic not in await admin.list_topics(), "somebody had the broker create it"
        await make(admin, topic)
    async with writer(settings) as out:
        await publish(out, topic, "b", 190, Priority.CRITICAL)
    expected["CRITICAL", "b"] = 190
    await counted(settings, expected)
    await worker.ready()
    await worker.stop()
    await worker.start().ready()
    async with writer(settings) as out:
        await publish(out, topic, "c", 10, Priority.CRITICAL)
    expected["CRITICAL", "c"] = 10
    await counted(settings, expected)
    await eventually("alerts are confirmed", lambda: all_committed(settings))
    assert await alerts(settings, Priority.CRITICAL) == {"a": 40, "b": 190, "c": 10}


@pytest.mark.parametrize("comes_back", ["by the next start", *in_the_long_form("while it runs")])
async def test_an_alert_topic_that_is_gone(deployment: Deployment, comes_back: str) -> None:
    """Alerts wait for it, a stop ends in order all the same, and none is missing in the end."""
    deployment.configure(drain_deadline_s="3")
    settings = deployment.settings
    topic, alert_topic = (
        settings.notification_topic(Priority.CRITICAL),
        settings.alert_topic(Priority.CRITICAL.value),
    )
    worker = await deployment.worker().start().ready()
    async with admin_of(settings.brokers) as admin:
        await delete(admin, alert_topic)
        async with writer(settings) as out:
            # Tidy ones, and some that go one by one; and all that come behind them wait, too.
            await publish(out, topic, "a", 200, Priority.CRITICAL)
            for _ in range(2 * PARTITIONS):
                await out.raw(topic, b"no notification")
            await publish(out, topic, "b", 200, Priority.CRITICAL)
        await says(worker, f"The topic {alert_topic} is gone: make it again with `tocsin topics apply`.")
        if comes_back == "while it runs":
            await make(admin, alert_topic)
            await worker.ready()
        else:
            await worker.stop()
            assert "Crashed" not in worker.log()
            assert "Traceback" not in worker.log()
            await worker.start().ready()
    expected = Counter({("CRITICAL", "a"): 200, ("CRITICAL", "b"): 200, ("CRITICAL", DEAD_LETTERS): 8})
    await counted(settings, expected)
    await eventually("the ends are committed", lambda: all_committed(settings))
    await worker.stop()
    records = await read_all(settings.brokers, alert_topic)
    found = {dict(record.headers)["ce_id"]: dict(record.headers)["ce_subject"] for record in records}
    assert Counter(found.values())[b"a"] == Counter(found.values())[b"b"] == 200
    assert len(found) == 400 + 2 * PARTITIONS


@pytest.mark.parametrize("gone", ["an alert topic", *in_the_long_form("the dead-letter topic")])
async def test_a_topic_that_takes_nothing_holds_up_no_other_priority(
    deployment: Deployment, gone: str
) -> None:
    """With one batch in service at a time: the one that waits gives its place to others."""
    settings = deployment.settings
    of_error = gone == "an alert topic"
    name = settings.alert_topic("ERROR") if of_error else settings.dead_letter_topic
    stuck = Priority.ERROR if of_error else Priority.DEBUG
    topic = settings.notification_topic(stuck)
    worker = await deployment.worker().start().ready()
    async with admin_of(settings.brokers) as admin, writer(settings) as out:
        await delete(admin, name)
        # More than what may be under way without a confirmation; or some that only wait for their topic.
        await publish(out, topic, "a", 900, stuck, size=3000)
        for _ in range(20):
            await out.raw(topic, b"no notification")
        await says(worker, f"The topic {name} is gone: make it again with `tocsin topics apply`.")
        for priority in (Priority.CRITICAL, Priority.INFO):
            await publish(out, settings.notification_topic(priority), "b", 100, priority)
        others: Counts = Counter({("CRITICAL", "b"): 100, ("INFO", "b"): 100})
        async with public_counts(settings) as counts:

            async def counted_meanwhile() -> bool:
                found = await counts.refresh()
                return all(found[key] == number for key, number in others.items())

            await eventually("others are counted", counted_meanwhile)

        async def rung() -> bool:
            return await alerts(settings, Priority.CRITICAL) == {"b": 100}

        await eventually("alerts of others are confirmed", rung)
        await make(admin, name)
    await worker.ready()
    await counted(settings, others + Counter({(stuck.value, "a"): 900, (stuck.value, DEAD_LETTERS): 20}))
    await eventually("the ends are committed", lambda: all_committed(settings))
    await worker.stop()
    if of_error:
        assert (await alerts(settings, Priority.ERROR))["a"] == 900


@pytest.mark.xdist_group("strict")
async def test_stock_aiokafka_has_a_topic_created_by_asking(strict: Deployment, unique: str) -> None:
    """The control of the test above: this broker does, when a client asks as aiokafka does."""
    async with admin_of(strict.settings.brokers) as admin:
        client = AIOKafkaClient(bootstrap_servers=strict.settings.brokers)
        await client.bootstrap()
        try:
            await client.set_topics([f"{unique}.asked"])
        finally:
            await client.close()

        async def made() -> bool:
            return f"{unique}.asked" in await admin.list_topics()

        await eventually("the topic is there", made)


@pytest.mark.xdist_group("strict")
@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (AclOperation.READ, "may not be read by this user: grant Read on it."),
        *in_the_long_form((AclOperation.DESCRIBE, "may not be seen by this user: grant Read on it.")),
    ],
)
async def test_a_topic_whose_read_is_revoked_and_granted_again(
    strict: Deployment, operation: AclOperation, words: str
) -> None:
    await apply_topics(strict.settings)
    settings = strict.settings
    topic, other = (settings.notification_topic(each) for each in (Priority.CRITICAL, Priority.WARN))
    worker = await strict.worker().start().ready()
    # With a rule on a topic, whatever no rule allows is denied: so allow all but the one.
    await add_rules(settings.brokers, rule(topic, AclOperation.ALL, AclPermissionType.ALLOW))
    expected: Counts = Counter({("CRITICAL", "a"): 40})
    async with writer(settings) as out:
        await publish(out, topic, "a", 40, Priority.CRITICAL)
        await counted(settings, expected)
        await add_rules(settings.brokers, rule(topic, operation, AclPermissionType.DENY))
        await says(worker, f"The topic {topic} {words}")
        # Who publishes may still do so where only Read is denied; nothing of it is read.
        if operation == AclOperation.READ:
            await publish(out, topic, "b", 150, Priority.CRITICAL)
            expected["CRITICAL", "b"] = 150
        await publish(out, other, "x", 30, Priority.WARN)
        expected["WARN", "x"] = 30
        async with public_counts(settings) as counts:
            await counts.reach(Counter({name: n for name, n in expected.items() if name[1] != "b"}))
        await remove_rules(settings.brokers, topic)
        await worker.ready()
        await publish(out, topic, "c", 20, Priority.CRITICAL)
        expected["CRITICAL", "c"] = 20
        await counted(settings, expected)
    await worker.stop()
    await worker.start().ready()
    async with writer(settings) as out:
        await publish(out, topic, "d", 10, Priority.CRITICAL)
    expected["CRITICAL", "d"] = 10
    await counted(settings, expected)
    await eventually("alerts are confirmed", lambda: all_committed(settings))
    rung = await alerts(settings, Priority.CRITICAL)
    assert rung == {name: n for (priority, name), n in expected.items() if priority == "CRITICAL"}, rung


async def test_a_topic_that_held_counts_and_is_made_again_ends_the_worker(deployment: Deployment) -> None:
    settings = deployment.settings
    topic = settings.internal_topic("partials")
    worker = await deployment.worker().start().ready()
    async with admin_of(settings.brokers) as admin:
        await delete(admin, topic)
        await make(admin, topic)
    assert await worker.ended() == 1
    assert (
        f"The topic {topic} was deleted and made again while this worker ran, and what was counted there is "
        "lost: stop all workers"
    ) in worker.log()
