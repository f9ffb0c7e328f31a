"""Alerts grouped by event type and publisher, and in spans of time. Pure.

All that is grouped is in memory anyway, so that it is bounded there. The work is cut into short steps, for a
caller that shares its thread with the scheduler.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from streams.notifications.priority import Priority
from tables.recent_alerts import Alert
from tables.totals import make_matcher
from tables.views.alerts_query import AlertsQuery

#: Characters of a publisher's name, and of a summary, that are told apart and shown at most.
MOST_PUBLISHER: Final = 4096
MOST_SUMMARY: Final = 1000
#: Alerts of a group whose places are shown.
LATEST: Final = 3
#: Buckets of a sparkline.
SPARK_BUCKETS: Final = 60
#: Alerts that are looked at in one step. A body is read once, which takes some microseconds, and a tenth of a
#: millisecond where it is as large as any that is kept.
_STEP: Final = 5
#: Alerts whose order is found in one step.
_MERGED: Final = 100

_key_of: Final = attrgetter("key")


def publisher_of(alert: Alert) -> str:
    """Who published what an alert is about, "" where that is not said; very long names are cut."""
    return alert.publisher_id[:MOST_PUBLISHER]


def summary_of(alert: Alert) -> str:
    """An alert in one line, "" where it has none; very long ones are cut."""
    return alert.summary[:MOST_SUMMARY]


@dataclass(slots=True, frozen=True)
class Span:
    """A time that is cut into buckets.

    Attributes:
        start_s: its begin, in seconds since 1970.
        bucket_s: seconds of a bucket.
        buckets: how many there are.
    """

    start_s: int
    bucket_s: int
    buckets: int = SPARK_BUCKETS

    @classmethod
    def until(cls, now_s: float, length_s: int) -> Span:
        """The last ``length_s`` seconds; the last bucket is the one that ``now_s`` falls into."""
        bucket_s = max(1, length_s // SPARK_BUCKETS)
        return cls((int(now_s) // bucket_s + 1 - SPARK_BUCKETS) * bucket_s, bucket_s)

    def counted(self, times_ms: Iterable[int]) -> list[int]:
        """How many of some times, in milliseconds since 1970, fall into each bucket.

        What comes before the span is left out. What comes after it is in the last bucket: a broker's clock
        may be ahead of this one.
        """
        counts = [0] * self.buckets
        for time_ms in times_ms:
            place = (time_ms // 1000 - self.start_s) // self.bucket_s
            if place >= 0:
                counts[min(place, self.buckets - 1)] += 1
        return counts


@dataclass(slots=True)
class AlertGroup:
    """Alerts of one priority, event type and publisher.

    Attributes:
        priority: of all of them.
        event_type: of all of them.
        publisher: of all of them; "" where that is not said.
        latest: the newest ones, newest first.
        times_ms: when each was written to its topic, in milliseconds since 1970, newest first.
    """

    priority: Priority
    event_type: str
    publisher: str
    latest: list[Alert] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.times_ms)

    @property
    def newest(self) -> Alert:
        """The newest of them."""
        return self.latest[0]


def grouped(alerts: Iterable[Alert]) -> Generator[None, None, list[AlertGroup]]:
    """The groups of alerts, the one with the newest alert first; found in steps.

    Args:
        alerts: newest first.
    """
    found: dict[tuple[Priority, str, str], AlertGroup] = {}
    for number, alert in enumerate(alerts, 1):
        key = alert.priority, alert.event_type, publisher_of(alert)
        group = found.get(key)
        if group is None:
            group = found[key] = AlertGroup(*key)
        if len(group.latest) < LATEST:
            group.latest.append(alert)
        group.times_ms.append(alert.time_ms)
        if not number % _STEP:
            yield
    # A dictionary keeps the order in which the groups were met: that of their newest alerts.
    return list(found.values())


def merged(lists: Sequence[Sequence[Alert]]) -> Generator[None, None, list[Alert]]:
    """The alerts of several lists in one, newest first; found in steps.

    Each list is newest first, too, but where clocks differed: those of brokers that led its partition in
    turn, or writers', where a topic has their times.
    """
    found: list[Alert] = []
    in_order, before = True, None
    for number, alert in enumerate(heapq.merge(*lists, key=_key_of, reverse=True), 1):
        in_order = in_order and (before is None or alert.key <= before)
        before = alert.key
        found.append(alert)
        if not number % _MERGED:
            yield
    if not in_order:
        found.sort(key=_key_of, reverse=True)
    return found


def matching(alerts: Iterable[Alert], query: AlertsQuery) -> Generator[None, None, list[Alert]]:
    """Those of some alerts that a query asks for, in the same order, without a bound; found in steps."""
    matches_type = _matcher(query.event_type)
    matches_publisher = _matcher(query.publisher)
    found = []
    for number, alert in enumerate(alerts, 1):
        if (
            query.priority in (None, alert.priority)
            and (matches_type is None or matches_type(alert.event_type))
            and (matches_publisher is None or matches_publisher(publisher_of(alert)))
        ):
            found.append(alert)
        if not number % _STEP:
            yield
    return found


def _matcher(pattern: str | None) -> Callable[[str], bool] | None:
    return None if pattern is None else make_matcher(pattern)
