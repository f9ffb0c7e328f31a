"""The Overview: what waits and what is through, the latest alerts, what to do where there is nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import orjson
import pytest

from streams.notifications.priority import Priority
from streams.records import Record
from streams.settings import load_settings
from tables.views import live_counts
from tables.views.server import ViewServer
from tests.unit.tables.fleet.states import class_state, worker_state
from tests.unit.tables.views.test_pages import HOSTILE, load
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill, served


def waiting(**ages: float) -> FakeSources:
    """A worker that has counted something, where of these priorities records wait."""
    fake = FakeSources()
    fill(fake.totals, {("INFO", "a"): {NOW_S - 20: 660}})
    for priority, state in fake.classes.items():
        age_s = ages.get(priority.value, 0.0)
        fake.classes[priority] = replace(state, oldest_age_s=age_s, lag_records=12_345 if age_s else 0)
    return fake


def alert(fake: FakeSources, priority: Priority, event_type: str, offset: int, age_s: float = 60.0) -> None:
    """An alert comes."""
    record = SimpleNamespace(
        offset=offset,
        timestamp=int((NOW_S - age_s) * 1000),
        timestamp_type=0,
        key=None,
        value=orjson.dumps({"labels": {"alertname": event_type}}),
        headers=(),
    )
    place = f"alerts.{priority.value.lower()}", 0
    assert list(fake.alerts.memory.take(place, [cast("Record", record)]))


@asynccontextmanager
async def web(fake: FakeSources) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of ``tocsin web``."""
    server = ViewServer(
        load_settings(web_port=0),
        fake,
        fake,
        fake,
        fake,
        fake.stalls,
        fake.alerts,
        fake,
        fake.letters,
        fleet=fake.fleet,
        of_worker=False,
        clock=lambda: NOW_S + 1.0,
    )
    await server.start()
    try:
        async with aiohttp.ClientSession(server.address) as client:
            yield client
    finally:
        await server.stop()


async def text_of(client: aiohttp.ClientSession) -> str:
    async with client.get("") as answer:
        assert answer.status == 200
        return re.sub(r"<[^>]*>", " ", await answer.text())


async def test_at_a_glance_critical_is_through_while_debug_waits() -> None:
    seen = await load(waiting(DEBUG=200.0), "/")
    assert "CRITICAL, ERROR, WARN and INFO are through; DEBUG waits 3 min." in seen.words
    badges = [span["class"] for span in seen.named("span") if (span.get("class") or "").startswith("badge")]
    assert badges[1:] == ["badge ok"] * 4 + ["badge wait"]
    assert seen.words.count("12.3\u202fk") == 1
    assert "11 /s" in seen.words
    assert "660 in all, at most 660 in a minute" in str([svg.get("aria-label") for svg in seen.named("svg")])


async def test_that_critical_waits_looks_worse_than_that_debug_does() -> None:
    seen = await load(waiting(CRITICAL=200.0), "/")
    assert "CRITICAL waits 3 min; ERROR, WARN, INFO and DEBUG are through." in seen.words
    badges = [span["class"] for span in seen.named("span") if (span.get("class") or "").startswith("badge")]
    assert badges[1:] == ["badge bad"] + ["badge ok"] * 4
    assert [p["class"] for p in seen.named("p") if "sentence" in (p.get("class") or "")] == ["sentence bad"]


async def test_where_nothing_was_ever_counted_it_says_how_to_publish_the_first() -> None:
    fake = waiting()
    fake.totals = FakeSources().totals
    words = (await load(fake, "/")).words
    assert "tocsin publish --priority error --event-type disk.full" in words
    assert "Everything is through" not in words
    assert "tocsin publish" not in (await load(waiting(), "/")).words
    fake.complete = False
    words = (await load(fake, "/")).words
    assert "tocsin publish" not in words, "something may have been counted"
    assert "What waits is not known while the counts are not up to date." in words


async def test_without_a_worker_counts_are_shown_and_why_the_rest_is_missing() -> None:
    fake = waiting(DEBUG=200.0)
    fake.classes = {}
    async with web(fake) as client:
        words = await text_of(client)
    assert "No worker was heard from" in words
    assert "11" in words
    assert words[words.index("Priorities") :].count("not known") == 10
    words = (await load(fake, "/")).words
    assert "this worker starts" in words
    assert "No worker was heard from" not in words


async def test_a_storm_of_errors_leaves_the_latest_critical_in_sight() -> None:
    fake = waiting()
    alert(fake, Priority.CRITICAL, "disk.full", 1, age_s=300)
    for offset in range(50):
        alert(fake, Priority.ERROR, f"error.{offset}", offset)
    heads = (await load(fake, "/")).heads
    assert heads[5:] == ["disk.full", *(f"error.{offset}" for offset in range(49, 42, -1))]


async def test_alerts_come_with_their_rate_and_what_is_not_forwarded_is_told() -> None:
    fake = waiting()
    fill(fake.totals, {("CRITICAL", "disk.full"): {NOW_S - 20: 2, NOW_S - 1000: 3}})
    async with served(fake, forward_priorities="critical") as client:
        words = " ".join((await text_of(client)).split())
    assert "CRITICAL 2 in the last minute, 5 in the last hour" in words
    assert "ERROR 0 in the last minute, 0 in the last hour; not forwarded" in words
    assert "it is not in TOCSIN_FORWARD_PRIORITIES" in words


async def test_it_is_told_where_alerts_cannot_be_read_or_are_not_kept() -> None:
    fake = waiting()
    fake.alerts.trouble = "Alerts cannot be read."
    assert "Alerts cannot be read." in (await load(fake, "/")).words
    fake.alerts.trouble, fake.alerts.most = None, 0
    assert "TOCSIN_FEED_ENTRIES" in (await load(fake, "/")).words


@pytest.mark.parametrize("event_type", HOSTILE)
async def test_hostile_names_of_alerts_are_text_and_nothing_else(event_type: str) -> None:
    fake, plain = waiting(), waiting()
    alert(fake, Priority.ERROR, event_type, 1)
    alert(plain, Priority.ERROR, "plain", 1)
    seen, harmless = await load(fake, "/"), await load(plain, "/")
    assert event_type in seen.heads
    assert [tag for tag in seen.tags if tag[0] != "wbr"] == [tag for tag in harmless.tags if tag[0] != "wbr"]


async def test_all_readers_of_an_address_share_one_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_counts, "_UNCHANGED_S", 1e9)
    fake = waiting()
    asked = 0

    class _Counted(FakeSources):
        def snapshot(self) -> Mapping[Priority, Any]:
            nonlocal asked
            asked += 1
            return fake.classes

    counted = _Counted()
    fill(counted.totals, {("INFO", "a"): {NOW_S - 20: 1}})
    async with served(counted) as client:
        bodies = await asyncio.gather(*(text_of(client) for _ in range(20)))
        assert len(set(bodies)) == 1
        assert asked == 1
        for number in range(3):  # the control: other addresses are rendered for themselves
            async with client.get("", params={"n": str(number)}):
                pass
        assert asked == 4


async def test_the_figures_are_those_of_all_workers_not_of_the_one_that_answers() -> None:
    fake = waiting(DEBUG=200.0)
    critical = class_state(weight=16.0, configured_share=0.5, achieved_share=0.125)
    for worker, lag in (("one", 40), ("two", 2)):
        info = class_state(lag_records=lag, oldest_age_s=90.0, buffered_records=1, counted_per_s=3.5)
        fake.fleet.write(worker, worker_state(run=worker, classes={"CRITICAL": critical, "INFO": info}))
    words = (await load(fake, "/")).words
    assert "CRITICAL is through; INFO waits 1 min." in words
    assert "42" in words
    assert "7.0 /s" in words
    async with web(fake) as client:
        assert "CRITICAL is through; INFO waits 1 min." in await text_of(client)


async def test_pages_hear_when_the_state_of_a_worker_is_another() -> None:
    fake = waiting()
    server = fake.server()
    before = server._shown_now()
    assert server._shown_now() == before
    fake.fleet.write("one", worker_state(run="one"))
    assert server._shown_now() != before


@pytest.mark.parametrize("of_worker", [True, False])
@pytest.mark.parametrize("wrong", ["ready", "live", "complete"])
async def test_nothing_is_through_while_it_is_not_known(wrong: str, *, of_worker: bool) -> None:
    """Figures from before an outage say that nothing waits; the control is the page before it."""
    fake = waiting()
    info = class_state(configured_share=1.0)
    fake.fleet.write("one", worker_state(classes={each.value: info for each in Priority}))

    async def seen() -> str:
        async with served(fake, of_worker=of_worker) as client:
            page = await text_of(client)
            return page[page.index("Skip to the page") :]

    words = await seen()
    assert "Everything is through, nothing waits." in words
    assert words.count(" through ") >= 5
    if wrong == "complete":
        fake.complete, fake.missing = False, {0, 1, 2, 3}
    else:
        fake.failing = {wrong, "complete"}
        fake.complete = of_worker  # the state of `tocsin web` is that of its counts
    words = await seen()
    assert "through" not in words
    assert words.count("not known") == 2 * 5 + 1
    assert "What waits is not known while" in words


async def test_the_sign_of_a_share_stays_on_the_line_of_its_number() -> None:
    async with served(waiting()) as client, client.get("") as answer:
        page = await answer.text()
    shares = page[page.index('id="strips"') :]
    shares = re.sub(r"<[^>]*>", "", shares[: shares.index("</tbody>")])
    assert "50\u00a0% due 25.0\u00a0%" in shares
    assert " %" not in shares
