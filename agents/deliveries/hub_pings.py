"""Tells a WebSub hub of new entries of feeds (``hub.mode=publish``), beside the path of alerts.

One worker of a fleet does so at a time: the one that has the first slice of the event types, which the
consumer group gives to one alone. A worker that has just got it cannot know what the one before has told,
and tells of every feed that has an entry. To be told twice does no harm: the hub fetches the feed and looks.

Each feed has a task of its own. What comes while the hub is asked, or is away, is one ping later on.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import aiohttp

from streams.cancellation import end
from streams.log_lines import LimitedLog
from streams.notifications.priority import Priority
from streams.retries import Backoff, Retries
from tables.feeds import Feed, PingResult
from tables.recent_alerts import Alert, AlertKey

#: Seconds that are waited for further entries of the same moment, and for the other workers to have them.
_TOGETHER_S: Final = 0.5
#: Seconds between two looks at the alerts, in a storm of them.
_REST_S: Final = 0.2
#: Seconds between looks at whether this worker is the one that tells.
_LOOK_INTERVAL_S: Final = 1.0
_ANSWER_S: Final = 10.0
_BACKOFF: Final = Backoff(1.0, factor=2, most_s=300.0)
#: Pings under way at a time.
_MOST_AT_ONCE: Final = 2


class Alerts(Protocol):
    """The last alerts: ``tables.alerts_reader.AlertsReader``."""

    @property
    def complete(self) -> bool:
        """Whether what was there at the start is read."""

    async def changed(self) -> None:
        """Wait until there are other alerts than now."""

    async def newest(
        self, *, priority: Priority | None = None, event_type: str | None = None, most: int | None = None
    ) -> list[Alert]:
        """Alerts, newest first."""


class HubPings:
    """Tells the hub of new entries.

    Args:
        hub: its URL; the operator's own, never one that came with a request.
        base: where the hub reaches feeds, without their path.
        feeds: whose entries it is told of.
        alerts: the entries.
        backoff: between tries of one ping.
        clock: seconds, only for differences.
    """

    def __init__(
        self,
        hub: str,
        base: str,
        feeds: Sequence[Feed],
        alerts: Alerts,
        *,
        backoff: Backoff = _BACKOFF,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._alerts = alerts
        self._backoff = backoff
        self._clock = clock
        self._feeds = {feed: _Untold(base + feed.path) for feed in feeds}
        self._at_once = asyncio.Semaphore(_MOST_AT_ONCE)
        self._log = LimitedLog(__name__)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_mine: Callable[[], bool] = lambda: False
        #: Pings by what became of them, since the start.
        self.results: Counter[PingResult] = Counter()

    @property
    def untold_s(self) -> float:
        """Seconds for which the hub has not been told of an entry that there is; 0 while it knows all."""
        since = [each.since for each in self._feeds.values() if each.since is not None]
        return self._clock() - min(since) if since else 0.0

    def start(self, is_mine: Callable[[], bool]) -> None:
        """Start telling.

        Args:
            is_mine: whether it is this worker that tells.
        """
        if not self._feeds:
            return
        self._is_mine = is_mine
        self._tasks = [asyncio.create_task(self._watch(), name="hub-watch")]
        self._tasks += [
            asyncio.create_task(self._tell(untold), name="hub-pings") for untold in self._feeds.values()
        ]

    async def stop(self) -> None:
        """Stop telling; the worker that does it next tells of all feeds."""
        await end(*self._tasks)

    async def _watch(self) -> None:
        """Note which feeds have entries that the hub was not told of."""
        seen: dict[Feed, AlertKey] = {}
        while True:
            if not self._alerts.complete or not self._is_mine():
                self._let_go()
                seen.clear()
                await asyncio.sleep(_LOOK_INTERVAL_S)
                continue
            for feed, untold in self._feeds.items():
                newest = await self._alerts.newest(priority=feed.priority, event_type=feed.pattern, most=1)
                if newest and seen.get(feed) != newest[0].key:
                    seen[feed] = newest[0].key
                    untold.add(self._clock())
            await asyncio.sleep(_REST_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_INTERVAL_S):
                    await self._alerts.changed()

    def _let_go(self) -> None:
        for untold in self._feeds.values():
            untold.clear()

    async def _tell(self, untold: _Untold) -> None:
        while True:
            await untold.there.wait()
            await asyncio.sleep(_TOGETHER_S)
            retries = Retries(self._backoff, wanted=untold.there.is_set)
            while untold.there.is_set():
                told = untold.number
                if await self._ping(untold.topic):
                    untold.told(told, self._clock())
                    break
                await retries.pause()

    async def _ping(self, topic: str) -> bool:
        """Tell of one feed; whether the hub took it."""
        form = {"hub.mode": "publish", "hub.url": topic, "hub.topic": topic}
        try:
            async with (
                self._at_once,
                asyncio.timeout(_ANSWER_S),
                # Few are needed, and a connection of its own can be in no state left by one before.
                aiohttp.ClientSession() as client,
                client.post(self._hub, data=form, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self.results["failed"] += 1
            self._log.warning("The hub %s was not reached (%r); trying again.", self._hub, error)
            return False
        if 200 <= status < 300:
            self.results["accepted"] += 1
            return True
        self.results["refused"] += 1
        self._log.warning(
            "The hub %s answers %d when it is told of %s; trying again. Look whether TOCSIN_FEED_HUB takes "
            "hub.mode=publish.",
            self._hub,
            status,
            topic,
        )
        return False


class _Untold:
    """Whether a feed has entries that the hub was not told of.

    Attributes:
        topic: address of the feed.
        there: set while it has some.
        number: how many times some came.
        since: when the first of them came; None while there is none.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.there = asyncio.Event()
        self.number = 0
        self.since: float | None = None

    def add(self, now: float) -> None:
        """Some have come."""
        self.number += 1
        self.since = now if self.since is None else self.since
        self.there.set()

    def told(self, number: int, now: float) -> None:
        """The hub was told of those that came up to ``number``."""
        if self.number == number:
            self.clear()
        else:
            self.since = now

    def clear(self) -> None:
        """Somebody else tells of what is left."""
        self.there.clear()
        self.since = None
