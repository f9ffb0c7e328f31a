"""All brokers at new addresses behind the same bootstrap name: workers find them again, and lose nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka.admin import NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata

from streams.publishing.driver import Outgoing
from streams.publishing.drivers.kafka import KafkaDriver
from streams.settings import load_settings
from streams.upstream import rebootstrap
from streams.upstream.clients import connect_client
from tests.admin import create_topics
from tests.breakable_kafka import BreakableKafka
from tests.chaos.relay import HOST, Relay
from tests.integration.forwards import check_forwards
from tests.integration.reading import all_committed, counts_at_rest, difference, public_counts, read_all
from tests.integration.worker_process import BOUND_S, Deployment, eventually
from tests.integration.writing import made_load, writer
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

#: Connections that a worker may try in a second, to an address where nobody is; a stock client tries 20.
MOST_A_SECOND = 25


def port_of(addresses: str) -> int:
    return int(addresses.rpartition(":")[2])


@pytest.fixture
async def name(own_kafka: BreakableKafka) -> AsyncIterator[Relay]:
    """What stands for the bootstrap name: it leads to where the broker is."""
    relay = Relay(port_of(own_kafka.bootstrap), seed=1)
    await relay.start()
    yield relay
    await relay.stop()


@asynccontextmanager
async def nobody_there(port: int) -> AsyncIterator[list[float]]:
    """Hang up on whoever connects to ``port``; yields the times."""
    times: list[float] = []

    async def hang_up(_: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        times.append(time.monotonic())
        to.transport.abort()

    server = await asyncio.start_server(hang_up, HOST, port)
    try:
        yield times
    finally:
        server.close()


async def test_workers_find_brokers_that_have_moved(
    own_deployment: Deployment, own_kafka: BreakableKafka, name: Relay
) -> None:
    own_deployment.configure(brokers=name.address)
    settings = own_deployment.settings
    worker = await own_deployment.worker().start().ready()
    async with writer(settings) as out, public_counts(settings) as counts:
        await out.made(made_load(seed=51, count=2000))
        await counts.reach(out.published.counts)
        # Some of these are counted, and not yet durable, when the brokers go.
        await out.made(made_load(seed=52, count=2000))
    published, before = out.published, port_of(own_kafka.bootstrap)
    name.target = port_of(await asyncio.to_thread(own_kafka.move))
    assert name.target != before
    name.cut()
    async with nobody_there(before) as tried:
        began = time.monotonic()
        async with writer(settings) as out, public_counts(settings) as counts:
            out.published = published
            await out.made(made_load(seed=53, count=2000))
            await counts.reach(published.counts)
            await eventually("the ends are committed", lambda: all_committed(settings))
        await worker.ready()
        most = 100 + MOST_A_SECOND * (time.monotonic() - began)
        assert len(tried) < most, len(tried)
        assert (await asyncio.to_thread(worker.get, "/livez"))[0] == 200
        await worker.stop()
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == published.counts, difference(at_rest.now(), published.counts)
    await check_forwards(settings, published, repeats=True)
    assert "Traceback" not in worker.log()
    assert "with those that the bootstrap addresses name" in worker.log()


async def test_a_worker_told_to_stop_ends_while_the_name_leads_nowhere(
    own_deployment: Deployment, own_kafka: BreakableKafka, name: Relay
) -> None:
    own_deployment.configure(brokers=name.address)
    worker = await own_deployment.worker(drain_deadline_s="5").start().ready()
    await asyncio.to_thread(own_kafka.kill)
    name.cut()
    await eventually("it asks the name", lambda: "bootstrap address" in worker.log())
    assert (await asyncio.to_thread(worker.get, "/livez"))[0] == 200
    assert (await asyncio.to_thread(worker.get, "/readyz"))[0] == 503
    await worker.stop()
    assert "Traceback" not in worker.log()


async def test_a_publishing_driver_finds_brokers_that_have_moved(
    own_kafka: BreakableKafka, name: Relay, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the process of another service, whose own clients stay as they are."""
    stock = AIOKafkaClient._metadata_update, ClusterMetadata.update_metadata
    monkeypatch.setattr(rebootstrap, "AFTER_S", 0.0)
    await create_topics(own_kafka.bootstrap, NewTopic(unique, 1, 1))
    driver = KafkaDriver(settings=load_settings(brokers=name.address))
    try:
        await driver.apush(Outgoing(unique, b"before", b"k"))
        assert await asyncio.to_thread(driver.flush, BOUND_S)
        await moved(own_kafka, name)
        await driver.apush(Outgoing(unique, b"after", b"k"))
        assert await asyncio.to_thread(driver.flush, BOUND_S)
    finally:
        await asyncio.to_thread(driver.close)
    records = await read_all(name.address, unique)
    assert [record.value for record in records] == [b"before", b"after"]
    assert (AIOKafkaClient._metadata_update, ClusterMetadata.update_metadata) == stock


# --- A client ------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients ask the bootstrap addresses again, without a wait; undone afterwards."""
    for owner, part in ((AIOKafkaClient, "_get_conn"), (AIOKafkaClient, "_metadata_update")):
        monkeypatch.setattr(owner, part, getattr(owner, part))
    monkeypatch.setattr(ClusterMetadata, "update_metadata", ClusterMetadata.update_metadata)
    monkeypatch.setattr(rebootstrap, "AFTER_S", 0.0)
    monkeypatch.setattr(rebootstrap, "AGAIN_S", 0.0)
    rebootstrap.install_rebootstrap()


async def connected(name: Relay) -> AIOKafkaClient:
    return await connect_client({"bootstrap_servers": name.address}, "none")


def ports(client: AIOKafkaClient) -> set[int]:
    return {broker.port for broker in client.cluster.brokers()}


async def moved(own_kafka: BreakableKafka, name: Relay) -> int:
    name.target = port_of(await asyncio.to_thread(own_kafka.move))
    name.cut()
    return name.target


async def test_stock_aiokafka_asks_the_old_addresses_for_ever(own_kafka: BreakableKafka, name: Relay) -> None:
    """The control: if this fails, aiokafka bootstraps again by itself, and ``rebootstrap`` may go."""
    client = await connected(name)
    before = ports(client)
    await moved(own_kafka, name)
    for _ in range(3):
        assert not await client.force_metadata_update()
    assert ports(client) == before
    await client.close()


@pytest.mark.usefixtures("installed")
async def test_a_client_goes_on_at_the_addresses_that_the_name_leads_to(
    own_kafka: BreakableKafka, name: Relay
) -> None:
    client = await connected(name)
    now_at = await moved(own_kafka, name)
    await eventually("it knows the new address", client.force_metadata_update)
    assert ports(client) == {now_at}
    assert await client.ready(1)
    await client.close()


@pytest.mark.usefixtures("installed")
async def test_another_cluster_behind_the_name_is_not_taken(
    kafka: LocalKafka, own_kafka: BreakableKafka, name: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connected(name)
    before = ports(client)
    await asyncio.to_thread(own_kafka.kill)
    name.target = port_of(kafka.bootstrap)
    name.cut()

    async def refused() -> bool:
        # An update that was under way when the connection broke asks nobody new.
        assert not await client.force_metadata_update()
        return "leads to another cluster" in caplog.text

    await eventually("it is refused", refused)
    assert ports(client) == before
    await client.close()
