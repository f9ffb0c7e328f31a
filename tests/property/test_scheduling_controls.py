"""Every bound of the scheduler against every scheduler that breaks one: which control fails which check.

The checks and the controls are those of the other property tests; here stands explicitly who must fail where.
A check that rejects nothing, or a control that no check rejects, would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.property import scheduling_broken as broken
from tests.property.scheduling_checks import (
    check_fair_share,
    check_no_gain_by_blinking,
    check_no_starvation,
    check_no_starvation_in_time,
    check_prompt,
)
from tests.property.scheduling_simulator import (
    CLASSES,
    EVEN,
    OTHERS,
    WEIGHTS,
    Arrival,
    Clock,
    Simulation,
    backlog,
    random_cost,
    real_scheduler,
    simulate,
    unit_cost,
)

DEBUG_DEAR = EVEN | {"debug": 0.02}

#: Makes a scheduler, with as many batches in flight as given.
Make = Callable[[int], object]


def real(slots: int = 1) -> object:
    return real_scheduler(slots=slots)


def making(name: str) -> Make:
    return lambda slots: getattr(broken, name)(max_in_flight=slots)


CONTROLS = {
    name: making(name)
    for name in (
        "Fifo",
        "RoundRobin",
        "CountCharged",
        "StrictByRank",
        "DeafToWeights",
        "Forgetful",
        "Idler",
        "Shuffler",
        "Repeater",
        "Skipper",
        "Overtaker",
        "Rememberer",
    )
}


# --- one deterministic case of each bound -----------------------------------------------------------


def fair_share(make: Make) -> list[str]:
    return check_fair_share(simulate(make(1), backlog(), random_cost(1, DEBUG_DEAR), dispatches=600), WEIGHTS)


def no_gain_by_going_idle(make: Make) -> list[str]:
    arrivals = [*backlog(["error"]), *(Arrival(time + 0.5, "debug", 0, 1) for time in range(0, 400, 2))]
    return check_no_gain_by_blinking(simulate(make(1), arrivals, unit_cost, dispatches=400), WEIGHTS)


def no_starvation(make: Make) -> list[str]:
    arrivals = [*backlog(["debug"]), *backlog(["critical"], time=200.0)]
    trace = simulate(make(1), arrivals, unit_cost, dispatches=600)
    return check_no_starvation(trace, WEIGHTS) + check_no_starvation_in_time(trace, WEIGHTS)


def prompt_critical(make: Make) -> list[str]:
    sparse = [Arrival(0.1 * place, "critical", place % 4, 1) for place in range(1, 21)]
    trace = simulate(make(1), [*backlog(OTHERS), *sparse], random_cost(1, EVEN), horizon=2.5, dispatches=5000)
    missing = [] if len(trace.dispatch_times("critical")) == 20 else ["prompt: not all were served"]
    return missing + check_prompt(trace, WEIGHTS)


def critical_times(scheduler, depth: int, clock: Clock | None = None) -> list[float]:
    """When each CRITICAL that came in the first 0.25 s was dispatched, over ``depth`` DEBUG a partition.

    The backlog is a range of offsets, so ten million cost no more than a thousand, which take 0.4 s.
    """
    costs = EVEN | {"debug": 0.0001}
    sparse = [Arrival(0.01 * place, "critical", place % 4, 1) for place in range(1, 25)]
    trace = simulate(
        scheduler,
        [*backlog(["debug"], count=depth), *sparse],
        random_cost(1, costs),
        clock=clock,
        horizon=0.8,
        dispatches=20_000,
    )
    return [one.start for one in trace.served if one.priority_class == "critical" and one.since < 0.25]


def independent_of_the_backlog(make: Make) -> list[str]:
    times = [critical_times(make(1), depth) for depth in (1000, 10_000_000)]
    return [] if times[0] == times[1] else ["backlog: CRITICAL was dispatched at other times"]


def live_weights(make: Make) -> list[str]:
    reverse = dict(zip(CLASSES, reversed(WEIGHTS.values()), strict=True))
    trace = simulate(
        make(1),
        backlog(),
        random_cost(1, EVEN),
        dispatches=600,
        actions=[(0.2, lambda simulation: simulation.set_weights(reverse))],
    )
    return check_fair_share(trace, WEIGHTS)


def small_chunks() -> list[Arrival]:
    return [
        Arrival(place / 1000, priority_class, partition, 7)
        for place in range(30)
        for priority_class in CLASSES
        for partition in (0, 1)
    ]


def work_conserving(make: Make) -> list[str]:
    trace = simulate(make(2), small_chunks(), random_cost(1, EVEN), 2, dispatches=5000)
    return [violation for violation in trace.violations if violation.startswith("idle")]


def partition_order(make: Make) -> list[str]:
    trace = simulate(make(2), small_chunks(), random_cost(1, EVEN), 2, dispatches=5000)
    served = sum(len(one.offsets) for one in trace.served)
    missing = [] if served == sum(one.count for one in small_chunks()) else ["order: not each once"]
    return missing + [violation for violation in trace.violations if violation.startswith("order")]


def revoke_and_assign(make: Make) -> list[str]:
    simulation = Simulation(make(1), random_cost(1, EVEN))
    for partition in (0, 1):
        simulation.assign("debug", partition)
    trace = simulation.run(
        [Arrival(0.0, "debug", partition, 300) for partition in (0, 1)],
        actions=[
            (0.05, lambda sim: sim.revoke("debug", 0)),
            (0.1, lambda sim: sim.assign("debug", 0)),
            (0.1, lambda sim: sim.arrive(Arrival(0.1, "debug", 0, 50))),
        ],
    )
    return [violation for violation in trace.violations if violation.startswith("order")]


def bounded_memory(make: Make) -> list[str]:
    """An endless lag, fetched as long as the scheduler says that there is room; what asks nobody grows."""
    bound, chunk = 10_000, 1000
    scheduler = make(1)
    if scheduler.__class__.__name__ == "Scheduler":
        scheduler = real_scheduler()
        for lane in scheduler._lanes.values():
            lane.buffer._bound_bytes = bound
    asks = hasattr(scheduler, "buffer")
    scheduler.assign("debug", [0])
    held = peak = offset = 0
    for _ in range(300):
        if not asks or scheduler.buffer("debug").room_bytes > 0:
            scheduler.add("debug", 0, range(offset, offset + 10), chunk)
            offset, held = offset + 10, held + chunk
            peak = max(peak, held)
        if (dispatch := scheduler.next()) is not None:
            held -= len(dispatch.records) * chunk // 10
            scheduler.done(dispatch, 1.0)
    return [] if peak < bound + chunk else [f"memory: {peak} bytes, bound {bound}"]


CHECKS = {
    check.__name__: check
    for check in (
        fair_share,
        no_gain_by_going_idle,
        no_starvation,
        prompt_critical,
        independent_of_the_backlog,
        live_weights,
        work_conserving,
        partition_order,
        revoke_and_assign,
        bounded_memory,
    )
}
#: The four schedulers that a user could have instead, and what each must fail. It passes the others.
MUST_FAIL = {
    "Fifo": {
        "fair_share",
        "no_gain_by_going_idle",
        "no_starvation",
        "prompt_critical",
        "independent_of_the_backlog",
        "live_weights",
        "bounded_memory",
    },
    "RoundRobin": {
        "fair_share",
        "no_gain_by_going_idle",
        "prompt_critical",
        "live_weights",
        "bounded_memory",
    },
    "CountCharged": {"fair_share", "prompt_critical", "live_weights", "bounded_memory"},
    "StrictByRank": {
        "fair_share",
        "no_gain_by_going_idle",
        "no_starvation",
        "live_weights",
        "bounded_memory",
    },
}
#: Schedulers made to break one rule, and the check that is there for it. They may fail others as well.
MADE_FOR = {
    "DeafToWeights": "live_weights",
    "Forgetful": "no_gain_by_going_idle",
    "Idler": "work_conserving",
    "Shuffler": "partition_order",
    "Repeater": "partition_order",
    "Skipper": "partition_order",
    "Overtaker": "partition_order",
    "Rememberer": "revoke_and_assign",
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_scheduler_passes(check: str) -> None:
    assert CHECKS[check](real) == []


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("control", MUST_FAIL)
def test_who_fails_what(control: str, check: str) -> None:
    assert (CHECKS[check](CONTROLS[control]) != []) is (check in MUST_FAIL[control])


@pytest.mark.parametrize(("control", "check"), MADE_FOR.items())
def test_who_breaks_one_rule_fails_its_check(control: str, check: str) -> None:
    assert CHECKS[check](CONTROLS[control]) != []


def test_every_check_rejects_someone_and_everyone_is_rejected() -> None:
    assert set(CHECKS) == set().union(*MUST_FAIL.values(), MADE_FOR.values())
    assert set(CONTROLS) == MUST_FAIL.keys() | MADE_FOR.keys()


@pytest.mark.parametrize("mode", ["weighted", "strict-with-floor", "strict"])
@pytest.mark.parametrize("guarded", [False, True])
def test_no_mode_lets_the_backlog_change_when_critical_is_dispatched(mode: str, guarded: bool) -> None:
    """Metamorphic: 1,000 or 10,000,000 DEBUG records a partition, with the age guard at work or without."""

    def times(depth: int) -> list[float]:
        clock = Clock()
        options = {"age_limits": {"debug": 0.01}, "clock": clock} if guarded else {}
        return critical_times(real_scheduler(mode=mode, **options), depth, clock)

    assert times(1000) == times(10_000_000) != []
