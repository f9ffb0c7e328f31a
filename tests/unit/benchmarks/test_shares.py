"""The pure parts of the shares benchmark, and that unfair scheduling misses its targets."""

from __future__ import annotations

import pytest

from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.service import PRIORITIES, Served
from tests.benchmarks.shares import (
    LEAST_JAIN,
    MOST_ERROR,
    SCENARIOS,
    WEIGHTS,
    backlogged_window,
    backlogs,
    jain,
    relative_errors,
)


def served(records: int, seconds: float = 0.0) -> Served:
    return Served(dict.fromkeys(PRIORITIES, records), dict.fromkeys(PRIORITIES, seconds))


def test_time_by_weight_is_fair() -> None:
    seconds = {name: 0.5 * weight for name, weight in WEIGHTS.items()}
    assert jain(seconds, WEIGHTS) == pytest.approx(1.0)
    assert max(map(abs, relative_errors(seconds, WEIGHTS).values())) == pytest.approx(0.0)


def test_a_share_charged_by_count_is_found_to_be_unfair() -> None:
    """Negative control: 16:8:4:2:1 records, DEBUG 20 times dearer: it gets 40 % of the time, not 3 %."""
    cost = dict.fromkeys(PRIORITIES, 1.0) | {"DEBUG": 20.0}
    seconds = {name: weight * cost[name] for name, weight in WEIGHTS.items()}
    assert relative_errors(seconds, WEIGHTS)["DEBUG"] == pytest.approx(0.4 * 31 - 1)
    assert jain(seconds, WEIGHTS) < LEAST_JAIN
    assert max(map(abs, relative_errors(seconds, WEIGHTS).values())) > MOST_ERROR


@pytest.mark.parametrize("wrong", [1.03, 0.97])
def test_three_per_cent_off_misses_the_target(wrong: float) -> None:
    seconds = {name: weight * (wrong if name == "DEBUG" else 1.0) for name, weight in WEIGHTS.items()}
    assert abs(relative_errors(seconds, WEIGHTS)["DEBUG"]) > MOST_ERROR


def test_backlogs_last_equally_long() -> None:
    records = backlogs(SCENARIOS[1], 10.0, 100.0)
    times = {
        name: count * (2010 if name == "DEBUG" else 110) / WEIGHTS[name] for name, count in records.items()
    }
    assert max(times.values()) == pytest.approx(min(times.values()), rel=0.05)


def test_the_window_begins_when_all_are_served_and_ends_before_one_runs_out() -> None:
    published = dict.fromkeys(PRIORITIES, 100)
    idle_debug = Served(served(5).records | {"DEBUG": 0}, served(0).seconds)
    samples = [(0.0, idle_debug), (1.0, served(10)), (2.5, served(20)), (4.0, served(60)), (5.0, served(98))]
    assert backlogged_window(samples, published, 1.0) == (2, 3)


def test_without_a_window_it_says_so() -> None:
    published = dict.fromkeys(PRIORITIES, 100)
    with pytest.raises(BenchmarkError, match="publish more"):
        backlogged_window([(0.0, served(50)), (1.0, served(99))], published, 0.0)
