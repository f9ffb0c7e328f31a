"""Invariants of interruptions, on a virtual clock: CRITICAL does not wait, and nobody's share moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.scheduling.scheduler import Scheduler
from tests.property.scheduling_checks import (
    check_fair_share,
    check_no_gain_by_blinking,
    check_prompt,
    prompt_cases,
)
from tests.property.scheduling_simulator import (
    COSTS,
    EVEN,
    MODERATE,
    OTHERS,
    SEEDS,
    WEIGHTINGS,
    WEIGHTS,
    Arrival,
    Trace,
    backlog,
    random_cost,
    real_scheduler,
    simulate,
    specs,
)

#: When CRITICAL comes, in seconds, and how many records of it.
BURSTS = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3), st.integers(1, 300)), min_size=1, max_size=60)


def bursts(some):
    return [Arrival(time, "critical", partition, count) for time, partition, count in some]


def interrupted(trace: Trace) -> int:
    return sum(one.paused > 0 for one in trace.served)


def share_of_debug(trace: Trace) -> float:
    seconds = trace.service_seconds()
    return seconds["debug"] / sum(seconds.values())


class WheneverItComes(Scheduler[str, int, int]):
    """Wrong: the top class interrupts whatever it has had."""

    def may_interrupt(self) -> bool:
        return True


@MODERATE
@given(COSTS, BURSTS, st.sets(st.sampled_from(OTHERS), min_size=1), SEEDS)
def test_critical_that_is_under_its_share_does_not_wait(costs, some, saturated, seed):
    arrivals = [*backlog(saturated), *bursts(some)]
    trace = simulate(real_scheduler(), arrivals, random_cost(seed, costs), interrupting=True, dispatches=1000)
    assert check_prompt(trace, WEIGHTS) == []
    assert [one for one in prompt_cases(trace, WEIGHTS) if one.start > one.since] == []


def test_without_interruptions_it_waits():
    arrivals = [*backlog(OTHERS), *bursts([(0.01 * n, 0, 1) for n in range(1, 50)])]
    cost = random_cost(1, EVEN)
    plain = simulate(real_scheduler(), arrivals, cost, horizon=0.6, dispatches=10_000)
    assert [one for one in prompt_cases(plain, WEIGHTS) if one.start > one.since]
    assert interrupted(plain) == 0
    trace = simulate(
        real_scheduler(), arrivals, random_cost(1, EVEN), interrupting=True, horizon=0.6, dispatches=10_000
    )
    assert interrupted(trace) > 20


@MODERATE
@given(WEIGHTINGS, COSTS, BURSTS, st.sets(st.sampled_from(OTHERS), min_size=1), SEEDS)
def test_fair_share_with_interruptions(weights, costs, some, saturated, seed):
    arrivals = [*backlog(saturated), *bursts(some)]
    trace = simulate(
        real_scheduler(weights), arrivals, random_cost(seed, costs), interrupting=True, dispatches=600
    )
    assert trace.violations == []
    assert check_fair_share(trace, weights) == []
    assert check_no_gain_by_blinking(trace, weights) == []


@MODERATE
@given(BURSTS, st.sets(st.sampled_from(OTHERS), min_size=1))
def test_one_batch_of_critical_at_most_in_the_middle_of_another(some, saturated):
    trace = simulate(
        real_scheduler(),
        [*backlog(saturated), *bursts(some)],
        lambda _, records: len(records) * 0.001,
        interrupting=True,
        dispatches=600,
    )
    longest = max((one.cost for one in trace.served if one.priority_class == "critical"), default=0.0)
    assert all(one.paused <= longest + 1e-9 for one in trace.served)


def test_fair_share_rejects_interruptions_by_whoever_has_had_more():
    """CRITICAL that comes all the time, in weights that give it little, would shut out DEBUG."""
    weights = WEIGHTS | {"critical": 0.5, "debug": 64.0}
    arrivals = [*backlog(["debug"]), *bursts([(0.0005 * n, n % 4, 2) for n in range(4000)])]
    found = {}
    for name, scheduler in (("real", real_scheduler(weights)), ("broken", WheneverItComes(specs(weights)))):
        trace = simulate(
            scheduler, arrivals, lambda _, records: len(records) * 0.001, interrupting=True, dispatches=3000
        )
        found[name] = check_fair_share(trace, weights) + check_no_gain_by_blinking(trace, weights)
    assert found["real"] == []
    assert found["broken"] != []


@pytest.mark.parametrize("mode", ["strict", "strict-with-floor"])
def test_critical_that_is_served_first_anyway_does_not_wait(mode):
    arrivals = [*backlog(OTHERS), *bursts([(0.01 * n, 0, 1) for n in range(1, 50)])]
    trace = simulate(
        real_scheduler(mode=mode),
        arrivals,
        random_cost(1, EVEN),
        interrupting=True,
        horizon=0.6,
        dispatches=10_000,
    )
    assert all(one.start == one.since for one in trace.served if one.priority_class == "critical")
    assert interrupted(trace) > 20


def test_the_floor_is_left_to_the_others_by_interruptions_too():
    """As without them: 5 % of each second, less one batch and a hundredth of the second."""
    arrivals = [*backlog(["debug"]), *bursts([(0.0005 * n, n % 4, 4) for n in range(8000)])]
    trace = simulate(
        real_scheduler(mode="strict-with-floor"),
        arrivals,
        lambda _, records: len(records) * 0.001,
        interrupting=True,
        dispatches=2000,
    )
    assert share_of_debug(trace) > 0.05 - 0.01 - 0.002
    broken = simulate(
        WheneverItComes(specs(), "strict-with-floor"),
        arrivals,
        lambda _, records: len(records) * 0.001,
        interrupting=True,
        dispatches=2000,
    )
    assert share_of_debug(broken) < 0.01
