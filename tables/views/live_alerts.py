"""The last alerts for the views, computed beside the scheduler without holding it up.

Everything here runs in the event loop of the process, in the short pieces of a `ReaderLane`, and a result is
used again for a quarter of a second, or until there are other alerts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import Final, TypeVar

from streams.notifications.priority import Priority
from tables.recent_alerts import Alert, Place
from tables.views.alert_groups import AlertGroup, grouped, matching, merged
from tables.views.alerts_query import AlertsQuery
from tables.views.reader_lane import ReaderLane
from tables.views.sources import Sources

#: A result serves this long, in seconds, whatever comes in, and also so long that computing takes a tenth of
#: the time.
_FRESH_S: Final = 0.25
_REST: Final = 10
#: No result serves longer, for the time that it is of moves on.
_UNCHANGED_S: Final = 1.0
#: Alerts that a search finds at most, in one priority. About as many are kept where they are small.
_MOST_FOUND: Final = 10_000
#: What a search looks at: all that is kept, other than what is kept without holes.
_ALL_KEPT: Final = "*"

_Result = TypeVar("_Result")


@dataclass(slots=True, frozen=True)
class Kept:
    """How far back alerts of a priority are kept: how many, and the time of the oldest in ms; 0 for none."""

    priority: Priority
    alerts: int
    since_ms: int


@dataclass(slots=True, frozen=True)
class AlertsSnapshot:
    """The last alerts of each priority as of one moment.

    Attributes:
        as_of_s: seconds since 1970 up to which all alerts are in it; 0 while that cannot be said.
        complete: whether none can be missing but those of the last seconds.
        missing: the partitions that may lack some.
        trouble: why alerts cannot be read, one sentence; None while they can.
        kept: how far back it goes, most urgent first.
        alerts: newest first.
    """

    as_of_s: float
    complete: bool
    missing: list[Place]
    trouble: str | None
    kept: list[Kept]
    alerts: list[Alert]

    @property
    def not_kept(self) -> str:
        """Why an alert that is asked for by its place is not there, one sentence."""
        if self.trouble is not None:
            return self.trouble
        if not self.complete:
            return "The last alerts have not all been read yet; ask again."
        return (
            "No alert of this place is kept: it came before the last ones, or there is none; "
            "read it from its topic."
        )


@dataclass(slots=True, frozen=True)
class _Moment:
    changes: int
    state: tuple[object, ...]
    made_at: float


class LiveAlerts:
    """The last alerts, as of now.

    Args:
        sources: of the alerts, and their priorities.
        lane: in which all work for readers is done.
        monotonic: for the age of results, in seconds.

    Attributes:
        lane: as given.
    """

    def __init__(
        self, sources: Sources, lane: ReaderLane, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = sources
        self.lane = lane
        self._monotonic = monotonic
        self._moment: _Moment | None = None
        self._cost_s = 0.0
        self._snapshot: tuple[_Moment, AlertsSnapshot] | None = None

    @property
    def priorities(self) -> list[Priority]:
        """Priorities that are forwarded, most urgent first."""
        return sorted(self._sources.settings.forward_priorities, key=lambda each: each.rank)

    @property
    def none_kept(self) -> str | None:
        """Why no alerts are kept, one sentence that says what to change; None where some are."""
        if not self._sources.alerts.most:
            return "This worker keeps no alerts: give TOCSIN_FEED_ENTRIES more than 0."
        if not self.priorities:
            return "Nothing is forwarded, so that there are no alerts: give TOCSIN_FORWARD_PRIORITIES some."
        return None

    def moment(self) -> object:
        """The same object for as long as what was computed at its time serves."""
        alerts, now = self._sources.alerts, self._monotonic()
        state = (alerts.complete, alerts.trouble, *sorted(alerts.missing))
        known = self._moment
        if known is not None:
            unchanged = known.changes == alerts.changes and known.state == state
            serves_s = _UNCHANGED_S if unchanged else max(_FRESH_S, _REST * self._cost_s)
            if now - known.made_at < min(serves_s, _UNCHANGED_S):
                return known
        self._moment = _Moment(alerts.changes, state, now)
        return self._moment

    async def snapshot(self) -> AlertsSnapshot:
        """The last alerts of each priority, as many as a feed has of each.

        Those of one priority do not depend on how many came of another: the last CRITICAL stay in a storm of
        ERROR.
        """
        self.moment()
        moment = self._moment
        if self._snapshot is None or self._snapshot[0] is not moment:
            made = await self._compute()
            if moment is not None:
                self._snapshot = moment, made
            return made
        return self._snapshot[1]

    async def _compute(self) -> AlertsSnapshot:
        alerts = self._sources.alerts
        as_of_s, missing = alerts.as_of, sorted(alerts.missing)
        trouble = alerts.trouble
        complete = alerts.complete and not missing and trouble is None
        began = self._monotonic()
        lists = [await self._newest(each) for each in self.priorities]
        found = await self.run(merged(lists))
        self._cost_s = self._monotonic() - began
        kept = [
            Kept(priority, len(each), min((alert.time_ms for alert in each), default=0))
            for priority, each in zip(self.priorities, lists, strict=True)
        ]
        return AlertsSnapshot(as_of_s, complete, missing, trouble, kept, found)

    async def find(self, snapshot: AlertsSnapshot, query: AlertsQuery) -> list[Alert]:
        """All alerts that a query asks for, newest first, without regard to its page.

        Those of a priority are those of the snapshot. What is looked for by patterns is looked for in all
        that is kept.
        """
        if not query.is_filtered:
            return await self.run(matching(snapshot.alerts, query))
        pattern = query.event_type or _ALL_KEPT
        priorities = [each for each in self.priorities if query.priority in (None, each)]
        lists = [await self._newest(each, pattern, _MOST_FOUND) for each in priorities]
        return await self.run(matching(await self.run(merged(lists)), query))

    async def groups(self, snapshot: AlertsSnapshot, query: AlertsQuery) -> list[AlertGroup]:
        """All groups of what a query asks for, the one with the newest alert first."""
        return await self.run(grouped(await self.find(snapshot, query)))

    async def latest(
        self, most: int, priorities: Collection[Priority] = (Priority.CRITICAL, Priority.ERROR)
    ) -> list[Alert]:
        """The newest alerts of some priorities together, newest first, for other pages."""
        lists = [
            await self._newest(each, most=most) for each in self.priorities if each in frozenset(priorities)
        ]
        return (await self.run(merged(lists)))[:most]

    async def at(self, topic: str, partition: int, offset: int) -> Alert | None:
        """The alert at one place of its topic; None where it is not kept."""
        async with self.lane.work():
            return await self._sources.alerts.at(topic, partition, offset)

    async def _newest(
        self, priority: Priority, event_type: str | None = None, most: int | None = None
    ) -> list[Alert]:
        async with self.lane.work():
            return await self._sources.alerts.newest(priority=priority, event_type=event_type, most=most)

    async def run(self, steps: Generator[None, None, _Result]) -> _Result:
        """Run all of ``steps`` in the lane, and return what they end in."""
        async with self.lane.work() as pieces:
            return await pieces.outcome(steps)
