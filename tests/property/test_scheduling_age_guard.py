"""The age guard on a virtual clock: old heads are served in time, the cap holds, CRITICAL stays prompt.

Every rule comes with its negative control: a guard without a cap, one without regard for the order, and none.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.scheduling.age_guard import GUARD_WINDOW_S, AgeGuard
from tests.property.scheduling_checks import check_fair_share, check_prompt, prompt_cases
from tests.property.scheduling_simulator import (
    CLASSES,
    EVEN,
    MODERATE,
    OTHERS,
    SEEDS,
    WEIGHTS,
    Arrival,
    Clock,
    Trace,
    backlog,
    random_cost,
    real_scheduler,
    simulate,
)

FEW = settings(MODERATE, max_examples=8)
COSTS = st.fixed_dictionaries(dict.fromkeys(CLASSES, st.floats(1e-5, 2e-2)))
MODES = st.sampled_from(["weighted", "strict-with-floor", "strict"])
LIMITS = {"debug": 0.2, "info": 0.1}


class Uncapped(AgeGuard):
    """Takes as much as it finds."""

    def finish(self, cost_seconds: float, *, guarded: bool) -> None:
        super().finish(cost_seconds, guarded=guarded)
        self._credit = self._most_credit


class Rude(AgeGuard):
    """Serves one old head after the other, whoever comes in between."""

    def pick(self, now, is_ready, oldest):
        self._had_last_turn = False
        self._top_was_ready = True
        return super().pick(now, is_ready, oldest)


def run(
    arrivals, cost, slots=1, *, guard=AgeGuard, limits=LIMITS, share=0.1, mode="weighted", **bounds
) -> Trace:
    clock = Clock()
    scheduler = real_scheduler(slots=slots, mode=mode, age_limits=limits, guard_share=share, clock=clock)
    if guard is None:
        scheduler._guard = None
    else:
        scheduler._guard = guard(limits, "critical", share)
    return simulate(scheduler, arrivals, cost, slots, clock, **bounds)


def sparse(priority_class, pauses, partitions=4, time=0.0):
    arrivals = []
    for place, pause in enumerate(pauses):
        time += pause
        arrivals.append(Arrival(time, priority_class, place % partitions, 1))
    return arrivals


# --- the cap -------------------------------------------------------------------------------------


def check_cap(trace: Trace, share: float, slots: int = 1) -> list[str]:
    """Over any stretch of S seconds of service: at most share * (S + window) and the batches in flight."""
    longest = max((one.cost for one in trace.served), default=0.0)
    bound = share * GUARD_WINDOW_S + slots * longest
    over = 0.0
    for one in sorted(trace.served, key=lambda each: each.end):
        over = max(0.0, over) + (one.cost if one.guarded else 0.0) - share * one.cost
        if over > bound + 1e-9:
            return [f"cap: guarded dispatches took {over:.4f} s more than their share, bound {bound:.4f}"]
    return []


@FEW
@given(COSTS, SEEDS, st.floats(0.01, 0.5), st.integers(1, 3), MODES)
def test_the_guard_never_takes_more_than_its_share(costs, seed, share, slots, mode):
    trace = run(
        backlog(partitions=5), random_cost(seed, costs), slots, share=share, mode=mode, dispatches=600
    )
    assert check_cap(trace, share, slots) == []
    assert trace.violations == []


@pytest.mark.parametrize("guard", [Uncapped, Rude])
def test_the_cap_rejects(guard):
    """The one without cap; the rude one keeps the cap, for it is wrong in another way."""
    trace = run(backlog(), random_cost(1, EVEN), guard=guard, mode="strict", dispatches=1000)
    assert (check_cap(trace, 0.1) == []) is (guard is Rude)
    assert any(one.guarded for one in trace.served)


# --- served in time ------------------------------------------------------------------------------


def check_age(trace: Trace, limits, slots: int = 1) -> list[str]:
    """Each record of a watched class, coming so rarely that the cap is not reached, is served in time.

    That is: within its limit, what is in service, two more batches, and a hundredth of the least limit.
    """
    longest = max(one.cost for one in trace.served)
    patience = (slots + 2) * longest + min(limits.values()) / 100
    return [
        f"age: {one.priority_class} waited for {one.start - one.arrived:.4f} s at dispatch {one.index}"
        for one in trace.served
        if one.priority_class in limits
        and one.start - one.arrived > limits[one.priority_class] + patience + 1e-9
    ]


def rare(seconds: float = 1.5) -> list[Arrival]:
    """DEBUG and INFO that come rarely, behind more urgent classes that never run dry."""
    return [
        *backlog(["critical", "error"]),
        *sparse("debug", [0.25] * int(seconds / 0.25)),
        *sparse("info", [0.31] * int(seconds / 0.31)),
    ]


@FEW
@given(st.floats(5e-4, 4e-3), SEEDS, st.integers(1, 3), MODES)
def test_an_old_head_is_served_in_time(cost, seed, slots, mode):
    trace = run(
        rare(),
        lambda priority_class, records: cost,
        slots,
        mode=mode,
        horizon=2.0,
        dispatches=100_000,
    )
    assert check_age(trace, LIMITS, slots) == []
    assert {one.priority_class for one in trace.served} >= {"debug", "info"}


def test_age_rejects_no_guard():
    trace = run(
        [*rare(), Arrival(1.8, "critical", 0, 1)],
        lambda priority_class, records: 0.002,
        guard=None,
        mode="strict",
        horizon=2.0,
        dispatches=100_000,
    )
    assert {one.priority_class for one in trace.served} == {"critical"}, "the others are never served"
    late = run(
        [*backlog(["critical", "error"], count=1000), *sparse("debug", [0.25] * 4)],
        lambda priority_class, records: 0.02 * len(records),
        guard=None,
        mode="strict",
        dispatches=100_000,
    )
    assert check_age(late, LIMITS) != []


def test_the_first_to_pass_its_limit_is_served_first():
    """By the time at which they pass their limits, not by rank or by the time at which they came."""
    trace = run(
        [*backlog(["critical"]), Arrival(0.0, "debug", 0, 1), Arrival(0.05, "info", 0, 1)],
        lambda priority_class, records: 0.002,
        mode="strict",
        horizon=0.5,
        dispatches=10_000,
    )
    assert [one.priority_class for one in trace.served if one.guarded] == ["info", "debug"]


def test_within_a_class_the_oldest_head_is_served_first():
    arrivals = [Arrival(0.01 * place, "debug", partition, 1) for place, partition in enumerate((3, 0, 2, 1))]
    trace = run(
        [*backlog(["critical"]), *arrivals],
        lambda priority_class, records: 0.002,
        mode="strict",
        horizon=0.5,
        dispatches=10_000,
    )
    assert [one.partition for one in trace.served if one.guarded] == [3, 0, 2, 1]


# --- the other bounds, with the guard ---------------------------------------------------------------


@FEW
@given(COSTS, st.lists(st.floats(0.0005, 0.5), min_size=5, max_size=40), SEEDS, st.integers(1, 3))
def test_prompt_critical_with_the_guard(costs, pauses, seed, slots):
    """The same bound, to the batch, as without the guard; however much is old."""
    arrivals = [*backlog(OTHERS, partitions=5), *sparse("critical", pauses)]
    limits = dict.fromkeys(OTHERS, 0.001)
    trace = run(arrivals, random_cost(seed, costs), slots, limits=limits, share=0.5, dispatches=500)
    if slots == 1:
        assert check_prompt(trace, WEIGHTS) == []
    else:
        # Several slots may fall free at one moment, and the guard may have one of them.
        for case in prompt_cases(trace, WEIGHTS):
            guarded = [one for one in trace.served[: case.index] if one.guarded and one.start > case.since]
            assert len(guarded) <= 1


def test_prompt_critical_rejects_a_rude_guard():
    arrivals = [*backlog(OTHERS), *sparse("critical", [0.1] * 20)]
    limits = dict.fromkeys(OTHERS, 0.001)
    for guard, passes in ((AgeGuard, True), (Rude, False)):
        trace = run(
            arrivals,
            random_cost(1, EVEN),
            guard=guard,
            limits=limits,
            share=0.5,
            horizon=3.0,
            dispatches=10_000,
        )
        assert (check_prompt(trace, WEIGHTS) == []) is passes


@FEW
@given(COSTS, SEEDS)
def test_fair_share_of_the_rest(costs, seed):
    """What the guard serves is a budget of its own; all the rest obeys the bound of fair share."""
    trace = run(backlog(), random_cost(seed, costs), limits={"debug": 0.01}, dispatches=500)
    rest = replace(trace, served=[one for one in trace.served if not one.guarded])
    assert check_fair_share(rest, WEIGHTS) == []


@FEW
@given(COSTS, SEEDS, st.integers(1, 4), MODES)
def test_order_and_work_with_the_guard(costs, seed, slots, mode):
    """Work conserving and in partition order, through to the last record."""
    arrivals = [
        Arrival(place / 500, priority_class, partition, 5)
        for place in range(30)
        for priority_class in CLASSES
        for partition in (0, 1)
    ]
    limits = {"debug": 0.02, "critical": 0.01}
    trace = run(
        arrivals, random_cost(seed, costs), slots, limits=limits, share=0.5, mode=mode, dispatches=100_000
    )
    assert trace.violations == []
    assert sum(len(one.offsets) for one in trace.served) == sum(one.count for one in arrivals)


def test_rebalances_with_the_guard():
    actions = [
        (0.05 * step, lambda sim, step=step: (sim.revoke if step % 2 else sim.assign)("debug", step % 3))
        for step in range(1, 40)
    ]
    trace = run(
        [*backlog(["critical"]), *(Arrival(0.01 * n, "debug", n % 3, 3) for n in range(200))],
        lambda priority_class, records: 0.002,
        limits={"debug": 0.02},
        mode="strict",
        actions=actions,
        horizon=2.5,
        dispatches=100_000,
    )
    assert trace.violations == []
    assert any(one.guarded for one in trace.served)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"age_limits": {"debug": 0.0}, "clock": Clock()}, "above 0 seconds"),
        ({"age_limits": {"debug": 1.0}, "clock": Clock(), "guard_share": 1.0}, "between 0 and 1"),
        ({"age_limits": {"trace": 1.0}, "clock": Clock()}, "no class trace"),
        ({"age_limits": {"debug": 1.0}}, "needs a clock"),
    ],
)
def test_wrong_limits_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        real_scheduler(**options)
