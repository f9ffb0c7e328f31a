"""The web views on a real Kafka: live stream of a worker, and ``tocsin web`` beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.notifications import Priority, encode
from streams.settings import EXIT_AWAY, EXIT_CONFIG
from tables.views.metric_defs import METRICS
from tests.integration.reading import Counts
from tests.integration.worker_process import BOUND_S, Deployment, Worker, eventually
from tests.integration.writing import Writer, made_load, writer
from tests.live_reader import LiveReader, live_reader
from tocsin.local_kafka.cluster import LocalKafka

# They share a worker.
pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("web")]

WEB = ["tocsin", "web"]
ADMIN = "sixteen-letters-long"


@pytest.fixture(scope="module")
def shared(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Topics with a worker that all tests here share, called ``worker``."""
    made = Deployment(kafka.bootstrap, f"t{uuid.uuid4().hex[:12]}", tmp_path_factory.mktemp("web"))
    made.configure(flush_interval_s="0.2", admin_token=ADMIN)
    made.worker().start()
    yield made
    for worker in made.workers:
        worker.cleanup()
        print(f"---------------- end of the log of {worker.name}\n{worker.tail()}")


@asynccontextmanager
async def client_of(worker: Worker) -> AsyncIterator[aiohttp.ClientSession]:
    await worker.ready()
    assert worker.address is not None
    host, port = worker.address
    async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
        yield client


async def counts_of(client: aiohttp.ClientSession) -> Counts:
    """All totals, page by page."""
    found: Counts = Counter()
    asked = {"window": "total", "limit": "1000", "sort": "event_type"}
    while True:
        async with client.get("/api/v1/counts", params=asked) as answer:
            body = await answer.json()
        found.update({(item["priority"], item["event_type"]): item["count"] for item in body["items"]})
        if body["next"] is None:
            return found
        asked["cursor"] = body["next"]


async def publish(out: Writer, count: int) -> Counts:
    """Publish some notifications; what was published with this writer so far."""
    await out.made(made_load(seed=count, count=count))
    return out.published.counts


async def grows_by(reader: LiveReader, before: dict[tuple[str, str], int], published: Counts) -> None:
    """Read until the counts are those of before and what was published."""
    await reader.until(dict(Counter(before) + published))


@pytest.mark.parametrize("serves", ["worker", "web"])
async def test_what_is_published_comes_in_the_live_stream_and_in_the_answers(
    shared: Deployment, serves: str
) -> None:
    worker = await shared.workers[0].ready()
    if serves == "web":
        worker = shared.worker("web", command=WEB).start()
    async with (
        client_of(worker) as client,
        writer(shared.settings) as out,
        # While somebody else reads the same, what is missed is kept for who comes again, however late.
        live_reader(client, window="total"),
    ):
        async with live_reader(client, window="total") as reader:
            assert (await reader.next()).name == "snapshot"
            before = dict(reader.counts)
            for count in (50, 20):
                published = await publish(out, count)
                async with asyncio.timeout(BOUND_S):
                    await grows_by(reader, before, published)
            assert {event.name for event in reader.events[1:]} == {"delta"}
            last = reader.events[-1].id
        assert await counts_of(client) == Counter(before) + published
        published = await publish(out, 10)
        async with live_reader(client, last, window="total") as again:
            again.counts = dict(reader.counts)
            async with asyncio.timeout(BOUND_S):
                await grows_by(again, before, published)
            assert {event.name for event in again.events} == {"delta"}
        async with client.get("/api/v1/counts?window=total&limit=1000") as answer:
            etag = answer.headers["ETag"]
        async with client.get(
            "/api/v1/counts?window=total&limit=1000", headers={"If-None-Match": etag}
        ) as answer:
            assert answer.status == 304
    if serves == "web":
        await worker.stop()


@pytest.mark.parametrize("serves", ["worker", "web"])
async def test_a_forwarded_critical_comes_on_the_page_of_alerts_and_in_the_api(
    shared: Deployment, serves: str
) -> None:
    worker = await shared.workers[0].ready()
    if serves == "web":
        worker = shared.worker("web", command=WEB, web_payloads="true").start()
    event_type = f"fire.{uuid.uuid4().hex[:8]}"
    async with client_of(worker) as client, writer(shared.settings) as out:
        value = encode(
            "rack.host7", event_type, Priority.CRITICAL, {"password": "hush", "rack": 7}, 0, "first"
        )
        await out.raw(shared.settings.notification_topic(Priority.CRITICAL), value)

        async def groups() -> list[dict[str, object]]:
            async with client.get("/api/v1/alerts/groups", params={"event_type": event_type}) as answer:
                body = await answer.json()
                assert answer.status == 200, body
                return [*body["items"]]

        async def came() -> bool:
            return bool(await groups())

        await eventually("the alert has come", came)
        [group] = await groups()
        assert (group["publisher"], group["count"]) == ("rack.host7", 1)
        body: dict[str, Any] = {}

        async def whole() -> bool:
            # For a moment the reader may wait for an answer of a busy broker.
            nonlocal body
            async with client.get("/api/v1/alerts", params={"publisher": "rack.*", "limit": 1}) as answer:
                body = await answer.json()
            return (body["complete"], body["trouble"]) == (True, None)

        await eventually("nothing is missing", whole)
        [item] = body["items"]
        assert item["event_type"] == event_type
        assert body["as_of"] is not None
        place = f"{item['topic']}/{item['partition']}/{item['offset']}"
        async with client.get("/alerts", params={"event_type": event_type}) as answer:
            page = await answer.text()
        assert page.count('<tr data-key="') == 2, "one group, and one of the latest"
        link = item["link"].replace("&", "&amp;").removeprefix("/")
        assert page.count(f'<a href="{link}">') == 2
        async with client.get(item["link"]) as answer:
            assert answer.status == 200
            page = await answer.text()
        assert ("&#34;rack&#34;: 7" in page, "hush" in page) == (serves == "web", False)
        async with client.get(f"/api/v1/alerts/{place}") as answer:
            one = await answer.json()
        assert one["alert"] == item
        shown = {"password": "***", "rack": 7} if serves == "web" else None
        assert (one["notification"] and one["notification"]["payload"]) == shown
    if serves == "web":
        await worker.stop()


async def test_another_process_takes_the_place_of_one_that_has_gone_and_sends_a_snapshot(
    shared: Deployment,
) -> None:
    first, second = (shared.worker(name, command=WEB).start() for name in ("first", "second"))
    async with client_of(first) as client, live_reader(client, window="total") as reader:
        await reader.next()
        before = reader.counts
        first.kill()
        with pytest.raises((EOFError, aiohttp.ClientError)):
            while True:
                await reader.next()
    async with client_of(second) as client, writer(shared.settings) as out:
        published = await publish(out, 10)
        async with live_reader(client, reader.events[-1].id, window="total") as again:
            assert (await again.next()).name == "snapshot"
            if again.counts != dict(Counter(before) + published):
                await grows_by(again, before, published)
        # SIGTERM ends it while somebody reads.
        async with live_reader(client) as reading:
            await reading.next()
            await second.stop()
    assert "The web views have stopped." in second.log()


async def test_a_reader_that_stands_still_is_cut_off_and_the_others_read_on(shared: Deployment) -> None:
    web = shared.worker("web", command=["tests.integration.impatient_web", "web"], web_live_clients="2")
    async with client_of(web.start()) as client, writer(shared.settings) as out:
        # More than the kernel keeps for one that does not read.
        topic = shared.settings.notification_topic(Priority.DEBUG)
        names = [f"{number:04}.{'x' * 250}" for number in range(1500)]
        for start in range(0, len(names), 100):
            some = names[start : start + 100]
            await asyncio.gather(*(out.raw(topic, notification(name)) for name in some))
        async with live_reader(client, priority="CRITICAL") as reader:
            await reader.next()
            async with live_reader(client) as all_counts, asyncio.timeout(BOUND_S):
                while len(all_counts.counts) < len(names):
                    await all_counts.next()
                async with client.get("/api/v1/events") as refused:
                    assert refused.status == 503, "there are two readers, and no more may be"
            await eventually("one is left", lambda: has(client, "tocsin_web_live_clients", 1))
            assert web.address is not None
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(web.address)
                deaf.sendall(b"GET /api/v1/events?window=1h HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert await asyncio.to_thread(deaf.recv, 12) == b"HTTP/1.1 200"
                await eventually("it is cut off", lambda: has(client, "tocsin_web_live_dropped_total", 1))
            published = await publish(out, 30)
            expected = {key for key in published if key[0] == "CRITICAL"}
            async with asyncio.timeout(BOUND_S):
                while not expected <= reader.counts.keys():
                    await reader.next()
    await web.stop()


def notification(event_type: str) -> bytes:
    return orjson.dumps(
        {
            "_id": uuid.uuid4().hex,
            "publisher_id": "test",
            "event_type": event_type,
            "priority": "DEBUG",
            "payload": {},
        }
    )


async def has(client: aiohttp.ClientSession, metric: str, wanted: float) -> bool:
    """Whether a metric without labels has this value."""
    async with client.get("/metrics") as answer:
        text = await answer.text()
    [value] = [line for line in text.splitlines() if line.startswith(f"{metric} ")]
    return float(value.split()[1]) == wanted


async def test_tocsin_web_has_the_metrics_of_the_counts_alone_and_no_scheduler_to_change(
    shared: Deployment,
) -> None:
    web = shared.worker("web", command=WEB).start()
    async with client_of(web) as client:
        async with client.get("/metrics") as answer:
            families = {each.name for each in text_string_to_metric_families(await answer.text())}
        wanted = {each.name.removesuffix("_total") for each in METRICS if each.of_web}
        assert {name for name in families if name.startswith("tocsin_")} == wanted
        assert len(wanted) < len(METRICS) / 2
        async with client.get("/api/v1/scheduler") as answer:
            body = await answer.json()
            assert (body["classes"], body["scope"]) == ([], "no worker")
        async with client.put("/api/v1/scheduler") as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["status"], answer.headers["Allow"]) == (405, 405, "GET,HEAD")
            assert "send this to the web views of a worker" in problem["detail"]
        for path in ("/", "/livez", "/readyz", "/startupz", "/api/v1/counts"):
            async with client.get(path) as answer:
                assert answer.status == 200
    # A process without Faust and RocksDB; the worker is the control.
    maps = [Path(f"/proc/{each.process.pid}/maps").read_text() for each in (shared.workers[0], web)]
    assert ["rocksdict" in each for each in maps] == [True, False]
    await web.stop()


CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


async def asked_everything(worker: Worker, folder: Path, operations: int) -> str:
    """Ask a worker whatever its OpenAPI document allows, and more; what was found is "" when it is nothing.

    All ``operations`` but the live stream, whose answers have no end, and the document itself.
    """
    assert worker.address is not None
    host, port = worker.address
    command = [
        f"http://{host}:{port}/api/v1/openapi.json",
        *("--exclude-path", "/api/v1/events", "--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--generation-deterministic"),
        *("--header", f"Authorization: Bearer {ADMIN}", "--warnings", "off", "--no-color"),
        *("--request-timeout", "120", "--suppress-health-check", "too_slow"),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run", *command),
        cwd=folder,  # it keeps what it has found
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert f"Tested: {operations}" in out.decode(), out.decode()
    return "" if process.returncode == 0 else out.decode()


@pytest.mark.parametrize("broken", [False, True], ids=["as it is", "control"])
async def test_whatever_is_asked_of_the_api_no_answer_breaks_its_schema(
    shared: Deployment, tmp_path: Path, broken: bool
) -> None:
    worker = await shared.workers[0].ready()
    if broken:
        worker = shared.worker("broken", command=["tests.integration.undocumented_web", "web"]).start()
        await worker.ready()
    async with writer(shared.settings) as out:
        await publish(out, 20)
    found = await asked_everything(worker, tmp_path, 14 if broken else 15)
    if not broken:
        assert found == ""
        return
    assert "Response violates schema" in found
    assert "Undocumented HTTP status code" not in found
    await worker.stop()


# ---------------------------------------------------------------- before there is anything to serve


async def test_it_waits_for_the_topic_and_makes_none(deployment: Deployment) -> None:
    web = deployment.worker("web", command=WEB).start()
    await eventually("it says what it waits for", lambda: "There is no topic" in web.log())
    for path, status in (("/startupz", 503), ("/readyz", 503), ("/livez", 200)):
        assert (await asyncio.to_thread(web.get, path))[0] == status
    worker = deployment.worker().start()
    await web.ready()
    await worker.ready()
    await asyncio.gather(web.stop(), worker.stop())


@pytest.mark.parametrize("missing", ["brokers", "topic"])
async def test_what_does_not_come_in_time_is_75(deployment: Deployment, missing: str) -> None:
    away = {"brokers": "127.0.0.1:1"} if missing == "brokers" else {}
    # That a topic is missing shows once it is connected; a try has 5 s, and 12 s hold two.
    wait_s = "1" if away else "12"
    web = deployment.worker("web", command=WEB, wait_for_brokers_s=wait_s, **away).start()
    assert await web.ended() == EXIT_AWAY
    assert ("No Kafka broker can be used" if away else "There is no topic") in web.log()


async def test_a_stop_while_it_waits_is_no_failure(deployment: Deployment) -> None:
    web = deployment.worker("web", command=WEB).start()
    await eventually("it waits", lambda: "Waiting for Kafka" in web.log())
    os.kill(web.process.pid, signal.SIGTERM)
    assert await web.ended() == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"web_port": "x"}, "TOCSIN_WEB_PORT"),
        ({"web_host": "192.0.2.1", "web_open": "true"}, "TOCSIN_WEB_HOST"),
    ],
)
async def test_wrong_settings_are_78(deployment: Deployment, wrong: dict[str, str], words: str) -> None:
    web = deployment.worker("web", command=WEB, **wrong).start()
    assert await web.ended() == EXIT_CONFIG
    assert words in web.log()
