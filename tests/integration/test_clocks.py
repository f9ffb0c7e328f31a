"""Time on a real Kafka: a worker whose clock is wrong, and counts asked for while a broker is frozen."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from streams.notifications import Priority
from tests.admin import PATIENT, create_topics
from tests.breakable_kafka import BreakableKafka
from tests.integration.reading import counts_at_rest, difference, public_counts, published_by_bucket, read_all
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka

AHEAD_S = 40 * 86_400
#: How long a clock is wrong, or a broker frozen: the fault itself.
WRONG_S = 30.0
FROZEN_S = 45.0


def body_of(worker: Worker, path: str) -> Any:
    status, body = worker.get(path)
    assert body, f"{path} answered {status} and nothing"
    return orjson.loads(body)


def metric(worker: Worker, name: str) -> float:
    lines = worker.get("/metrics")[1].decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.split(" ")[0] == name)


async def one_clock_wrong(deployment: Deployment, control: str) -> tuple[int, int, list[Worker]]:
    """Two workers count, and the clock of one is wrong for a while: what windows hold, and should hold."""
    settings, file = deployment.settings, deployment.folder / "wrong-by"
    workers = []
    for name in ("right", "wrong"):
        worker = deployment.worker(name, command=["tests.wrong_clock", "worker"])
        worker._environment["WRONG_CLOCK"] = str(file if name == "wrong" else deployment.folder / "never")
        worker._environment["WRONG_CLOCK_CONTROL"] = control
        workers.append(worker.start())
    right, wrong = workers
    await asyncio.gather(right.ready(), wrong.ready())
    async with writer(settings) as out:
        await out.made(made_load(seed=31, count=5000))
        async with public_counts(settings) as counts:
            await counts.reach(out.published.counts)
        file.write_text(str(AHEAD_S), encoding="ascii")
        async with out.steadily(made_load(seed=32), rate=200):
            if not control:
                await eventually("it is said", lambda: "40.0 days ahead of the brokers'" in wrong.log())
                assert "set all of them by NTP" in body_of(wrong, "/readyz")["details"]["clock"]
                assert metric(wrong, "tocsin_clock_ahead_seconds") == pytest.approx(AHEAD_S, abs=60)
                assert "clock" not in body_of(right, "/readyz")["details"]
            await asyncio.sleep(WRONG_S)
            if not control:
                # It shows what others show.
                answer = body_of(wrong, "/api/v1/counts?window=1h&limit=1000")
                assert abs(datetime.fromisoformat(answer["as_of"]).timestamp() - time.time()) < 60
                assert sum(item["count"] for item in answer["items"]) > 5000
        file.unlink()
        await out.made(made_load(seed=33, count=2000))
        async with public_counts(settings) as counts:
            await counts.reach(out.published.counts)
        if not control:
            await eventually("it is over", lambda: "agrees with the brokers' again" in wrong.log())
    for worker in workers:
        await worker.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == out.published.counts, difference(at_rest.now(), out.published.counts)
    expected = await published_by_bucket(settings)
    buckets = [bucket for _, _, bucket in expected]
    found = at_rest.by_bucket(out.published.counts, min(buckets), max(buckets) + 10)
    return found.total(), expected.total(), workers


async def test_a_worker_with_a_wrong_clock_wipes_nobodys_windows(deployment: Deployment) -> None:
    found, expected, _ = await one_clock_wrong(deployment, "")
    assert found == expected


async def test_by_the_clock_alone_windows_are_wiped(deployment: Deployment) -> None:
    """The control."""
    found, expected, _ = await one_clock_wrong(deployment, "1")
    assert found < expected


async def test_counts_say_how_old_they_are_while_a_broker_is_frozen(
    own_deployment: Deployment, own_kafka: BreakableKafka
) -> None:
    worker = await own_deployment.worker().start().ready()
    async with writer(own_deployment.settings) as out, public_counts(own_deployment.settings) as counts:
        await out.made(islice(made_load(seed=34), 1000))
        await counts.reach(out.published.counts)
    await eventually("all is read", lambda: body_of(worker, "/api/v1/counts")["complete"] is True)
    await asyncio.to_thread(own_kafka.pause)
    frozen_at = time.time()
    try:
        until = frozen_at + FROZEN_S
        while time.time() < until:
            answer = body_of(worker, "/api/v1/counts")
            # Asked for before the broker was frozen, so that nothing later can be known.
            assert datetime.fromisoformat(answer["as_of"]).timestamp() <= frozen_at + 0.5
            await asyncio.sleep(0.5)
        assert answer["complete"] is False
        assert answer["missing_partitions"] == [0, 1, 2, 3]
        assert metric(worker, "tocsin_counts_complete") == 0
    finally:
        await asyncio.to_thread(own_kafka.resume)

    def current() -> bool:
        answer = body_of(worker, "/api/v1/counts")
        return bool(answer["complete"]) and datetime.fromisoformat(answer["as_of"]).timestamp() > until

    await eventually("counts are current again", current)


async def _publish(
    deployment: Deployment, priority: str, number: int, timestamp: int, stated: str | None
) -> None:
    settings = deployment.settings
    body = {
        "event_type": "timed",
        "publisher_id": "p",
        "priority": priority,
        "payload": {},
        "message_id": "m",
    }
    if stated is not None:
        body["timestamp"] = stated
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, **PATIENT)
    await producer.start()
    try:
        for _ in range(number):
            await producer.send_and_wait(
                settings.notification_topic(Priority(priority)), orjson.dumps(body), timestamp_ms=timestamp
            )
    finally:
        await producer.stop()


def counted(worker: Worker, priority: str, window: str) -> int:
    answer = body_of(worker, f"/api/v1/counts?window={window}&priority={priority}")
    return sum(item["count"] for item in answer["items"])


async def test_times_of_publishers_are_judged_and_counted_by_name(deployment: Deployment) -> None:
    """Topics with the publishers' times, and one that writes seconds; then one that is 50 minutes slow."""
    settings = deployment.settings
    topics = [settings.notification_topic(Priority(name)) for name in ("CRITICAL", "WARN")]
    config = {"message.timestamp.type": "CreateTime", "message.timestamp.before.max.ms": str(2**63 - 1)}
    wanted = [NewTopic(topic, PARTITIONS, 1, topic_configs=config) for topic in topics]
    await create_topics(settings.brokers, *wanted)
    worker = await deployment.worker().start().ready()
    for priority in ("CRITICAL", "WARN"):
        await _publish(deployment, priority, 7, int(time.time()), None)
        await eventually(
            f"{priority} of now is counted now", lambda p=priority: counted(worker, p, "5m") == 7
        )
        labels = f'{{priority="{priority}",reason="seconds"}}'
        assert metric(worker, f"tocsin_record_times_total{labels}") == 7
    alerts = await read_all(settings.brokers, settings.alert_topic("CRITICAL"))
    for alert in alerts:
        starts_at = datetime.fromisoformat(orjson.loads(alert.value)["startsAt"]).timestamp()
        assert abs(starts_at - time.time()) < 600
    late_ones = 0

    async def late_are_shown() -> bool:
        # Rows that are read before the worker is up to date are no news, nor is what came a minute ago:
        # where it fell behind meanwhile, the next ones are.
        nonlocal late_ones
        await eventually("it is up to date", lambda: body_of(worker, "/api/v1/counts")["complete"] is True)
        slow = datetime.fromtimestamp(time.time() - 3000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        await _publish(deployment, "DEBUG", 5, int(time.time() * 1000), slow)
        late_ones += 5
        behind = 'tocsin_class_time_behind_seconds{priority="DEBUG"}'
        far = False

        def are_counted() -> bool:
            nonlocal far
            far |= metric(worker, behind) == pytest.approx(3000, abs=60)
            return counted(worker, "DEBUG", "1h") == late_ones

        await eventually("the slow ones are counted", are_counted)
        late = body_of(worker, "/api/v1/counts?window=5m&priority=DEBUG")["late"]
        return far and [each["behind_s"] for each in late] == [pytest.approx(3000, abs=60)]

    await eventually("the late ones are shown", late_are_shown)
    assert counted(worker, "DEBUG", "5m") == 0
    assert body_of(worker, "/api/v1/counts?window=1h&priority=DEBUG")["late"] == []
    assert metric(worker, 'tocsin_records_late_total{priority="DEBUG"}') == late_ones
    await worker.stop()
