"""A worker begins only with a right configuration, and ends without a trace when it is told to."""

from __future__ import annotations

import signal
import socket
import time
from collections import Counter
from itertools import islice

import psutil
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from streams.notifications import Priority, encode
from tests.admin import PATIENT, create_topics
from tests.integration.forwards import check_forwards, read_forwards
from tests.integration.reading import (
    all_committed,
    committed_offsets,
    counts_at_rest,
    public_counts,
)
from tests.integration.worker_process import PARTITIONS, Deployment, Worker, eventually
from tests.integration.writing import made_load, writer

pytestmark = pytest.mark.kafka


async def refusal(worker: Worker, code: int = 78) -> str:
    """What a worker says that cannot start: one sentence, and its exit code."""
    worker.start()
    assert await worker.ended() == code, worker.tail()
    log = worker.log()
    said = [line for line in log.splitlines() if line.startswith("tocsin: ")]
    assert len(said) == 1, log
    assert log.endswith(said[0] + "\n")
    assert "Traceback" not in log
    assert said[0].endswith(".")
    return said[0]


async def create(deployment: Deployment, **partitions: int) -> None:
    prefix = deployment.settings.notification_topic_prefix
    topics = [NewTopic(prefix + name, number, 1) for name, number in partitions.items()]
    await create_topics(deployment.settings.brokers, *topics)


async def test_unreachable_broker(deployment: Deployment) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        said = await refusal(deployment.worker(brokers=address, wait_for_brokers_s="0.5"), 75)
    assert address in said
    assert "TOCSIN_BROKERS" in said


async def test_unequal_partitions_are_said_and_served(deployment: Deployment) -> None:
    await create(deployment, critical=PARTITIONS, debug=PARTITIONS - 1)
    worker = await deployment.worker().start().ready()
    producer = AIOKafkaProducer(bootstrap_servers=deployment.settings.brokers, **PATIENT)
    await producer.start()
    for priority, partitions in ((Priority.CRITICAL, PARTITIONS), (Priority.DEBUG, PARTITIONS - 1)):
        topic = deployment.settings.notification_topic(priority)
        for number in range(10 * partitions):
            value = encode("h", "a.b", priority, {}, int(time.time() * 1000), f"{number}")
            await producer.send_and_wait(topic, value, partition=number % partitions)
    await producer.stop()
    async with public_counts(deployment.settings) as counts:
        expected = {("CRITICAL", "a.b"): 10 * PARTITIONS, ("DEBUG", "a.b"): 10 * (PARTITIONS - 1)}
        await counts.reach(Counter(expected))
    said = (
        f"{deployment.unique}.in.debug has {PARTITIONS - 1} partitions where other notification topics have"
    )
    assert said in worker.log()
    await worker.stop()


async def test_missing_topics_that_may_not_be_created(deployment: Deployment) -> None:
    await create(deployment, critical=PARTITIONS)
    said = await refusal(deployment.worker(create_topics="false"))
    assert f"{deployment.unique}.in.error is missing" in said
    assert "TOCSIN_CREATE_TOPICS" in said


async def test_port_taken(deployment: Deployment) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = await refusal(deployment.worker(web_port=str(port)))
    assert str(port) in said
    assert "TOCSIN_WEB_PORT" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", "critical=-1"),
        ("partitions", "many"),
        ("brokers", "user@host:9092"),
        ("priorities", "loud"),
    ],
)
async def test_bad_setting(deployment: Deployment, name: str, value: str) -> None:
    said = await refusal(deployment.worker("worker", command=None, **{name: value}))
    assert f"TOCSIN_{name.upper()}" in said


async def test_sigterm_is_clean(deployment: Deployment) -> None:
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        load = made_load(seed=4)

        async def counted() -> bool:
            return (await counts.refresh()).total() > 1000

        async with out.steadily(load):
            await eventually("it is in mid-stream", counted)
            worker.terminate()
            assert await worker.ended() == 0
        assert "did not finish" not in worker.log()
        assert "Traceback" not in worker.log()
        # All that it forwarded is committed, and nothing else.
        handled: Counter[tuple[str, int]] = Counter()
        for severity in ("CRITICAL", "ERROR"):
            for topic, partition, offset in await read_forwards(settings, severity):
                handled[topic, partition] = max(handled[topic, partition], offset + 1)
        committed = await committed_offsets(settings)
        assert handled == {at: committed.get(TopicPartition(*at), 0) for at in handled}

        worker.start()
        await out.made(islice(load, 5000))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
        await worker.stop()
    assert (await counts_at_rest(settings)).now() == out.published.counts
    await check_forwards(settings, out.published, repeats=False)


@pytest.mark.parametrize("module", ["tocsin.app", "streams.app"])
async def test_faust_command(deployment: Deployment, module: str) -> None:
    settings = deployment.settings
    worker = deployment.worker(command=["faust", "-A", module, "worker", "--loglevel=info"])
    await worker.start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=5, count=500))
        await counts.reach(out.published.counts)
        await eventually("the ends are committed", lambda: all_committed(settings))
    # Faust's own web server asks nobody for a token: nothing listens but our views, on loopback.
    listening = [
        each.laddr.ip
        for each in psutil.Process(worker.process.pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]
    worker.process.send_signal(signal.SIGTERM)
    assert await worker.ended() == 0
    await check_forwards(settings, out.published, repeats=False)
