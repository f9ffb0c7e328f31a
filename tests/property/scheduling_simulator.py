"""A virtual clock that drives a scheduler with arrivals and service costs.

The simulator keeps its own account of what waits, and never asks the scheduler about itself.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from streams.scheduling.scheduler import ClassSpec, Scheduler

WEIGHTS = {"critical": 16.0, "error": 8.0, "warn": 4.0, "info": 2.0, "debug": 1.0}
CLASSES = tuple(WEIGHTS)
OTHERS = CLASSES[1:]
#: Seconds a record takes, by class: all the same.
EVEN = dict.fromkeys(CLASSES, 0.001)
#: From 10 us to 50 ms; batches are 2 ms, or a record where that is longer.
COSTS = st.fixed_dictionaries(dict.fromkeys(CLASSES, st.floats(1e-5, 5e-2)))
WEIGHTINGS = st.fixed_dictionaries(dict.fromkeys(CLASSES, st.floats(0.25, 64)))
#: Of `random_cost`.
SEEDS = st.integers(0, 2**32 - 1)
#: Shrinking a failing simulation takes minutes and finds little; the seed of the failing one says enough.
MODERATE = settings(
    max_examples=25, deadline=None, print_blob=True, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
#: A backlog that no simulation here comes to the end of; lazy, so it costs nothing.
ENDLESS = 10_000_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """``count`` records of ``size`` bytes each that come at ``time`` into one partition."""

    time: float
    priority_class: str
    partition: int
    count: int
    size: int = 100


@dataclass(frozen=True, slots=True)
class Served:
    """A batch that was in service from ``start`` to ``end``.

    ``waiting`` are the classes that had records waiting just before it was chosen; ``since`` is when the
    oldest record of the batch's class had arrived.
    """

    index: int
    priority_class: str
    partition: int
    offsets: Sequence[int]
    start: float
    end: float
    waiting: frozenset[str]
    since: float
    #: Chosen by the age guard.
    guarded: bool = False
    #: When the batch's first record had arrived.
    arrived: float = 0.0
    #: Seconds for which it was interrupted.
    paused: float = 0.0

    @property
    def cost(self) -> float:
        return self.end - self.start - self.paused


@dataclass(slots=True)
class Trace:
    served: list[Served] = field(default_factory=list)
    #: Broken rules that show at once: order, idleness.
    violations: list[str] = field(default_factory=list)
    #: Index of the first dispatch after each change of weights.
    weight_changes: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def dispatch_times(self, priority_class: str) -> list[float]:
        return [one.start for one in self.served if one.priority_class == priority_class]

    def service_seconds(self) -> dict[str, float]:
        total: dict[str, float] = defaultdict(float)
        for one in self.served:
            total[one.priority_class] += one.cost
        return total


class _Line:
    """The simulator's account of one partition."""

    __slots__ = ("arrived", "committed", "next_in", "next_out")

    def __init__(self, offset: int = 0) -> None:
        self.committed = self.next_in = self.next_out = offset
        self.arrived: list[tuple[int, float]] = []

    @property
    def waiting(self) -> int:
        return max(0, self.next_in - self.next_out)


class Clock:
    """The virtual clock, for a scheduler that asks for the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Simulation:
    """Runs one scheduler.

    With ``interrupting``, what arrives for the top class is served at once, in the middle of the batch in
    service, where the scheduler says so.

    Records are their own offsets. ``cost(priority_class, records)`` is the service time of a batch, in
    seconds. An action is called with the simulation at its time, before what else happens then.
    """

    def __init__(
        self,
        scheduler: Any,
        cost: Callable[[str, Sequence[int]], float],
        slots: int = 1,
        clock: Clock | None = None,
        *,
        interrupting: bool = False,
    ) -> None:
        assert not interrupting or slots == 1
        self.scheduler = scheduler
        self.interrupting = interrupting
        self.clock = clock or Clock()
        self.cost = cost
        self.slots = slots
        self.now = 0.0
        self.trace = Trace()
        self.lines: dict[tuple[str, int], _Line] = {}
        self.committed: dict[tuple[str, int], int] = defaultdict(int)
        self.busy: set[tuple[str, int]] = set()
        self.running: list[tuple[float, int, Any]] = []
        self._serial = count()

    def run(
        self,
        arrivals: Iterable[Arrival],
        *,
        dispatches: int = 2000,
        horizon: float = math.inf,
        actions: Iterable[tuple[float, Callable[[Simulation], None]]] = (),
    ) -> Trace:
        """Run until nothing is left, ``dispatches`` were made or ``horizon`` (in seconds) is reached."""
        events: list[tuple[float, int, int, Any]] = []
        for arrival in arrivals:
            heapq.heappush(events, (arrival.time, 1, next(self._serial), arrival))
        for time, action in actions:
            heapq.heappush(events, (time, 0, next(self._serial), action))
        while len(self.trace.served) < dispatches:
            times = [queue[0][0] for queue in (events, self.running) if queue]
            if not times or min(times) > horizon:
                break
            self.now = self.clock.now = min(times)
            while events and events[0][0] <= self.now:
                _, kind, _, what = heapq.heappop(events)
                if kind == 0:
                    what(self)
                else:
                    self.arrive(what)
            while self.running and self.running[0][0] <= self.now:
                self.complete(heapq.heappop(self.running)[2])
            if self.interrupting and self.running:
                self.interrupt()
            while len(self.trace.served) < dispatches and self.dispatch():
                pass
        return self.trace

    def assign(self, priority_class: str, partition: int) -> None:
        """Begin an assignment, at the offset after the last record that was done."""
        self.scheduler.assign(priority_class, [partition])
        key = (priority_class, partition)
        self.lines.setdefault(key, _Line(self.committed[key]))

    def revoke(self, priority_class: str, partition: int) -> None:
        self.scheduler.revoke(priority_class, [partition])
        self.lines.pop((priority_class, partition), None)

    def arrive(self, arrival: Arrival) -> None:
        """Offer records. Those of a partition that is not assigned are a fetch that comes too late."""
        line = self.lines.get((arrival.priority_class, arrival.partition))
        first = line.next_in if line is not None else 0
        records = range(first, first + arrival.count)
        kept = self.scheduler.add(
            arrival.priority_class, arrival.partition, records, arrival.count * arrival.size
        )
        if kept != (line is not None):
            self.trace.violations.append(
                f"order: {arrival.priority_class}/{arrival.partition} kept {kept} though {line}"
            )
        if line is not None:
            line.arrived.append((first, self.now))
            line.next_in += arrival.count

    def dispatch(self) -> bool:
        """Ask for a batch and put it into service; whether there was one."""
        return len(self.running) < self.slots and self.begin(self.scheduler.next)

    def interrupt(self) -> None:
        """Serve a batch of the top class in the middle of another one, if the scheduler has it."""
        if any(dispatch.priority_class == CLASSES[0] for _, _, (dispatch, *_) in self.running):
            return
        ((end, serial, (dispatch, records, index)),) = self.running
        if not self.begin(self.scheduler.interrupting):
            return
        passed = self.trace.served[-1].cost
        one = self.trace.served[index]
        self.trace.served[index] = replace(one, end=one.end + passed, paused=one.paused + passed)
        self.running.remove((end, serial, (dispatch, records, index)))
        heapq.heappush(self.running, (end + passed, serial, (dispatch, records, index)))

    def begin(self, choose: Callable[[], Any]) -> bool:
        """Put the batch that is chosen into service; whether there was one."""
        waiting = frozenset(
            priority_class for (priority_class, _), line in self.lines.items() if line.waiting
        )
        dispatch = choose()
        index = len(self.trace.served)
        if dispatch is None:
            idle = [key for key, line in self.lines.items() if line.waiting and key not in self.busy]
            if idle and len(self.running) < self.slots:
                self.trace.violations.append(
                    f"idle: no batch at {self.now:.6f} with a free slot, while {idle[0]} waits"
                )
            return False
        key = (dispatch.priority_class, dispatch.partition)
        line = self.lines.get(key, _NOT_ASSIGNED)
        records = list(dispatch.records)
        end_offset = line.next_out + len(records)
        if not records or end_offset > line.next_in or records != list(range(line.next_out, end_offset)):
            self.trace.violations.append(
                f"order: dispatch {index} of {key} brought {records[:3]}, {line.next_out} was next"
            )
        if key in self.busy:
            self.trace.violations.append(f"order: two batches of {key} in service at once")
        since = min(
            (
                self._oldest(other)
                for (priority_class, _), other in self.lines.items()
                if priority_class == key[0] and other.waiting
            ),
            default=self.now,
        )
        arrived = self._oldest(line) if line.waiting else self.now
        if line is not _NOT_ASSIGNED and records:
            line.next_out = records[-1] + 1
        self.busy.add(key)
        end = self.now + self.cost(dispatch.priority_class, records)
        guarded = getattr(dispatch, "guarded", False)
        self.trace.served.append(
            Served(index, *key, records, self.now, end, waiting, since, guarded, arrived)
        )
        heapq.heappush(self.running, (end, next(self._serial), (dispatch, records, index)))
        return True

    def complete(self, running: tuple[Any, list[int], int]) -> None:
        dispatch, records, index = running
        key = (dispatch.priority_class, dispatch.partition)
        self.busy.discard(key)
        if records:
            self.committed[key] = max(self.committed[key], records[-1] + 1)
        one = self.trace.served[index]
        self.scheduler.done(dispatch, self.now - one.start - one.paused)

    def set_weights(self, weights: Mapping[str, float]) -> None:
        self.scheduler.set_weights(weights)
        self.trace.weight_changes.append((len(self.trace.served), dict(weights)))

    @staticmethod
    def _oldest(line: _Line) -> float:
        while len(line.arrived) > 1 and line.arrived[1][0] <= line.next_out:
            line.arrived.pop(0)
        return line.arrived[0][1]


_NOT_ASSIGNED = _Line()


def real_scheduler(
    weights: Mapping[str, float] = WEIGHTS, slots: int = 1, mode: str = "weighted", **options: Any
) -> Scheduler[str, int, int]:
    """The scheduler under test, with classes ranked in the order of `CLASSES`."""
    return Scheduler(specs(weights), mode, max_in_flight=slots, **options)


def specs(weights: Mapping[str, float] = WEIGHTS) -> list[ClassSpec[str]]:
    """Classes ranked in the order of `CLASSES`."""
    return [
        ClassSpec(priority_class, weight, CLASSES.index(priority_class), bound_bytes=1 << 50)
        for priority_class, weight in weights.items()
    ]


def simulate(
    scheduler: Any,
    arrivals: Iterable[Arrival],
    cost: Callable[[str, Sequence[int]], float],
    slots: int = 1,
    clock: Clock | None = None,
    *,
    interrupting: bool = False,
    **limits: Any,
) -> Trace:
    """Assign every partition that gets records, then run."""
    arrivals = list(arrivals)
    simulation = Simulation(scheduler, cost, slots, clock, interrupting=interrupting)
    for priority_class, partition in dict.fromkeys((one.priority_class, one.partition) for one in arrivals):
        simulation.assign(priority_class, partition)
    return simulation.run(arrivals, **limits)


def backlog(
    classes: Iterable[str] = CLASSES, partitions: int = 4, count: int = ENDLESS, time: float = 0.0
) -> list[Arrival]:
    """``count`` records in each partition of each class, all at once."""
    return [
        Arrival(time, priority_class, partition, count)
        for priority_class in classes
        for partition in range(partitions)
    ]


def random_cost(seed: int, per_record: Mapping[str, float]) -> Callable[[str, Sequence[int]], float]:
    """Exponentially distributed batch costs around ``per_record`` seconds for each record of a class."""
    random = Random(seed)
    return lambda priority_class, records: len(records) * per_record[priority_class] * random.expovariate(1.0)


def unit_cost(priority_class: str, records: Sequence[int]) -> float:
    """Every batch takes one second."""
    return 1.0
