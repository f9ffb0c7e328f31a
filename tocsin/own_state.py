"""What a worker says of itself in the status topic, gathered from its parts."""

from __future__ import annotations

import math
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from faust.types import TP

from streams import __version__
from streams.notifications import Priority
from streams.settings import Settings
from streams.transport.class_traffic import ClassTraffic
from tables.fleet.state import (
    GONE,
    RECOVERING,
    UNASSIGNED,
    WORKING,
    ClassState,
    DeadLetters,
    Partitions,
    WorkerState,
)
from tables.views.sources import Check, Profile, SchedulerSource, Stalls
from tables.views.worker_stats import WorkerStats

#: Seconds that rates are of.
_RATE_S: Final = 10.0

#: Counted, forwarded, and seconds of service, since the start.
_Sums = tuple[int, int, float]


class Rates:
    """Rates of the last seconds by priority, from sums that are told now and then. Pure."""

    def __init__(self, window_s: float = _RATE_S) -> None:
        self._window_s = window_s
        self._told: deque[tuple[float, Mapping[Priority, _Sums]]] = deque()

    def tell(self, now: float, sums: Mapping[Priority, _Sums]) -> dict[Priority, tuple[float, float, float]]:
        """Take the sums as they are now; returns what each grew by in a second.

        Args:
            now: seconds, only for differences.
            sums: by priority.
        """
        told = self._told
        told.append((now, sums))
        # The last one that is as old as the window stays, to be told from.
        while len(told) > 2 and told[1][0] <= now - self._window_s:
            told.popleft()
        at, before = told[0]
        passed = now - at
        rates = {}
        for priority, after in sums.items():
            first = before.get(priority, (0, 0, 0.0))
            counted, forwarded, service = (
                max(0.0, (last - early) / passed) if passed > 0 else 0.0
                for last, early in zip(after, first, strict=True)
            )
            rates[priority] = counted, forwarded, service
        return rates


class OwnState:
    """Makes the state of this worker as it is now; some tenths of a millisecond.

    Args:
        settings: of the worker.
        ready: the health check.
        scheduler: the classes.
        stats: what it did since it started.
        assigned: partitions that it was given, whether or not it works on them.
        working: those that it works on.
        unassigned: topic -> partitions that nobody in the group was given.
        stalls: of the event loop.
        clock: the time in seconds since 1970.
        steady: seconds, only for differences.
    """

    def __init__(
        self,
        settings: Settings,
        ready: Callable[[], Check],
        scheduler: SchedulerSource,
        stats: WorkerStats,
        *,
        assigned: Callable[[], Iterable[TP]],
        working: Callable[[], Iterable[TP]],
        unassigned: Callable[[], Mapping[str, list[int]]],
        stalls: Stalls,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._ready = ready
        self._scheduler = scheduler
        self._stats = stats
        self._assigned = assigned
        self._working = working
        self._unassigned = unassigned
        self._stalls = stalls
        self._clock = clock
        self._steady = steady
        self._rates = Rates()
        self._run = secrets.token_hex(6)
        self._host = socket.gethostname()
        self._since_s = clock()
        self._priorities = {settings.notification_topic(each): each for each in settings.priorities}

    def __call__(self) -> WorkerState:
        """The state now."""
        settings, stats, check = self._settings, self._stats, self._ready()
        profile: Profile | None = self._scheduler.profile
        live = settings if profile is None else profile.settings
        classes = self._scheduler.snapshot()
        rates = self._rates.tell(
            self._steady(),
            {
                priority: (
                    stats.counted.get(priority, 0),
                    stats.forwarded.get(priority, 0),
                    state.service_seconds,
                )
                for priority, state in classes.items()
            },
        )
        return WorkerState(
            app=settings.app_id,
            run=self._run,
            version=__version__,
            host=self._host,
            pool=settings.pool,
            since_s=self._since_s,
            written_s=self._clock(),
            ready=check.ok,
            reasons=check.reasons,
            mode=live.effective_mode,
            profile=live.profile,
            loop_lag_s=_amount(self._stalls.lag_s),
            clock_ahead_s=stats.clock_ahead_s,
            flush_s=_amount(stats.flush_seconds),
            event_types=stats.event_types,
            rebalances=stats.rebalances,
            classes={
                priority.value: _class_state(
                    state,
                    stats.counted.get(priority, 0),
                    stats.forwarded.get(priority, 0),
                    rates[priority],
                )
                for priority, state in classes.items()
            },
            partitions=self._partitions(),
            dead_letters=[
                DeadLetters(
                    priority.value, reason.value, count, stats.dead_letter_bytes.get((priority, reason), 0)
                )
                for (priority, reason), count in sorted(stats.dead_letters.items())
                if count
            ],
            repairs={repair.value: count for repair, count in sorted(stats.repairs.items()) if count},
        )

    def _partitions(self) -> list[Partitions]:
        working, assigned = set(self._working()), set(self._assigned())
        by_state: dict[tuple[str, str], list[int]] = {}
        for tp in sorted(working):
            by_state.setdefault((tp.topic, WORKING), []).append(tp.partition)
        # While nothing is worked on, all of it is on its way; else what is left out has no topic any more.
        state = GONE if working else RECOVERING
        for tp in sorted(assigned - working):
            if tp.topic in self._priorities:
                by_state.setdefault((tp.topic, state), []).append(tp.partition)
        for topic, numbers in self._unassigned().items():
            by_state[topic, UNASSIGNED] = sorted(numbers)
        return [
            Partitions(topic, state, numbers, self._priority(topic))
            for (topic, state), numbers in sorted(by_state.items(), key=self._order)
        ]

    def _priority(self, topic: str) -> str | None:
        priority = self._priorities.get(topic)
        return None if priority is None else priority.value

    def _order(self, item: tuple[tuple[str, str], list[int]]) -> tuple[int, str, str]:
        (topic, state), _ = item
        priority = self._priorities.get(topic)
        return len(Priority) if priority is None else priority.rank, topic, state


def _class_state(
    state: ClassTraffic, counted: int, forwarded: int, rates: tuple[float, float, float]
) -> ClassState:
    counted_per_s, forwarded_per_s, service_per_s = map(_amount, rates)
    return ClassState(
        weight=_amount(state.weight),
        configured_share=min(1.0, _amount(state.configured_share)),
        achieved_share=min(1.0, _amount(state.achieved_share)),
        lag_records=max(0, state.lag_records),
        oldest_age_s=_amount(state.oldest_age_s),
        buffered_records=state.buffered_records,
        buffered_bytes=state.buffered_bytes,
        counted=counted,
        forwarded=forwarded,
        counted_per_s=counted_per_s,
        forwarded_per_s=forwarded_per_s,
        service_per_s=service_per_s,
    )


def _amount(number: float) -> float:
    """As a row may hold it: finite, not below 0, and no longer than anybody reads."""
    return round(min(max(number, 0.0), 1e15), 6) if math.isfinite(number) else 0.0
