"""Hostile records in every public topic, shown in a browser: nothing of theirs runs or is hidden."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import aiohttp
import orjson
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from playwright.async_api import Browser, expect

from streams.notifications import Priority
from streams.notifications.visible import visible_lines
from streams.settings import Settings
from tables.fleet.state import DeadLetters, Partitions
from tests.admin import PATIENT
from tests.browser.pages import MARKS, Pages
from tests.browser.served import Served, address_of, serve
from tests.integration.worker_process import eventually
from tests.unit.tables.fleet.states import class_state, row
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = MARKS

_RUNS: Final = "document.body.dataset.hacked=1"
TEXTS: Final = [
    f"<script>{_RUNS}</script>",
    f'</td></table></pre></textarea></svg><img src=x onerror="{_RUNS}">',
    "\u202e\u2066gnp.exe\u2069\u200b\u3164\x1b[2J",
    f"\"'` autofocus onfocus={_RUNS} x='",
    "{{ 7 * 7 }}{% raw %}<%= 7 %>",
    "x" * 100_000,
]
#: Rows of the status topic that are none: deep, in no encoding, with numbers that are none, and too long.
NO_ROWS: Final = [
    b"\xff" * 100,
    b"[" * 60_000,
    b'{"v":NaN}',
    b'{"v":1,"app":1e999}',
    row("r").replace(b'"event_types":5', b'"event_types":-5'),
    b"x" * 900_000,
]
SECRET: Final = "hunter2-hunter2"
_HIDDEN: Final = re.compile("[\u202e\u2066\u2069\u200b\u3164\x1b]")


def notification(text: str) -> bytes:
    names = dict.fromkeys(("publisher_id", "priority", "message_id", "timestamp"), text)
    return orjson.dumps(names | {"event_type": text[:4000], "payload": {text: [text], "password": SECRET}})


def alert(text: str) -> bytes:
    """As no worker writes it: secrets are not masked."""
    return orjson.dumps(
        {
            "labels": {"alertname": text, "publisher_id": text, text: text, "said": f"password={SECRET}"},
            "annotations": {"summary": f"{text[:100]} token={SECRET}", text: text},
            "repairs": [text],
            "deadLetter": {"topic": text, "id": text, "reason": text},
            "examples": [{"topic": text, "partition": 2**63 - 1, "offset": -5, "message_id": text}],
            "notification": {text: text, "admin_pass": SECRET},
        }
    )


def letter_headers(text: str) -> list[tuple[str, bytes]]:
    names = dict.fromkeys(("reason", "detail", "topic"), text.encode())
    numbers = dict.fromkeys(("partition", "offset", "timestamp-ms"), b"3")
    return [
        (f"tocsin-{name}", value) for name, value in {"id": text[:500].encode(), **names, **numbers}.items()
    ]


def status_row(text: str, app: str) -> bytes:
    few = text[:50]
    return row(
        few,
        app=app,
        version=few,
        host=text[:500],
        pool=few,
        reasons=[text[:500]],
        mode=few,
        profile=few,
        classes={few: class_state(), "ERROR": class_state()},
        partitions=[Partitions(text[:500], few, [1, 2**31 - 1], few)],
        dead_letters=[DeadLetters(few, few, 2**62)],
        repairs={few: 1},
    )


async def fill(served: Served, settings: Settings) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, max_request_size=10**7, **PATIENT)
    await producer.start()
    for text in TEXTS:
        for value in (notification(text), text.encode()):
            await served.out.raw(settings.notification_topic(Priority.ERROR), value)
        headers: Sequence[tuple[str, bytes]] = [
            (name, text.encode()) for name in ("ce_id", "ce_subject", "ce_time")
        ]
        await producer.send_and_wait(settings.alert_topic(Priority.ERROR), alert(text), headers=headers)
        await producer.send_and_wait(settings.dead_letter_topic, text.encode(), headers=letter_headers(text))
    await producer.stop()


async def fill_status(settings: Settings) -> None:
    """Rows of workers, which are forgotten when none has come for minutes."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.brokers, max_request_size=10**7, **PATIENT)
    async with producer:
        for text in TEXTS:
            value = status_row(text, settings.app_id)
            await producer.send_and_wait(settings.status_topic, value, key=text[:500].encode())
        for value in NO_ROWS:
            await producer.send_and_wait(settings.status_topic, value, key=b"bad")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hostile(
    browser: Browser, kafka: LocalKafka, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A worker and ``tocsin web`` over topics in which all of that lies."""
    async with serve(kafka.bootstrap, tmp_path_factory.mktemp("hostile"), web_payloads="true") as served:
        web = served.deployment.worker("web", command=["tocsin", "web"]).start()
        await fill(served, served.settings)
        await web.ready()
        yield served


async def items_of(client: aiohttp.ClientSession, path: str, name: str = "items") -> list[Any]:
    """What is listed there; nothing while Kafka does not answer in time, as on a busy machine."""
    async with client.get(path) as answer:
        assert answer.status in {200, 503}
        found: list[Any] = (await answer.json())[name] if answer.status == 200 else []
        return found


@pytest.mark.parametrize("which", ["worker", "web"])
async def test_nothing_of_hostile_records_runs_or_is_hidden(
    browser: Browser, hostile: Served, which: str
) -> None:
    process = next(each for each in hostile.deployment.workers if each.name == which)
    address = address_of(process)
    await fill_status(hostile.settings)
    pages = Pages(browser, address)
    page = await pages.new()
    async with aiohttp.ClientSession(address) as client:
        # Each is an alert of its own, and the alert of a notification and that of a dead letter besides.
        number = 3 * len(TEXTS)
        paths = ["", "counts", "alerts", "flow", "dead-letters"]

        async def all_are_there() -> bool:
            alerts = await items_of(client, "api/v1/alerts?limit=100")
            workers = await items_of(client, "api/v1/workers", "workers")
            letters = await items_of(client, "api/v1/dead-letters")
            ok = len(workers) == 1 + len(TEXTS)
            return ok and len(alerts) == number and len(letters) >= 2 * len(TEXTS) - 1

        await eventually("all that was written is shown", all_are_there)
        alerts = await items_of(client, "api/v1/alerts?limit=100")
        assert len(alerts) == number
        paths += [each["link"].lstrip("/") for each in alerts]
        for path in ("api/v1/workers", "api/v1/dead-letters", "metrics"):

            async def clean(path: str = path) -> bool:
                async with client.get(path) as given:
                    assert given.status in {200, 503}, path
                    assert _HIDDEN.search(await given.text()) is None, path
                    return given.status == 200

            await eventually(f"{path} is given", clean)
    for path in paths:
        answer = await page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        text = await answer.text()
        assert _HIDDEN.search(text) is None, path
        assert SECRET not in text, path
        assert await page.evaluate("document.body.dataset.hacked") is None, path
        assert "49" not in await page.locator("h1").all_inner_texts()
    await pages.close()
    assert pages.errors == [], "nor was anything kept from running"
    log = process.log()
    assert visible_lines(log) == log
    assert "Traceback" not in log
    assert max(map(len, log.splitlines())) < 2000


async def test_a_dead_letter_that_comes_alone_is_shown_by_tocsin_web(
    browser: Browser, hostile: Served
) -> None:
    web = next(each for each in hostile.deployment.workers if each.name == "web")
    pages = Pages(browser, address_of(web))
    page = await pages.open("dead-letters")
    async with AIOKafkaProducer(bootstrap_servers=hostile.settings.brokers, **PATIENT) as producer:
        # Straight into its topic: no worker has counted or said anything.
        await producer.send_and_wait(
            hostile.settings.dead_letter_topic, b"x", headers=letter_headers("reason-of-its-own")
        )
    await expect(page.locator("#letters tr").filter(has_text="reason-of-its-own")).to_have_count(1)
    await pages.close()
