"""Invariants of the scheduler on a virtual clock: fair share, no starvation, live weight changes.

Every invariant comes with its negative control: schedulers that break it, which the same check must reject.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.priority import Priority
from streams.settings import PROFILES
from tests.property.scheduling_broken import (
    ArrearsPaid,
    CountCharged,
    DeafToWeights,
    Fifo,
    Forgetful,
    RoundRobin,
    StrictByRank,
)
from tests.property.scheduling_checks import (
    check_fair_share,
    check_no_gain_by_blinking,
    check_no_starvation,
    check_no_starvation_in_time,
    check_shares,
)
from tests.property.scheduling_simulator import (
    CLASSES,
    COSTS,
    EVEN,
    MODERATE,
    SEEDS,
    WEIGHTINGS,
    WEIGHTS,
    Arrival,
    Trace,
    backlog,
    random_cost,
    real_scheduler,
    simulate,
    unit_cost,
)

DEBUG_DEAR = EVEN | {"debug": 0.02}


@st.composite
def bursts(draw):
    """Some classes have an endless backlog, the others come in bursts, so that they go idle and come back."""
    endless = draw(st.sets(st.sampled_from(CLASSES), min_size=1))
    arrivals = backlog(endless)
    for priority_class in CLASSES:
        if priority_class not in endless:
            for time in draw(st.lists(st.floats(0, 2), max_size=8)):
                partition = draw(st.integers(0, 3))
                arrivals.append(Arrival(time, priority_class, partition, draw(st.integers(1, 300))))
    return arrivals


# --- fair share ----------------------------------------------------------------------------------


@MODERATE
@given(WEIGHTINGS, COSTS, bursts(), SEEDS)
def test_fair_share(weights, costs, arrivals, seed):
    trace = simulate(real_scheduler(weights), arrivals, random_cost(seed, costs), dispatches=600)
    assert check_fair_share(trace, weights) == []


@MODERATE
@given(WEIGHTINGS, COSTS, SEEDS, st.integers(2, 4))
def test_fair_share_with_several_in_flight(weights, costs, seed, slots):
    """With partitions enough to fill the slots, the bound is K times as wide with K in flight."""
    scheduler = real_scheduler(weights, slots)
    trace = simulate(
        scheduler, backlog(partitions=slots + 1), random_cost(seed, costs), slots, dispatches=600
    )
    assert check_fair_share(trace, weights, slots) == []


@MODERATE
@given(COSTS, SEEDS)
def test_fair_share_at_the_weights_of_2011(costs, seed):
    """The profile yagi-2011, in which CRITICAL has 99.7 % of all weight."""
    weights = {
        priority_class: float(PROFILES["yagi-2011"][Priority(priority_class.upper())])
        for priority_class in CLASSES
    }
    trace = simulate(real_scheduler(weights), backlog(), random_cost(seed, costs), dispatches=600)
    assert check_fair_share(trace, weights) == []
    rest = simulate(real_scheduler(weights), backlog(CLASSES[1:]), random_cost(seed, costs), dispatches=600)
    assert check_fair_share(rest, weights) == []


@MODERATE
@given(COSTS, SEEDS)
def test_long_run_shares_follow_the_weights_whatever_a_record_costs(costs, seed):
    trace = simulate(real_scheduler(), backlog(), random_cost(seed, costs), dispatches=2500)
    longest = max(one.cost for one in trace.served)
    tolerance = 31 * longest / sum(trace.service_seconds().values())
    assert check_shares(trace, WEIGHTS, tolerance) == []


@pytest.mark.parametrize("broken", [Fifo, RoundRobin, CountCharged, StrictByRank])
def test_fair_share_rejects(broken):
    trace = simulate(broken(), backlog(), random_cost(1, DEBUG_DEAR), dispatches=600)
    assert check_fair_share(trace, WEIGHTS) != []
    assert check_shares(trace, WEIGHTS, 0.1) != []


def test_fair_share_rejects_a_scheduler_that_starts_a_newcomer_too_early():
    """One that pays arrears lets a class that was idle shut out the others."""
    arrivals = [*backlog(["debug", "error"]), *backlog(["critical"], time=2.0)]
    assert check_fair_share(simulate(real_scheduler(), arrivals, unit_cost), WEIGHTS) == []
    late = [*backlog(["debug", "error"]), *backlog(["critical"], time=900.0)]
    trace = simulate(ArrearsPaid(), late, unit_cost)
    assert check_fair_share(trace, WEIGHTS) != []


def test_fair_share_with_several_in_flight_rejects_counting():
    trace = simulate(CountCharged(max_in_flight=3), backlog(), random_cost(1, DEBUG_DEAR), 3, dispatches=600)
    assert check_fair_share(trace, WEIGHTS, 3) != []


@MODERATE
@given(WEIGHTINGS, COSTS, bursts(), SEEDS)
def test_going_idle_and_coming_back_gains_nothing(weights, costs, arrivals, seed):
    trace = simulate(real_scheduler(weights), arrivals, random_cost(seed, costs), dispatches=600)
    assert check_no_gain_by_blinking(trace, weights) == []


@MODERATE
@given(WEIGHTINGS, st.lists(st.floats(0, 3), min_size=20, max_size=200))
def test_single_records_well_timed_gain_nothing(weights, pauses):
    """A class whose records come one by one, as if to find it idle, gets no more than its share."""
    arrivals = [*backlog(["error"]), *(Arrival(time, "debug", 0, 1) for time in accumulate(pauses))]
    trace = simulate(real_scheduler(weights), arrivals, unit_cost, dispatches=400)
    assert check_no_gain_by_blinking(trace, weights) == []


def test_blinking_rejects_a_scheduler_that_forgets():
    """DEBUG comes every 2 s and takes 1 s: half of the time, where its share is a ninth."""
    arrivals = [*backlog(["error"]), *(Arrival(time + 0.5, "debug", 0, 1) for time in range(0, 400, 2))]
    for scheduler, passes in ((real_scheduler(), True), (Forgetful(), False)):
        trace = simulate(scheduler, arrivals, unit_cost, dispatches=400)
        assert (check_no_gain_by_blinking(trace, WEIGHTS) == []) is passes


# --- no starvation -------------------------------------------------------------------------------


@MODERATE
@given(WEIGHTINGS, bursts())
def test_no_starvation(weights, arrivals):
    scheduler = real_scheduler(weights, max_batch_records=1)
    trace = simulate(scheduler, arrivals, unit_cost, dispatches=600)
    assert check_no_starvation(trace, weights) == []


def test_no_starvation_of_debug_at_the_default_weights():
    """The bound in the documents: DEBUG gets a turn at least every 35 dispatches."""
    trace = simulate(real_scheduler(max_batch_records=1), backlog(), unit_cost)
    turns = [one.index for one in trace.served if one.priority_class == "debug"]
    assert max(after - before for before, after in pairwise(turns)) <= 35


@MODERATE
@given(WEIGHTINGS, COSTS, bursts(), SEEDS)
def test_no_starvation_in_time(weights, costs, arrivals, seed):
    trace = simulate(real_scheduler(weights), arrivals, random_cost(seed, costs), dispatches=600)
    assert check_no_starvation_in_time(trace, weights) == []


@pytest.mark.parametrize("broken", [Fifo, StrictByRank, ArrearsPaid])
def test_no_starvation_rejects(broken):
    trace = simulate(broken(), [*backlog(["debug"]), *backlog(["critical"], time=500.0)], unit_cost)
    if broken is StrictByRank:
        assert check_no_starvation(trace, WEIGHTS) == [
            "starvation: debug waited for 1500 dispatches, bound 35"
        ]
    assert check_no_starvation(trace, WEIGHTS) != []
    assert check_no_starvation_in_time(trace, WEIGHTS) != []


def test_strict_mode_starves_as_its_name_says():
    """Also a control: the check sees starvation in the real scheduler, when it is told to starve."""
    trace = simulate(real_scheduler(mode="strict", max_batch_records=1), backlog(), unit_cost)
    assert len(check_no_starvation(trace, WEIGHTS)) == 4


# --- the floor -----------------------------------------------------------------------------------


def check_floor(trace: Trace, floor: float, window: float) -> list[str]:
    """Any stretch of a window of service in which another class waited gives the others their floor."""
    longest = max(one.cost for one in trace.served)
    others = 0.0
    total = 0.0
    first = 0
    for one in trace.served:
        total += one.cost
        others += one.cost * (one.priority_class != "critical")
        while total - trace.served[first].cost >= window:
            total -= trace.served[first].cost
            others -= trace.served[first].cost * (trace.served[first].priority_class != "critical")
            first += 1
        if total >= window and others < floor * window - longest - window / 100 - 1e-9:
            return [f"floor: the others got {others:.4f} of {total:.4f} s up to dispatch {one.index}"]
    return []


@MODERATE
@given(COSTS, SEEDS, st.floats(0.02, 0.5))
def test_strict_with_floor_keeps_the_floor(costs, seed, floor):
    scheduler = real_scheduler(mode="strict-with-floor", floor=floor)
    trace = simulate(scheduler, backlog(), random_cost(seed, costs), dispatches=1000)
    assert check_floor(trace, floor, 1.0) == []


@MODERATE
@given(WEIGHTINGS, COSTS, SEEDS)
def test_strict_with_floor_shares_the_rest_by_weight(weights, costs, seed):
    scheduler = real_scheduler(weights, mode="strict-with-floor")
    trace = simulate(scheduler, backlog(), random_cost(seed, costs), dispatches=1000)
    del weights["critical"]
    assert check_fair_share(trace, weights) == []


def test_floor_rejects_strict():
    for scheduler in (real_scheduler(mode="strict"), StrictByRank()):
        trace = simulate(scheduler, backlog(), random_cost(1, EVEN), dispatches=3000)
        assert check_floor(trace, 0.05, 1.0) != []


# --- live weight changes -------------------------------------------------------------------------

CHANGES = st.lists(st.tuples(st.floats(0.01, 1.0), WEIGHTINGS), min_size=1, max_size=4)


def changing(changes):
    return [(time, lambda simulation, new=new: simulation.set_weights(new)) for time, new in changes]


@MODERATE
@given(WEIGHTINGS, COSTS, SEEDS, CHANGES)
def test_weight_changes_hold_at_once(weights, costs, seed, changes):
    """From the first dispatch after a change, shares obey the new weights' bound."""
    trace = simulate(
        real_scheduler(weights),
        backlog(),
        random_cost(seed, costs),
        dispatches=600,
        actions=changing(changes),
    )
    assert check_fair_share(trace, weights) == []


def test_weight_changes_reject_a_scheduler_that_ignores_them():
    reverse = dict(zip(CLASSES, reversed(WEIGHTS.values()), strict=True))
    for scheduler, passes in ((real_scheduler(), True), (DeafToWeights(), False)):
        trace = simulate(
            scheduler,
            backlog(),
            random_cost(1, EVEN),
            dispatches=600,
            actions=changing([(0.2, reverse)]),
        )
        assert trace.weight_changes
        assert (check_fair_share(trace, WEIGHTS) == []) is passes
