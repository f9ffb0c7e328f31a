"""``tocsin bridge http`` on a real Kafka: taken means counted, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.settings import EXIT_AWAY, EXIT_CONFIG
from tests import children
from tests.breakable_kafka import BreakableKafka
from tests.formatted_kafka import FormattedKafka
from tests.integration.reading import (
    all_committed,
    counts_at_rest,
    notification_topics,
    public_counts,
    read_all,
)
from tests.integration.worker_process import BOUND_S, Deployment, Worker, eventually
from tests.paths import ROOT
from tests.ports import free_port
from tests.shared_kafka import START_S
from tocsin.bridge_http.figures import STATUSES
from tocsin.local_kafka.cluster import LocalKafka
from tocsin.local_kafka.process import SHORT_LIFE

# They share a worker.
pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("http-bridge")]

BRIDGE = ["tocsin", "bridge", "http"]
PATH = "/api/v1/notifications"
TOKEN = "0123456789abcdef"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
JSON = {"Content-Type": "application/json"}
_ADDRESS = re.compile(r"The bridge for HTTP is at (http://[0-9.:]+/)")


@pytest.fixture(scope="module")
def shared(kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Topics with a worker that all tests here share, called ``worker``."""
    folder = tmp_path_factory.mktemp("http-bridge")
    tokens = folder / "publishers"
    tokens.write_text(f"nova {TOKEN} compute. /shop\n")
    made = Deployment(kafka.bootstrap, f"t{uuid.uuid4().hex[:12]}", folder)
    made.configure(flush_interval_s="0.2", http_bridge_port="0", http_bridge_tokens_file=str(tokens))
    made.worker().start()
    yield made
    for worker in made.workers:
        worker.cleanup()
        print(f"---------------- end of the log of {worker.name}\n{worker.tail()}")


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BreakableKafka]:
    """A broker that the tests here break, one after another."""
    local = FormattedKafka(
        tmp_path_factory.mktemp("breakable") / "kafka", die_with_parent=True, jvm_options=SHORT_LIFE
    )
    local.start(timeout=START_S)
    yield local
    local.throw_away()


async def address_of(bridge: Worker) -> str:
    """Where a bridge is, once it is ready."""

    async def ready() -> bool:
        assert bridge.runs, f"it ended with {bridge.process.returncode}"
        if (found := _ADDRESS.search(bridge.log())) is None:
            return False
        try:
            async with aiohttp.ClientSession(found[1]) as client, client.get("/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    await eventually("the bridge is ready", ready)
    found = _ADDRESS.search(bridge.log())
    assert found is not None
    return found[1]


@asynccontextmanager
async def client_of(bridge: Worker) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(await address_of(bridge), headers=headers) as client:
        yield client


async def post(client: aiohttp.ClientSession, body: Any, status: int = 202, **headers: str) -> dict[str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post(PATH, data=data, headers=named) as answer:
        found: dict[str, Any] = await answer.json(content_type=None)
        assert answer.status == status, found
        return found


def notification(priority: str, event_type: str = "compute.test") -> dict[str, Any]:
    return {
        "event_type": event_type,
        "publisher_id": "compute.host1",
        "priority": priority,
        "message_id": uuid.uuid4().hex,
        "payload": {"x": 1},
    }


# --- What is taken -------------------------------------------------------------------------


async def test_what_is_taken_is_counted_once_and_alerts_have_its_headers(shared: Deployment) -> None:
    await shared.workers[0].ready()
    bridge = shared.worker("bridge", command=BRIDGE).start()
    before = (await counts_at_rest(shared.settings)).now()
    critical = notification("critical", "compute.down")
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop/1", "type": "order.paid", "data": {"x": 1}}
    binary = {f"ce_{name}": event[name] for name in ("specversion", "id", "source", "type")}
    async with client_of(bridge) as client:
        assert await post(client, critical, traceparent=TRACE) == {"accepted": 1}
        assert await post(client, [notification("error") for _ in range(100)]) == {"accepted": 100}
        lines = b"\n".join(json.dumps(notification("warn")).encode() for _ in range(10))
        assert await post(client, lines, Content_Type="application/x-ndjson") == {"accepted": 10}
        await post(client, event | {"priority": "error"}, Content_Type="application/cloudevents+json")
        await post(client, [event] * 3, Content_Type="application/cloudevents-batch+json")
        await post(client, {"x": 1}, ce_priority="debug", **binary)
        # Nothing of what is refused is counted.
        await post(client, [notification("error"), {"event_type": ""}], 400)
        await post(client, [notification("error"), notification("error") | {"publisher_id": "x"}], 403)
        await post(client, notification("error"), 401, Authorization="Bearer wrong-wrong-wrong-")
        await post(client, notification("error"), 415, Content_Type="text/plain")
        await post(client, b" " * (shared.settings.http_bridge_max_body_bytes + 1), 413)
        async with client.get("/metrics") as answer:
            metrics = {
                (sample.name, *sample.labels.values()): sample.value
                for family in text_string_to_metric_families(await answer.text())
                for sample in family.samples
            }
    answers = {code: metrics["tocsin_http_bridge_answers_total", str(code)] for code in STATUSES}
    assert {code: number for code, number in answers.items() if number} == {
        202: 6, 400: 1, 401: 1, 403: 1, 413: 1, 415: 1
    }  # fmt: skip
    expected = Counter(
        {
            ("CRITICAL", "compute.down"): 1,
            ("ERROR", "compute.test"): 100,
            ("WARN", "compute.test"): 10,
            ("ERROR", "order.paid"): 1,
            ("INFO", "order.paid"): 3,
            ("DEBUG", "order.paid"): 1,
        }
    )
    async with public_counts(shared.settings) as counts:
        await counts.reach(before + expected)
        await eventually("all is committed", lambda: all_committed(shared.settings))
        assert await counts.refresh() == before + expected
    alerts = await read_all(shared.settings.brokers, f"{shared.unique}.out.critical")
    (alert,) = [each for each in alerts if b"compute.down" in each.value]
    headers = dict(alert.headers)
    assert headers["traceparent"] == TRACE.encode()
    assert headers["message-id"] == critical["message_id"].encode()
    await bridge.stop()


# --- Faults --------------------------------------------------------------------------------


class Load:
    """Clients that send until they are told that it was taken, the same again where it was not."""

    def __init__(self, url: str, count: int = 8) -> None:
        self._url = url
        #: Ids of what was answered 202.
        self.taken: set[str] = set()
        #: Statuses of all answers; 0 for none.
        self.statuses: Counter[int] = Counter()
        self._enough = asyncio.Event()
        self._tasks = [asyncio.create_task(self._client()) for _ in range(count)]

    async def _client(self) -> None:
        timeout = aiohttp.ClientTimeout(total=40)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            while not self._enough.is_set():
                batch = [notification("error") for _ in range(5)]
                while not await self._sent(client, batch):
                    await asyncio.sleep(0.1)  # not to keep a processor busy
                self.taken |= {each["message_id"] for each in batch}

    async def _sent(self, client: aiohttp.ClientSession, batch: list[dict[str, Any]]) -> bool:
        try:
            async with client.post(self._url, json=batch) as answer:
                await answer.read()
                self.statuses[answer.status] += 1
                return answer.status == 202
        except (aiohttp.ClientError, TimeoutError):
            self.statuses[0] += 1
            return False

    async def more(self, number: int) -> None:
        """Wait until so many more were taken."""
        wanted = len(self.taken) + number
        await eventually(f"{wanted} are taken", lambda: len(self.taken) >= wanted)

    async def is_refused(self) -> bool:
        """Whether nothing is taken at present; the clients may all be waiting for an answer."""
        async with aiohttp.ClientSession() as client, client.post(self._url, json=[]) as answer:
            return answer.status == 503

    async def end(self) -> None:
        """Send what is begun to its end."""
        self._enough.set()
        await asyncio.gather(*self._tasks)


async def test_killed_with_its_broker_under_load_it_loses_nothing_that_it_took(
    breakable: BreakableKafka, unique: str, tmp_path: Path
) -> None:
    # One that says too soon what is taken has the same broker, and must fail: the control.
    bridges, loads, deployments = {}, {}, {}
    for name, module in (("real", "tocsin"), ("control", "tests.integration.impatient_bridge")):
        deployment = Deployment(breakable.bootstrap, f"{unique}-{name}", tmp_path)
        apply = [sys.executable, "-m", "tocsin", "topics", "apply"]
        children.run(apply, cwd=ROOT, env=deployment.environment(), check=True)
        deployments[name] = deployment
        bridges[name] = deployment.worker(
            name, command=[module, *BRIDGE[1:]], http_bridge_port=f"{free_port()}"
        ).start()
    try:
        for name, bridge in bridges.items():
            loads[name] = Load(f"{await address_of(bridge)}{PATH[1:]}")
        await asyncio.gather(*(load.more(200) for load in loads.values()))
        breakable.kill()
        for name, load in loads.items():
            await eventually(f"{name} says that Kafka is away", load.is_refused)
        for bridge in bridges.values():
            bridge.kill()
        await asyncio.to_thread(breakable.restart_broker)
        for bridge in bridges.values():
            bridge.start()
        await asyncio.gather(*(load.more(200) for load in loads.values()))
        await asyncio.gather(*(load.end() for load in loads.values()))
        lost = {}
        for name, load in loads.items():
            records = await read_all(breakable.bootstrap, *notification_topics(deployments[name].settings))
            found: dict[str, set[bytes]] = defaultdict(set)
            for record in records:
                found[dict(record.headers)["message-id"].decode()].add(record.value)
            lost[name] = len(load.taken - found.keys())
            # What lies there twice was sent twice, and has one id; its value differs by the time it came.
            assert {json.loads(value)["message_id"] for values in found.values() for value in values} == set(
                found
            )
        assert lost["real"] == 0
        assert lost["control"] > 0
        for bridge in bridges.values():
            await bridge.stop()
    finally:
        for bridge in bridges.values():
            bridge.cleanup()
            print(f"---------------- end of the log of {bridge.name}\n{bridge.tail()}")


async def filled(client: aiohttp.ClientSession, body: Any) -> tuple[list[asyncio.Task[int]], int]:
    """Post a body again and again while a broker hangs, each when the one before has been taken.

    Returns:
        Those that were taken and have no answer yet, and the status of the first that was refused.
    """

    async def status() -> int:
        async with client.post(PATH, json=body) as answer:
            return answer.status

    async def under_way() -> float:
        async with client.get("/metrics") as answer:
            text = await answer.text()
        name = "tocsin_http_bridge_waiting_bytes "
        (found,) = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
        return float(found)

    async def taken_or_refused(posted: asyncio.Task[int], before: float) -> bool:
        return posted.done() or await under_way() > before

    taken: list[asyncio.Task[int]] = []
    while True:
        assert len(taken) < 20
        before = await under_way()
        posted = asyncio.create_task(status())
        await eventually("it is taken or refused", partial(taken_or_refused, posted, before))
        if posted.done():
            return taken, posted.result()
        taken.append(posted)


async def test_while_a_broker_hangs_it_says_429_and_what_it_took_before_is_answered_later(
    breakable: BreakableKafka, unique: str, tmp_path: Path
) -> None:
    deployment = Deployment(breakable.bootstrap, unique, tmp_path)
    worker = deployment.worker().start()
    bridge = deployment.worker("bridge", command=BRIDGE, http_bridge_port="0").start()
    try:
        await worker.ready()
        async with client_of(bridge) as client:
            await post(client, notification("info"))
            large = [notification("info") | {"payload": "x" * 900_000} for _ in range(4)]
            breakable.pause()
            taken, refused = await filled(client, large)
            for _ in range(10):
                if refused != 503:
                    break
                # It took so long that the bridge has noticed that no broker answers: once more.
                breakable.resume()
                await asyncio.gather(*taken)
                await address_of(bridge)
                breakable.pause()
                taken, refused = await filled(client, large)
            assert refused == 429
            assert taken
            # SIGTERM now: what was taken has its answer first.
            bridge.terminate()
            breakable.resume()
            assert await asyncio.gather(*taken) == [202] * len(taken)
            assert await bridge.ended() == 0
        records = await read_all(breakable.bootstrap, f"{unique}.in.info")
        ids = {dict(record.headers)["message-id"] for record in records}
        assert {each["message_id"].encode() for each in large} <= ids
        await worker.stop()
    finally:
        breakable.resume()
        for each in (worker, bridge):
            each.cleanup()
            print(f"---------------- end of the log of {each.name}\n{each.tail()}")


# --- Its start -----------------------------------------------------------------------------


async def test_it_waits_for_brokers_and_topics_and_makes_none(deployment: Deployment) -> None:
    deployment.configure(http_bridge_port="0", wait_for_brokers_s="1")
    away = deployment.worker("away", command=BRIDGE, brokers="127.0.0.1:1").start()
    # That a topic is missing shows once it is connected; a try has 5 s, and 12 s hold two.
    bare = deployment.worker("bare", command=BRIDGE, wait_for_brokers_s="12").start()
    assert (await away.ended(), await bare.ended()) == (EXIT_AWAY, EXIT_AWAY)
    assert "No Kafka broker can be used" in away.log()
    assert "tocsin topics apply" in bare.log()
    wrong = deployment.worker("wrong", command=BRIDGE, http_bridge_host="*").start()
    assert await wrong.ended() == EXIT_CONFIG
    assert "set TOCSIN_HTTP_BRIDGE_TOKENS_FILE" in wrong.log()


# --- Whatever is asked ---------------------------------------------------------------------

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.mark.parametrize("broken", [False, True], ids=["as it is", "control"])
async def test_whatever_is_asked_no_answer_breaks_the_document(
    shared: Deployment, tmp_path: Path, broken: bool
) -> None:
    await shared.workers[0].ready()
    module = "tests.integration.undocumented_bridge" if broken else "tocsin"
    bridge = shared.worker("asked", command=[module, *BRIDGE[1:]]).start()
    command = [
        f"{await address_of(bridge)}openapi.json",
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", "25", "--generation-deterministic", "--warnings", "off", "--no-color"),
        *("--header", f"Authorization: Bearer {TOKEN}"),
        # It answers when Kafka has confirmed.
        *("--request-timeout", "120", "--suppress-health-check", "too_slow"),
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run", *command),
        cwd=tmp_path,  # it keeps what it has found
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(BOUND_S):
        out, _ = await process.communicate()
    text = out.decode()
    assert "Tested: 5" in text, text  # all but the document
    if not broken:
        assert process.returncode == 0, text
    else:
        assert "Response violates schema" in text
        assert "Undocumented HTTP status code" not in text
    await bridge.stop()
