"""A hub is told of new entries: together, again while it does not take it, and by one worker alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from agents.deliveries import hub_pings
from agents.deliveries.hub_pings import HubPings
from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from streams.retries import Backoff
from tables.feeds import Feed
from tests.integration.worker_process import eventually
from tests.unit.tables.views.views_kit import FakeAlerts
from tests.websub import listening

BASE = "https://feeds.example.org"
ALL, CRITICALS = Feed(), Feed(priority=Priority.CRITICAL)


class Alerts(FakeAlerts):
    """Alerts that come when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()
        self._offset = 0

    def come(self, topic: str = "alerts.error", number: int = 1) -> None:
        """Some have come."""
        for _ in range(number):
            self._offset += 1
            one = UnreadableRecord(topic, 0, self._offset, "", self._offset, value=b"{}")
            assert len(list(self.memory.take((topic, 0), [one]))) == 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        await self._changed.wait()


class Hub:
    """A hub that answers as the test says, in turn; the last answer stays."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.forms: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.forms.append(dict(await request.post()))
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if not status:
            await asyncio.Event().wait()
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    @property
    def topics(self) -> list[str]:
        return [form["hub.topic"] for form in self.forms]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_TOGETHER_S", "_LOOK_INTERVAL_S", "_REST_S"):
        monkeypatch.setattr(hub_pings, name, 0.01)


class Owner:
    def __init__(self, *, mine: bool = True) -> None:
        self.mine = mine


@asynccontextmanager
async def told(
    hub: Hub, alerts: Alerts, feeds: Sequence[Feed] = (ALL,), owner: Owner | None = None
) -> AsyncIterator[HubPings]:
    whose = owner or Owner()
    async with listening(hub.answer) as address:
        pings = HubPings(address, BASE, feeds, alerts, backoff=Backoff(0.01))
        pings.start(lambda: whose.mine)
        try:
            yield pings
        finally:
            await pings.stop()


async def test_the_hub_is_told_of_the_feeds_that_have_new_entries() -> None:
    hub, alerts = Hub(204), Alerts()
    async with told(hub, alerts, [ALL, CRITICALS]) as pings:
        alerts.come()
        await eventually("all is told", lambda: pings.results["accepted"] == 1)
        topic = f"{BASE}/feeds/alerts.atom"
        assert hub.forms == [{"hub.mode": "publish", "hub.url": topic, "hub.topic": topic}]
        alerts.come("alerts.critical")
        await eventually("all is told", lambda: pings.results["accepted"] == 3)
        assert sorted(hub.topics[1:]) == [topic, f"{BASE}/feeds/alerts/critical.atom"]
        assert pings.untold_s == 0


async def test_what_comes_together_is_told_once() -> None:
    hub, alerts = Hub(200), Alerts()
    alerts.complete = False
    async with told(hub, alerts) as pings:
        alerts.come(number=300)
        alerts.complete = True
        await eventually("it is told", lambda: pings.results["accepted"] == 1)
        alerts.come()
        await eventually("the next one is told", lambda: pings.results["accepted"] == 2)
    assert len(hub.forms) == 2


async def test_a_hub_that_does_not_take_it_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # What it hangs for; each of its other answers comes sooner, on a busy machine too.
    monkeypatch.setattr(hub_pings, "_ANSWER_S", 2.0)
    # One that refuses, sends elsewhere, fails, and hangs.
    hub, alerts = Hub(404, 302, 500, 0, 202), Alerts()
    async with told(hub, alerts) as pings:
        alerts.come()
        await eventually("it tries", lambda: pings.results["refused"] > 0)
        assert pings.untold_s > 0
        await eventually("it is told", lambda: pings.results["accepted"] == 1)
    assert (pings.results["refused"], pings.results["failed"]) == (3, 1)
    assert pings.untold_s == 0
    assert len(hub.forms) == 5


async def test_a_hub_that_is_not_there_is_told_once_it_is(unused_tcp_port: int) -> None:
    alerts = Alerts()
    pings = HubPings(f"http://127.0.0.1:{unused_tcp_port}", BASE, [ALL], alerts, backoff=Backoff(0.01))
    pings.start(lambda: True)
    alerts.come(number=5)
    await eventually("it tries", lambda: pings.results["failed"] > 2)
    await pings.stop()
    assert pings.results["accepted"] == 0


async def test_one_worker_tells_and_the_next_one_tells_of_all() -> None:
    hub, alerts, owner = Hub(204), Alerts(), Owner(mine=False)
    async with told(hub, alerts, [ALL, CRITICALS], owner) as pings:
        alerts.come("alerts.critical")
        asked = asyncio.Event()
        owner_asked, whose = 0, pings._is_mine

        def count() -> bool:
            nonlocal owner_asked
            owner_asked += 1
            if owner_asked > 3:
                asked.set()
            return whose()

        pings._is_mine = count
        await asked.wait()
        assert hub.forms == []
        owner.mine = True
        await eventually("it tells of all", lambda: pings.results["accepted"] == 2)
        owner.mine = False
        await eventually("it has let go", lambda: owner_asked > 10)
        owner.mine = True
        await eventually("it tells of all again", lambda: pings.results["accepted"] == 4)
