"""The bridge from a real RabbitMQ to a real Kafka."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from streams.bridges import rabbit as rabbit_bridge
from streams.bridges.rabbit import RabbitBridge, RabbitSource
from streams.bridges.rabbit_consumer import Delivery
from streams.bridges.rabbit_queues import Declared
from streams.bridges.to_kafka import KafkaWriter
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.drivers.rabbit import RabbitDriver
from streams.publishing.notifier import AsyncNotifier
from streams.settings import ConfigurationError, Settings
from tests import children
from tests.admin import apply_topics
from tests.breakable_kafka import BreakableKafka
from tests.integration.reading import Counts, counts_at_rest, public_counts, read_all
from tests.integration.worker_process import BOUND_S, ROOT, Deployment, Worker, eventually
from tests.rabbit_server import (
    RabbitServer,
    in_own_loop,
    own_rabbit,
    rabbit,
    running,
    speaking_tls,
)

__all__ = ["own_rabbit", "rabbit"]

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("rabbit")]


def bridge_process(deployment: Deployment, url: str | None, *options: str, **settings: str) -> Worker:
    """``tocsin bridge rabbit``, not started yet; the password stands in the environment."""
    return deployment.worker(
        "bridge",
        command=["tocsin", "bridge", "rabbit", *options],
        **{"rabbit_bridge_port": "0"} | ({} if url is None else {"rabbit_url": url}) | settings,
    )


@asynccontextmanager
async def bridging(settings: Settings, bridge: RabbitBridge, writer: KafkaWriter) -> AsyncIterator[None]:
    """Run a bridge in this loop, and end it in good order."""
    await writer.start()
    stop = asyncio.Event()
    task = asyncio.create_task(bridge.run(stop))
    try:
        yield
        stop.set()
        await task
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)
        await writer.stop(0.0)


def source_of(settings: Settings, server: RabbitServer, topic: str, **more: Any) -> RabbitSource:
    return RabbitSource([server.url], [topic], settings.effective_weights, **more)


def left_in(server: RabbitServer, *queues: str) -> int:
    """Messages that lie in queues, ready to be delivered."""

    async def run() -> list[int]:
        async with await aio_pika.connect(server.url) as connection:
            channel = await connection.channel()
            found = [await channel.get_queue(name) for name in queues]
            return [sum(queue.declaration_result.message_count or 0 for queue in found)]

    return int(in_own_loop(run())[0])


async def consumers(server: RabbitServer, queues: list[str]) -> list[int | None]:
    """Consumers of each queue; None for one that is not there."""
    found: list[int | None] = []
    async with await aio_pika.connect(server.url) as connection:
        for name in queues:
            channel = await connection.channel()
            try:
                found.append((await channel.get_queue(name)).declaration_result.consumer_count)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                found.append(None)
    return found


async def until_consumed(server: RabbitServer, *queues: str) -> None:
    async def consumed() -> bool:
        return await consumers(server, list(queues)) == [1] * len(queues)

    await eventually("the queues are consumed", consumed)


def on_channel(server: RabbitServer, action: Any) -> None:
    async def run() -> bool:
        async with await aio_pika.connect(server.url) as connection:
            await action(await connection.channel())
        return True

    in_own_loop(run())


def topics_of(settings: Settings) -> list[str]:
    return [settings.notification_topic(each) for each in settings.priorities]


def ids_of(records: list[Any]) -> Counter[str]:
    return Counter(dict(record.headers)["message-id"].decode() for record in records)


# --- From a cloud to the counts ------------------------------------------------------------


async def test_what_oslo_publishes_is_counted_exactly(
    rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    deployment.configure(priorities="critical,error,warn,info,debug,audit,sample")
    settings = deployment.settings
    worker = await deployment.worker().start().ready()
    expected: Counts = Counter()
    topics = (f"{unique}n", f"{unique}v")
    # Two topics, and the two formats of oslo.messaging; its queues are not durable.
    for driver, topic in zip(("messaging", "messagingv2"), topics, strict=True):
        script = ROOT / "tests/integration/oslo_publisher.py"
        ended = await asyncio.to_thread(
            children.run,
            [sys.executable, str(script), rabbit.transport_url, topic, driver, "20"],
            cwd=ROOT,
            capture_output=True,
            timeout=BOUND_S,
        )
        assert ended.returncode == 0, ended.stderr.decode()
        for event_type, number in json.loads(ended.stdout).items():
            expected[event_type.rpartition(".")[2].upper(), event_type] = number
    assert expected.total() == 2 * 7 * 20
    queues = [f"{topic}.{each.value.lower()}" for topic in topics for each in Priority]
    assert left_in(rabbit, *queues) == expected.total()
    bridge = bridge_process(deployment, rabbit.transport_url, "--topic", topics[0], "--topic", topics[1])
    bridge.start()
    async with public_counts(settings) as counts:
        await counts.reach(expected)
    await bridge.stop()
    assert left_in(rabbit, *queues) == 0, "acknowledged, and nothing comes back"
    await worker.stop()
    assert (await counts_at_rest(settings)).now() == expected
    assert await read_all(settings.brokers, settings.dead_letter_topic) == []
    assert set(ids_of(await read_all(settings.brokers, *topics_of(settings))).values()) == {1}
    assert f"{expected.total()} messages were confirmed" in bridge.log()
    assert "guest:" not in bridge.log()


async def test_urgent_ones_do_not_wait_for_a_mountain(
    rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    async with RabbitDriver(url=rabbit.url, exchange=unique, max_wait_s=5) as driver:
        notifier = AsyncNotifier("p", driver, topic_prefix=f"{unique}.")
        for number in range(5000):
            await notifier.info("a.b", number)
        assert await driver.aflush(BOUND_S)
        # They are the last to be published.
        for number in range(20):
            await notifier.critical("a.b", number)
        assert await driver.aflush(BOUND_S)
    order: list[Priority] = []
    prefetch = 500
    came: dict[Priority, list[Delivery]] = {Priority.INFO: [], Priority.CRITICAL: []}
    both = asyncio.Event()

    class Told(RabbitBridge):
        def _came(self, delivery: Delivery) -> None:
            # RabbitMQ hands over each queue when that has a processor. Here the urgent ones come last.
            if not both.is_set():
                came[delivery.consumer.priority].append(delivery)
                if [len(each) for each in came.values()] != [prefetch, 20]:
                    return
                both.set()
                for each in (*came[Priority.INFO], *came[Priority.CRITICAL]):
                    super()._came(each)
            else:
                super()._came(delivery)

        async def _pump(self, stop: asyncio.Event) -> None:
            await both.wait()
            await super()._pump(stop)

        def _hand_over(self, delivery: Delivery) -> None:
            order.append(delivery.consumer.priority)
            super()._hand_over(delivery)

    writer = KafkaWriter(settings)
    bridge = Told(writer, source_of(settings, rabbit, unique, prefetch=prefetch))
    async with bridging(settings, bridge, writer):
        await eventually("all are on Kafka", lambda: bridge.confirmed == 5020)
    assert Counter(order) == {Priority.INFO: 5000, Priority.CRITICAL: 20}
    last = len(order) - order[::-1].index(Priority.CRITICAL)
    assert last <= 200, f"the last CRITICAL was number {last} of {len(order)}"


# --- Faults --------------------------------------------------------------------------------


class Remembering(RabbitBridge):
    """Remembers which messages it took for confirmed."""

    def __init__(self, writer: KafkaWriter, source: RabbitSource) -> None:
        super().__init__(writer, source)
        self.ids: set[str] = set()

    def _settle(self, delivery: Delivery) -> None:
        super()._settle(delivery)
        self.ids.add(delivery.message.header.properties.message_id)


class AcknowledgesAtOnce(Remembering):
    """The negative control: does not wait for Kafka."""

    def _hand_over(self, delivery: Delivery) -> None:
        super()._hand_over(delivery)
        self._settle(delivery)

    def _told(self, *_: Any) -> None:
        pass


async def test_rabbitmq_that_is_killed_under_load_loses_nothing(
    own_rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    priorities = settings.priorities
    writer = KafkaWriter(settings)
    bridge = Remembering(writer, source_of(settings, own_rabbit, unique))
    async with RabbitDriver(url=own_rabbit.url, exchange=unique, max_wait_s=5) as driver:
        notifier = AsyncNotifier("p", driver, topic_prefix=f"{unique}.")

        async def publish(number: int) -> set[str]:
            return {
                await notifier.publish(priorities[index % len(priorities)], "a.b", index)
                for index in range(number)
            }

        ids = await publish(6000)
        assert await driver.aflush(BOUND_S)
        async with bridging(settings, bridge, writer):
            await eventually("some are confirmed", lambda: bridge.confirmed >= 200)
            assert bridge.confirmed < 6000, "it is killed while messages are under way"
            await asyncio.to_thread(own_rabbit.kill)
            await asyncio.to_thread(own_rabbit.start)
            ids |= await publish(500)
            assert await driver.aflush(BOUND_S)
            await eventually("all are confirmed", lambda: bridge.ids >= ids)
    records = await read_all(settings.brokers, *topics_of(settings))
    assert set(ids_of(records)) == ids
    # What lies there twice has one id and is the same message.
    assert len({(dict(record.headers)["message-id"], record.value) for record in records}) == len(ids)


@pytest.mark.parametrize("kind", [Remembering, AcknowledgesAtOnce])
async def test_bridge_that_dies_loses_nothing_unless_it_acknowledges_too_early(
    rabbit: RabbitServer,
    deployment: Deployment,
    unique: str,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Remembering],
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    source = source_of(settings, rabbit, unique)
    async with RabbitDriver(url=rabbit.url, exchange=unique, max_wait_s=5) as driver:
        notifier = AsyncNotifier("p", driver, topic_prefix=f"{unique}.")
        ids = {await notifier.info("a.b", index) for index in range(2000)}
        assert await driver.aflush(BOUND_S)
        # A batch waits for more, so that some messages are not sent whenever it dies.
        writer = KafkaWriter(settings, linger_s=BOUND_S)
        await writer.start()
        monkeypatch.setattr(rabbit_bridge, "_DRAIN_S", 0.1)
        stop = asyncio.Event()
        dying = asyncio.create_task(kind(writer, source).run(stop))
        await eventually("some are under way", lambda: writer.bytes > 5_000)
        stop.set()
        await dying
        # What waits is gone, as with a process that is killed.
        writer._sender._lanes.clear()
        await writer.stop(0.0)
        last = await notifier.info("a.b", "last")
        assert await driver.aflush(BOUND_S)
    writer = KafkaWriter(settings)
    bridge = Remembering(writer, source)
    async with bridging(settings, bridge, writer):
        await eventually("the last has come", lambda: last in bridge.ids)
    found = set(ids_of(await read_all(settings.brokers, *topics_of(settings)))) - {last}
    if kind is Remembering:
        assert found == ids
    else:
        assert found < ids


async def test_while_kafka_is_away_rabbitmq_keeps_what_is_beyond_the_bound(
    rabbit: RabbitServer, own_kafka: BreakableKafka, own_deployment: Deployment, unique: str
) -> None:
    settings = own_deployment.settings
    await apply_topics(settings)
    writer = KafkaWriter(settings)
    bridge = Remembering(writer, source_of(settings, rabbit, unique, prefetch=100))
    async with RabbitDriver(url=rabbit.url, exchange=unique, max_wait_s=5) as driver:
        notifier = AsyncNotifier("p", driver, topic_prefix=f"{unique}.")
        ids = {await notifier.info("a.b", "first")}
        assert await driver.aflush(BOUND_S)
        async with bridging(settings, bridge, writer):
            await eventually("the first is confirmed", lambda: bridge.confirmed == 1)
            await asyncio.to_thread(own_kafka.kill)
            ids |= {await notifier.info("a.b", "x" * 5000) for _ in range(1000)}
            assert await driver.aflush(BOUND_S)

            async def bounded() -> bool:
                return await asyncio.to_thread(left_in, rabbit, f"{unique}.info") == 900

            await eventually("as much is taken as may be", bounded)
            assert bridge.confirmed == 1
            assert writer.bytes < 100 * 6000
            await asyncio.to_thread(own_kafka.restart_broker)
            await eventually("all are confirmed", lambda: bridge.ids >= ids)
    records = await read_all(settings.brokers, *topics_of(settings))
    assert set(ids_of(records)) == ids


async def test_poison_goes_on_with_its_bytes_and_does_not_come_back(
    rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    queue = f"{unique}.info"
    small = [b"\xff\xfe no json", '{"event_type": "é"}'.encode("latin-1"), b"", b"[" * 10_000]
    huge = b"x" * 20_000_000
    one, two = [aio_pika.Message(body, message_id=f"m{index}") for index, body in enumerate((huge, huge[1:]))]

    async def publish(channel: Any) -> None:
        await channel.declare_queue(queue)
        for body in small:
            await channel.default_exchange.publish(aio_pika.Message(body), queue)
        for message in (one, two):
            await channel.default_exchange.publish(message, queue)
        await channel.default_exchange.publish(aio_pika.Message(b'{"last": 1}'), queue)

    on_channel(rabbit, publish)
    writer = KafkaWriter(settings)
    # Less than one of the large ones, so that they go back until each comes alone.
    bridge = RabbitBridge(writer, source_of(settings, rabbit, unique, bound_bytes=1_000_000))
    async with bridging(settings, bridge, writer):
        await eventually("all are confirmed", lambda: bridge.confirmed == 7)
        assert bridge.refused == 2
    assert left_in(rabbit, queue) == 0
    records = await read_all(settings.brokers, settings.notification_topic(Priority.INFO))
    assert Counter(record.value for record in records) == Counter([*small, b'{"last": 1}'])
    letters = await read_all(settings.brokers, settings.dead_letter_topic)
    said = {dict(letter.headers)["message-id"]: dict(letter.headers) for letter in letters}
    assert set(said) == {b"m0", b"m1"}
    assert said[b"m0"]["tocsin-whole-bytes"] == b"20000000"
    assert said[b"m0"]["tocsin-topic"] == settings.notification_topic(Priority.INFO).encode()
    assert all(letter.value == huge[: len(letter.value)] for letter in letters)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge that ends waits as long as a busy machine needs: what it gives up lies there twice."""
    for name in ("_DRAIN_S", "_LAST_S"):
        monkeypatch.setattr(rabbit_bridge, name, BOUND_S)


@pytest.mark.usefixtures("unhurried")
async def test_end_in_good_order_leaves_each_message_in_one_place(
    rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    async with RabbitDriver(url=rabbit.url, exchange=unique, max_wait_s=5) as driver:
        for index in range(3000):
            await driver.apush(Outgoing(f"{unique}.info", b"%d" % index))
        assert await driver.aflush(BOUND_S)
    for enough in (1, 1000, 3000):
        writer = KafkaWriter(settings)
        bridge = RabbitBridge(writer, source_of(settings, rabbit, unique))
        before = 3000 - left_in(rabbit, f"{unique}.info")
        async with bridging(settings, bridge, writer):
            await eventually("some came", lambda b=bridge, n=enough - before: b.confirmed >= n)
        there = before + bridge.confirmed

        # RabbitMQ takes a moment to put back what a channel held.
        async def accounted(there: int = there) -> bool:
            return there + await asyncio.to_thread(left_in, rabbit, f"{unique}.info") == 3000

        await eventually("all are accounted for", accounted)
    records = await read_all(settings.brokers, settings.notification_topic(Priority.INFO))
    assert Counter(record.value for record in records) == Counter(b"%d" % index for index in range(3000))


# --- Queues --------------------------------------------------------------------------------


@pytest.mark.parametrize("quorum", [False, True])
async def test_queues_that_are_missing_are_made_and_bound(
    rabbit: RabbitServer, deployment: Deployment, unique: str, quorum: bool
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    exchanges = [f"{unique}.nova", f"{unique}.neutron"]
    declared = Declared(exchanges, durable=True, quorum=quorum)
    writer = KafkaWriter(settings)
    bridge = RabbitBridge(writer, source_of(settings, rabbit, unique, declared=declared))

    async def publish(channel: Any) -> None:
        for name in exchanges:
            exchange = await channel.get_exchange(name)
            await exchange.publish(aio_pika.Message(name.encode()), f"{unique}.error")
        arguments = {"x-queue-type": "quorum"} if quorum else None
        await channel.declare_queue(f"{unique}.error", durable=True, arguments=arguments)

    async with bridging(settings, bridge, writer):
        queues = [f"{unique}.{each.value.lower()}" for each in settings.priorities]
        await until_consumed(rabbit, *queues)
        on_channel(rabbit, publish)
        await eventually("both came", lambda: bridge.confirmed == 2)


async def test_queue_that_is_there_is_used_as_it_is_and_nothing_that_clashes_is_declared(
    rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    priorities = dict.fromkeys((Priority.ERROR, Priority.INFO), 1.0)

    async def as_nova(channel: Any) -> None:
        await channel.declare_exchange(unique, "topic", durable=False)
        await channel.declare_queue(f"{unique}.error", durable=False, arguments={"x-message-ttl": 600_000})

    on_channel(rabbit, as_nova)
    writer = KafkaWriter(settings)

    def source(durable: bool) -> RabbitSource:
        declared = Declared([unique], durable=durable, quorum=False)
        return RabbitSource([rabbit.url], [unique], priorities, declared=declared)

    with pytest.raises(ConfigurationError, match=rf"exchange {unique} is there already and of another kind"):
        await RabbitBridge(writer, source(True)).run(asyncio.Event())
    assert await consumers(rabbit, [f"{unique}.info"]) == [None]
    bridge = RabbitBridge(writer, source(False))

    async def publish(channel: Any) -> None:
        exchange = await channel.get_exchange(unique)
        for key in ("error", "info"):
            await exchange.publish(aio_pika.Message(b"1"), f"{unique}.{key}")

    async with bridging(settings, bridge, writer):
        await until_consumed(rabbit, f"{unique}.error", f"{unique}.info")
        on_channel(rabbit, publish)
        await eventually("both came", lambda: bridge.confirmed == 2)


# --- What the command says -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        (None, 78, "set TOCSIN_RABBIT_URL"),
        ("http://localhost", 78, "must begin with amqp://"),
        ("wrong password", 78, "refuses the user or the virtual host"),
        ("wrong vhost", 78, "refuses the user or the virtual host"),
        ("amqp://u:hidden@127.0.0.1:1/", 75, "RabbitMQ at 127.0.0.1:1 does not answer"),
    ],
)
async def test_start_that_cannot_succeed_ends_with_a_sentence(
    rabbit: RabbitServer, deployment: Deployment, url: str | None, code: int, says: str
) -> None:
    await apply_topics(deployment.settings)
    if url == "wrong password":
        url = rabbit.url.replace(":guest@", ":hidden@")
    elif url == "wrong vhost":
        url = f"{rabbit.url}hidden"
    given = {} if url is None else {"rabbit_url": url}
    bridge = deployment.worker(
        "bridge",
        command=["tocsin", "bridge", "rabbit"],
        # What is refused is not waited for. Kafka is asked first, and may take 5 s for a connection.
        **{"wait_for_brokers_s": "12" if code == 75 else "120", "rabbit_bridge_port": "0"} | given,
    ).start()
    assert await bridge.ended() == code
    assert says in bridge.log().splitlines()[-1]
    assert "hidden@" not in bridge.log()


async def test_topics_that_kafka_does_not_have_are_named(
    rabbit: RabbitServer, deployment: Deployment
) -> None:
    bridge = bridge_process(deployment, rabbit.url).start()
    assert await bridge.ended() == 78
    assert "tocsin topics apply" in bridge.log()


# --- The process ---------------------------------------------------------------------------


async def test_process_says_when_it_is_ready_and_what_it_did_over_tls(
    deployment: Deployment, unique: str, tmp_path: Path
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    port, lines = speaking_tls(tmp_path)

    async def told(status: int, reason: str) -> bool:
        found, body = await asyncio.to_thread(bridge.get, "/readyz")
        return found == status and reason in body.decode()

    async def metrics() -> str:
        status, body = await asyncio.to_thread(bridge.get, "/metrics")
        assert status == 200
        return body.decode()

    with running(tmp_path / "rabbitmq", *lines) as server:
        secret = tmp_path / "url"
        secret.write_text(f"amqps://guest:guest@127.0.0.1:{port}/?cafile={tmp_path}/ca.pem\n")
        bridge = bridge_process(
            deployment, None, "--topic", unique, rabbit_url_file=str(secret), log_level="DEBUG"
        ).start()
        await eventually("no queue is there", lambda: told(503, f"none of the queues {unique}.<priority>"))
        async with RabbitDriver(url=server.url, exchange=unique, max_wait_s=5) as driver:
            notifier = AsyncNotifier("p", driver, topic_prefix=f"{unique}.")
            for index in range(20):
                await notifier.error("a.b", index)
            assert await driver.aflush(BOUND_S)
        await bridge.ready()

        async def counted() -> bool:
            return 'tocsin_rabbit_bridge_messages_total{priority="ERROR"} 20.0' in await metrics()

        await eventually("all are counted", counted)
        said = await metrics()
        assert "tocsin_rabbit_bridge_ready 1.0" in said
        assert "tocsin_rabbit_bridge_queues 1.0" in said
        assert 'tocsin_rabbit_bridge_held_messages{priority="ERROR"} 0.0' in said
        await asyncio.to_thread(server.kill)
        await eventually("RabbitMQ is away", lambda: told(503, "RabbitMQ does not answer"))
        assert (await asyncio.to_thread(bridge.get, "/livez"))[0] == 200
        await asyncio.to_thread(server.start)
        await bridge.ready()
        assert "tocsin_rabbit_bridge_lost_connections_total 1.0" in await metrics()
        await bridge.stop()
    assert "guest" not in bridge.log()
    records = await read_all(settings.brokers, settings.notification_topic(Priority.ERROR))
    # RabbitMQ that is killed may forget what was acknowledged just before.
    assert len(ids_of(records)) == 20


async def test_process_that_waits_for_kafka_can_be_told_to_stop(
    rabbit: RabbitServer, deployment: Deployment
) -> None:
    bridge = bridge_process(deployment, rabbit.url, brokers="127.0.0.1:1", wait_for_brokers_s="3600").start()

    async def waits() -> bool:
        status, body = await asyncio.to_thread(bridge.get, "/readyz")
        return status == 503 and b"have not been reached yet" in body

    await eventually("it waits for Kafka", waits)
    await bridge.stop()


async def test_port_that_is_taken_is_named(rabbit: RabbitServer, deployment: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bridge = bridge_process(deployment, rabbit.url, rabbit_bridge_port=str(port)).start()
        assert await bridge.ended() == 78
    assert "TOCSIN_RABBIT_BRIDGE_PORT" in bridge.log().splitlines()[-1]
