"""Several hosts of RabbitMQ, and several bridges at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from streams.bridges.rabbit import RabbitBridge
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.topics import apply_topics
from streams.outgoing import Outgoing
from streams.publishing.drivers.rabbit import RabbitDriver
from streams.publishing.rabbit_urls import rabbit_urls
from tests.integration.reading import read_all
from tests.integration.test_rabbit_bridge import bridging, left_in, source_of, topics_of
from tests.integration.worker_process import BOUND_S, Deployment, eventually
from tests.rabbit_server import RabbitServer, own_rabbit, rabbit

__all__ = ["own_rabbit", "rabbit"]

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("rabbit")]


async def publish(server: RabbitServer, unique: str, bodies: list[bytes], **options: str) -> None:
    """Messages by turns to the queues of INFO and ERROR."""
    async with RabbitDriver(url=server.url, exchange=unique, max_wait_s=5, **options) as driver:  # type: ignore[arg-type]
        for number, body in enumerate(bodies):
            await driver.apush(Outgoing(f"{unique}.{('info', 'error')[number % 2]}", body))
        assert await driver.aflush(BOUND_S)
        assert driver.stats.delivered == len(bodies)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
async def test_bridges_share_the_queues_and_one_that_ends_leaves_the_rest_to_the_other(
    rabbit: RabbitServer, deployment: Deployment, unique: str, queue_type: str
) -> None:
    settings = deployment.settings
    await apply_topics(settings)
    bodies = [b"%d" % number for number in range(6000)]
    await publish(rabbit, unique, bodies[:4000], queue_type=queue_type)
    source = source_of(settings, rabbit, unique, prefetch=100)
    writers = [KafkaWriter(settings) for _ in range(2)]
    first, second = (RabbitBridge(writer, source) for writer in writers)
    async with bridging(settings, second, writers[1]):
        async with bridging(settings, first, writers[0]):
            await eventually("both have some", lambda: min(first.confirmed, second.confirmed) >= 200)
        # It has ended in good order, while messages came; what it held and had not sent goes to the other.
        assert first.confirmed < 4000
        await publish(rabbit, unique, bodies[4000:], queue_type=queue_type)
        await eventually("all came", lambda: first.confirmed + second.confirmed == len(bodies))
    assert left_in(rabbit, f"{unique}.info", f"{unique}.error") == 0
    records = await read_all(settings.brokers, *topics_of(settings))
    assert Counter(record.value for record in records) == Counter(bodies), "each of them once"


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
