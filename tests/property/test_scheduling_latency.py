"""Invariants of the scheduler on a virtual clock: prompt CRITICAL, independence of the backlog's depth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.scheduling_broken import CountCharged, Fifo, RoundRobin
from tests.property.scheduling_checks import check_prompt, prompt_cases
from tests.property.scheduling_simulator import (
    CLASSES,
    COSTS,
    EVEN,
    MODERATE,
    OTHERS,
    SEEDS,
    WEIGHTS,
    Arrival,
    backlog,
    random_cost,
    real_scheduler,
    simulate,
)

#: Pauses between single CRITICAL records, in seconds.
PAUSES = st.lists(st.floats(0.0005, 0.5), min_size=5, max_size=40)


def sparse(pauses, partitions=4):
    """CRITICAL records one by one."""
    time = 0.0
    arrivals = []
    for place, pause in enumerate(pauses):
        time += pause
        arrivals.append(Arrival(time, "critical", place % partitions, 1))
    return arrivals


@MODERATE
@given(COSTS, PAUSES, st.sets(st.sampled_from(OTHERS), min_size=1), SEEDS, st.integers(1, 4))
def test_prompt_critical(costs, pauses, saturated, seed, slots):
    """CRITICAL waits for at most the batches in service, with any costs and any number in flight."""
    arrivals = [*backlog(saturated, partitions=5), *sparse(pauses)]
    trace = simulate(real_scheduler(slots=slots), arrivals, random_cost(seed, costs), slots, dispatches=1000)
    assert check_prompt(trace, WEIGHTS) == []


@MODERATE
@given(COSTS, PAUSES, SEEDS, st.integers(2, 3))
def test_prompt_critical_when_partitions_run_short(costs, pauses, seed, slots):
    """A class with one partition cannot fill its share of several slots, and has a credit; nobody else has.

    The credit is as much as the batches in flight can explain, so its catching up is short.
    """
    arrivals = [*backlog(["error"], 1), *backlog(["debug"], 5), *sparse(pauses)]
    trace = simulate(real_scheduler(slots=slots), arrivals, random_cost(seed, costs), slots, dispatches=1000)
    assert check_prompt(trace, WEIGHTS, creditors={"error"}) == []
    longest = max(one.cost for one in trace.served)
    credit = (slots + 1) * longest / WEIGHTS["debug"] * WEIGHTS["error"]
    for case in prompt_cases(trace, WEIGHTS):
        before = [
            one
            for one in trace.served[: case.index]
            if one.start > case.since and one.priority_class == "error"
        ]
        assert sum(one.cost for one in before) <= credit + longest


@MODERATE
@given(COSTS, PAUSES, SEEDS)
def test_prompt_critical_with_a_floor(costs, pauses, seed):
    """Sparse CRITICAL stays under its part of the window, so strict-with-floor serves it next, too."""
    arrivals = [*backlog(OTHERS), *sparse(pauses)]
    scheduler = real_scheduler(mode="strict-with-floor")
    trace = simulate(scheduler, arrivals, random_cost(seed, costs), dispatches=1000)
    assert check_prompt(trace, WEIGHTS) == []


def test_prompt_critical_is_put_to_the_test():
    """The cases the check looks at are nearly all there are when CRITICAL is sparse."""
    trace = simulate(
        real_scheduler(),
        [*backlog(OTHERS), *sparse([0.1] * 50)],
        random_cost(1, EVEN),
        horizon=6.0,
        dispatches=10_000,
    )
    assert len(trace.dispatch_times("critical")) == 50
    assert len(prompt_cases(trace, WEIGHTS)) >= 45


def test_wait_of_critical_is_one_batch_even_when_records_are_cheap():
    """Batches are cut to 2 ms of service, so the wait is about that, whatever the number of records."""
    cheap = dict.fromkeys(CLASSES, 5e-6)
    trace = simulate(
        real_scheduler(),
        [*backlog(OTHERS), *sparse([0.05] * 100)],
        lambda priority_class, records: len(records) * cheap[priority_class],
        horizon=6.0,
        dispatches=10_000,
    )
    waits = [one.start - one.since for one in trace.served if one.priority_class == "critical"]
    assert len(waits) == 100
    assert max(waits) <= 0.0021
    assert max(len(one.offsets) for one in trace.served) > 100


@pytest.mark.parametrize("broken", [Fifo, RoundRobin, CountCharged])
def test_prompt_critical_rejects(broken):
    arrivals = [*backlog(OTHERS), *sparse([0.1] * 20)]
    trace = simulate(broken(), arrivals, random_cost(1, EVEN), horizon=3.0, dispatches=10_000)
    trace_real = simulate(real_scheduler(), arrivals, random_cost(1, EVEN), horizon=3.0, dispatches=10_000)
    assert check_prompt(trace_real, WEIGHTS) == []
    if broken is Fifo:
        assert trace.dispatch_times("critical") == [], "it waits for the whole backlog"
    else:
        assert check_prompt(trace, WEIGHTS) != []


# --- independence of the backlog -----------------------------------------------------------------


def critical_times(scheduler, depth, pauses, seed, slots=1):
    """When CRITICAL was dispatched over ``depth`` records of DEBUG, half a second long."""
    arrivals = [*backlog(["debug"], partitions=4, count=depth), *sparse(pauses)]
    trace = simulate(scheduler, arrivals, random_cost(seed, EVEN), slots, horizon=0.5, dispatches=100_000)
    return trace.dispatch_times("critical")


@MODERATE
@given(st.lists(st.floats(0.0005, 0.1), min_size=5, max_size=40), SEEDS, st.integers(1, 3))
def test_backlog_depth_does_not_change_the_dispatch_of_critical(pauses, seed, slots):
    """Metamorphic: with 1,000, 100,000 or 10,000,000 DEBUG records a partition, the times are the same."""
    times = [
        critical_times(real_scheduler(slots=slots), depth, pauses, seed, slots)
        for depth in (1000, 100_000, 10_000_000)
    ]
    assert times[0] == times[1] == times[2]
    assert times[0]


def test_backlog_independence_rejects_one_queue_for_all():
    pauses = [0.01] * 20
    shallow = critical_times(Fifo(), 10, pauses, 1)
    deep = critical_times(Fifo(), 10_000, pauses, 1)
    assert shallow != deep
