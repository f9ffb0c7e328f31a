"""Several hosts of RabbitMQ, and several bridges at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aio_pika
import pytest

from streams.bridges.rabbit import RabbitBridge
from streams.bridges.rabbit_consumer import Consumer, Delivery
from streams.bridges.to_kafka import KafkaWriter
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.drivers.rabbit import RabbitDriver
from streams.publishing.rabbit_urls import rabbit_urls
from tests.admin import apply_topics
from tests.integration.reading import read_all
from tests.integration.test_rabbit_bridge import bridging, left_in, source_of, topics_of, unhurried
from tests.integration.worker_process import BOUND_S, Deployment, eventually
from tests.long_form import in_the_long_form
from tests.rabbit_server import RabbitServer, own_rabbit, rabbit, running

__all__ = ["own_rabbit", "rabbit", "unhurried"]

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("rabbit")]


async def publish(server: RabbitServer, unique: str, bodies: list[bytes], **options: str) -> None:
    """Messages by turns to the queues of INFO and ERROR."""
    async with RabbitDriver(url=server.url, exchange=unique, max_wait_s=5, **options) as driver:  # type: ignore[arg-type]
        for number, body in enumerate(bodies):
            await driver.apush(Outgoing(f"{unique}.{('info', 'error')[number % 2]}", body))
        assert await driver.aflush(BOUND_S)
        assert driver.stats.delivered == len(bodies)


@pytest.fixture(scope="module")
def hesitant_rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A RabbitMQ whose quorum queues do one command at a time and put off the rest, as on a slow disk."""
    with running(tmp_path_factory.mktemp("rabbitmq"), advanced="{quorum_commands_soft_limit, 1}") as server:
        yield server


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_bridges_share_the_queues_and_one_that_ends_leaves_the_rest_to_the_other(
    hesitant_rabbit: RabbitServer, deployment: Deployment, unique: str, queue_type: str
) -> None:
    rabbit = hesitant_rabbit
    settings = deployment.settings
    await apply_topics(settings)
    bodies = [b"%d" % number for number in range(4002)]
    # So that there are queues to consume.
    await publish(rabbit, unique, bodies[:2], queue_type=queue_type)
    source = source_of(settings, rabbit, unique, prefetch=100)
    writers = [KafkaWriter(settings) for _ in range(2)]
    first, second = (RabbitBridge(writer, source) for writer in writers)
    async with bridging(settings, second, writers[1]):
        async with bridging(settings, first, writers[0]):
            await eventually("both consume", lambda: len(first.consumed) == len(second.consumed) == 2)
            publishing = asyncio.create_task(publish(rabbit, unique, bodies[2:], queue_type=queue_type))
            await eventually("both have some", lambda: min(first.confirmed, second.confirmed) >= 200)
        # It has ended in good order, while messages came; what it held and had not sent goes to the other.
        await publishing
        await eventually("all came", lambda: first.confirmed + second.confirmed >= len(bodies))
    assert left_in(rabbit, f"{unique}.info", f"{unique}.error") == 0
    records = await read_all(settings.brokers, *topics_of(settings))
    assert Counter(record.value for record in records) == Counter(bodies), "each of them once"


class ClosesAtOnce(Consumer):
    """Control: closes its channel without waiting for what it has acknowledged."""

    async def _await_acknowledged(self, wire: Any) -> None:
        pass


async def come_again(
    kind: type[Consumer], server: RabbitServer, queue: str, *, bound_bytes: int, unconfirmed: int = 0
) -> int:
    """How many messages of a quorum queue come again though a consumer has acknowledged them, and ended."""
    number, body = 100, b"10 bytes ."
    taken = min(number, bound_bytes // len(body))
    came: asyncio.Queue[Delivery] = asyncio.Queue()
    async with await aio_pika.connect(server.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        for _ in range(number):
            await channel.default_exchange.publish(aio_pika.Message(body), queue)
        consumer = kind(queue, Priority.INFO, prefetch=number, bound_bytes=bound_bytes, came=came.put_nowait)
        run = asyncio.create_task(consumer.run(connection))
        deliveries = [await asyncio.wait_for(came.get(), BOUND_S) for _ in range(taken)]
        # Where more came than it may hold, it consumes no more while it holds any.
        await eventually("it does as it should", lambda: (consumer._tag is None) == (taken < number))
        for _ in deliveries:
            consumer.handed_over()
        for delivery in deliveries[: taken - unconfirmed]:
            # Each of them is acknowledged on its own.
            await asyncio.sleep(0)
            consumer.settled(delivery)
        consumer.stop(at_once=unconfirmed > 0)
        await asyncio.wait_for(run, BOUND_S)
    found = 0
    async with await aio_pika.connect(server.url) as connection:
        channel = await connection.channel()
        declared = await channel.get_queue(queue)
        # Confirmed after all that the end of the other connection has brought back.
        await channel.default_exchange.publish(aio_pika.Message(b"last"), queue)
        while (await declared.get(no_ack=True, timeout=BOUND_S)).body != b"last":
            found += 1
        await channel.queue_delete(queue)
    return found - (number - taken) - unconfirmed


@pytest.mark.parametrize(
    "how",
    [
        {"bound_bytes": 10_000},
        *in_the_long_form({"bound_bytes": 100}, {"bound_bytes": 10_000, "unconfirmed": 30}),
    ],
    ids=["consuming", "about to consume anew", "with some that Kafka has not confirmed in time"],
)
async def test_a_quorum_queue_has_done_all_acknowledgements_before_a_consumer_ends(
    hesitant_rabbit: RabbitServer, unique: str, how: dict[str, int]
) -> None:
    for _ in range(5):
        assert await come_again(Consumer, hesitant_rabbit, unique, **how) == 0


async def test_of_a_consumer_that_closes_at_once_some_come_again(
    hesitant_rabbit: RabbitServer, unique: str
) -> None:
    async def some() -> bool:
        return await come_again(ClosesAtOnce, hesitant_rabbit, unique, bound_bytes=10_000) > 0

    await eventually("some come again", some)


async def test_transport_url_of_several_hosts_is_followed_from_one_that_dies_to_the_next(
    rabbit: RabbitServer, own_rabbit: RabbitServer, deployment: Deployment, unique: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    # As in nova.conf; nobody is at the first of them.
    hosts = ",".join(f"guest:guest@127.0.0.1:{port}" for port in (1, own_rabbit.port, rabbit.port))
    source = replace(source_of(settings, rabbit, unique), urls=rabbit_urls(f"rabbit://{hosts}/"))
    assert len(source.urls) == 3
    await publish(own_rabbit, unique, [b"1", b"2"])
    writer = KafkaWriter(settings)
    bridge = RabbitBridge(writer, source)
    async with bridging(settings, bridge, writer):
        await eventually("the second host is found", lambda: bridge.confirmed == 2)
        await asyncio.to_thread(own_rabbit.kill)
        await publish(rabbit, unique, [b"3", b"4"])
        await eventually("the third is", lambda: bridge.confirmed == 4)
    records = await read_all(settings.brokers, *topics_of(settings))
    assert {record.value for record in records} == {b"1", b"2", b"3", b"4"}
