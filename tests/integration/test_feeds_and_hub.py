"""Feeds of real workers, a WebSub hub that others wrote, and a subscriber of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import feedparser
import orjson
import pytest
from aiohttp import web

from streams.notifications import Priority, encode
from tests.integration.forwards import read_forwards
from tests.integration.worker_process import Deployment, Worker, eventually
from tests.integration.writing import Writer, writer
from tests.ports import free_port
from tests.websub import flask_websub_hub, links_of, listening, subscriber

pytestmark = pytest.mark.kafka

PATTERN = "compute.*"
#: Far more than it takes: it says that the hub was told of it then, and did not fetch the feed by itself.
BOUND_S = 60.0


async def publish(
    out: Writer, topic: str, event_type: str, message_id: str, priority: Priority = Priority.CRITICAL
) -> None:
    """Publish a notification with a secret in it."""
    now_ms = int(time.time() * 1000)
    payload = {"password": "hush", "id": message_id}
    value = encode("compute.host1", event_type, priority, payload, now_ms, message_id)
    await out.raw(topic, value)


def base(worker: Worker) -> str:
    assert worker.address is not None
    return "http://{}:{}".format(*worker.address)


def payloads(document: bytes) -> list[str]:
    """Ids in the payloads of the entries of a feed."""
    found = feedparser.parse(document)
    assert not found.bozo, found.get("bozo_exception")
    return [orjson.loads(entry.content[0].value)["notification"]["payload"]["id"] for entry in found.entries]


def pings(worker: Worker, result: str) -> int:
    _, metrics = worker.get("/metrics")
    (line,) = [
        each
        for each in metrics.decode().splitlines()
        if each.startswith(f'tocsin_hub_pings_total{{result="{result}"')
    ]
    return int(float(line.rpartition(" ")[2]))


async def test_a_subscriber_gets_what_was_published_through_a_hub(
    deployment: Deployment, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    settings = deployment.settings
    topic = settings.notification_topic(Priority.INFO)
    port = free_port()
    feed_url = f"http://127.0.0.1:{port}"
    with flask_websub_hub(tmp_path) as hub:
        # As docs/ways.md has it: what nova says of instances is INFO.
        deployment.configure(
            forward_priorities="critical,error,warn,info",
            feed_events=PATTERN,
            feed_hub=hub,
            feed_url=feed_url,
        )
        worker = await deployment.worker(web_port=str(port)).start().ready()
        async with writer(settings) as out, subscriber() as reader, aiohttp.ClientSession() as client:
            # The subscriber finds the hub and the feed's own address in the feed, and there alone.
            links = await links_of(client, f"{feed_url}/feeds/events/{PATTERN}.atom")
            assert links["hub"] == hub
            await reader.subscribe(links["hub"], links["self"])
            begun = time.monotonic()
            await publish(out, topic, "compute.instance.create.end", "first", Priority.INFO)
            async with asyncio.timeout(BOUND_S):
                document = await reader.received.get()
            taken = time.monotonic() - begun
            record_property("seconds from the notification to the subscriber's callback", f"{taken:.2f}")
            print(f"from the notification to the subscriber's callback: {taken:.2f} s")
            assert payloads(document) == ["first"]
            assert b"hush" not in document
            assert "hush" not in str(feedparser.parse(document).entries)
            await publish(out, topic, "compute.instance.create.end", "second", Priority.INFO)
            async with asyncio.timeout(BOUND_S):
                document = await reader.received.get()
                # A ping whose answer is late is sent again, and the hub delivers again.
                while payloads(document) == ["first"]:
                    document = await reader.received.get()
            assert payloads(document) == ["second", "first"]
            # A type of another feed: the hub is told of that alone.
            before = await asyncio.to_thread(pings, worker, "accepted")
            await publish(out, topic, "volume.create.end", "third", Priority.INFO)

            async def told() -> bool:
                return await asyncio.to_thread(pings, worker, "accepted") >= before + 2

            await eventually("the hub was told of the other feeds", told)
            while not reader.received.empty():
                assert payloads(reader.received.get_nowait()) == ["second", "first"]
            assert reader.refused == []
        await worker.stop()


async def test_a_hub_that_hangs_delays_no_alert(deployment: Deployment) -> None:
    asked, settings = asyncio.Event(), deployment.settings

    async def hang(request: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    topic = settings.notification_topic(Priority.CRITICAL)
    async with listening(hang) as hub, writer(settings) as out:
        deployment.configure(feed_hub=hub, feed_url="http://feeds.example.org")
        worker = await deployment.worker().start().ready()
        await publish(out, topic, "compute.error", "first")
        await asked.wait()
        for number in range(50):
            await publish(out, topic, "compute.error", f"{number}")

        async def forwarded() -> bool:
            return len(await read_forwards(settings, "critical")) == 51

        await eventually("all are forwarded", forwarded)
        # The hub has taken none so far, and still the feed has them all.
        assert await asyncio.to_thread(pings, worker, "accepted") == 0

        async def shown() -> bool:
            return len(payloads((await asyncio.to_thread(worker.get, "/feeds/alerts.atom"))[1])) == 51

        await eventually("the feed has them all", shown)
        await worker.stop()


async def test_every_worker_serves_the_same_feed_and_one_tells_the_hub(deployment: Deployment) -> None:
    settings, told = deployment.settings, []

    async def take(request: web.Request) -> web.Response:
        told.append((await request.post())["hub.topic"])
        return web.Response(status=204)

    topic = settings.notification_topic(Priority.CRITICAL)
    async with listening(take) as hub, writer(settings) as out:
        deployment.configure(feed_hub=hub, feed_url="http://feeds.example.org", feed_pings="alerts")
        workers = [await deployment.worker(name).start().ready() for name in ("one", "two")]
        await asyncio.gather(*(worker.ready() for worker in workers))
        for number in range(10):
            await publish(out, topic, "compute.error", f"{number}")

        async def same() -> bool:
            found = [await asyncio.to_thread(worker.get, "/feeds/alerts.atom") for worker in workers]
            return found[0] == found[1] and found[0][0] == 200 and len(payloads(found[0][1])) == 10

        await eventually("both serve the same feed with all alerts", same)
        accepted: list[int] = []

        async def some_told() -> bool:
            accepted[:] = [await asyncio.to_thread(pings, worker, "accepted") for worker in workers]
            return any(accepted)

        await eventually("the hub was told", some_told)
        assert sorted(map(bool, accepted)) == [False, True]
        # The other one takes over, and tells of the feed.
        teller, other = workers if accepted[0] else workers[::-1]
        await teller.stop()

        async def taken_over() -> bool:
            return await asyncio.to_thread(pings, other, "accepted") > 0

        await eventually("the other one tells", taken_over)
        # What is started now has the same feed as a worker that saw all come.
        new = await deployment.worker("three").start().ready()
        views = await deployment.worker("web", command=["tocsin", "web"]).start().ready()
        for started in (new, views):
            workers[:] = [other, started]
            await eventually(f"{started.name} serves the same feed", same)
        await views.stop()
        assert set(told) == {"http://feeds.example.org/feeds/alerts.atom"}
