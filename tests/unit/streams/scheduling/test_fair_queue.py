"""The fair queue and the orders built on it: single rules."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from streams.scheduling.fair_queue import FairQueue
from streams.scheduling.modes import Mode, Strict, StrictWithFloor, Weighted, make_order
from streams.scheduling.share_window import ShareWindow

WEIGHTS = {"critical": 16.0, "error": 8.0, "warn": 4.0, "info": 2.0, "debug": 1.0}


def serve(order, queue, cost):
    """One batch, whole; the class served."""
    key = order.pick()
    guess = queue.guess(key)
    order.finish(key, guess, cost(key) if callable(cost) else cost)
    return key


def seconds_served(order, queue, batches, cost):
    """Service time of each class in so many batches, in seconds."""
    seconds = Counter()
    for _ in range(batches):
        key = serve(order, queue, cost)
        seconds[key] += cost(key) if callable(cost) else cost
    return seconds


def backlogged(weights=None):
    queue = FairQueue(weights or WEIGHTS)
    for key in queue.weights:
        queue.activate(key)
    return queue


def test_nothing_backlogged_gives_nothing():
    assert FairQueue(WEIGHTS).pick() is None


def test_equal_tags_go_by_rank_not_by_order_of_weights():
    queue = FairQueue({"low": 1, "high": 1}, {"low": 5, "high": 2})
    queue.activate("low")
    queue.activate("high")
    assert queue.pick() == "high"


def test_unit_costs_are_shared_exactly_by_weight():
    queue = backlogged()
    served = Counter(serve(queue, queue, 1.0) for _ in range(31 * 20))
    assert served == {"critical": 320, "error": 160, "warn": 80, "info": 40, "debug": 20}


def test_time_not_count_is_shared_when_debug_costs_twenty_times_as_much():
    queue = backlogged()
    seconds = seconds_served(queue, queue, 20_000, lambda key: 20.0 if key == "debug" else 1.0)
    total = sum(seconds.values())
    for key in WEIGHTS:
        assert seconds[key] / total == pytest.approx(queue.share(key), abs=0.001)


def test_class_that_was_idle_starts_at_virtual_time_and_gets_no_arrears():
    queue = FairQueue({"a": 1, "b": 1})
    queue.activate("a")
    for _ in range(100):
        serve(queue, queue, 1.0)
    queue.activate("b")
    assert queue.start_tag("b") == queue.virtual_time
    served = Counter(serve(queue, queue, 1.0) for _ in range(20))
    assert served == {"a": 10, "b": 10}


def test_class_that_blinks_keeps_its_finish_tag():
    """Going idle and coming back does not clear what a class has used."""
    queue = FairQueue({"a": 1, "b": 1})
    queue.activate("a")
    queue.activate("b")
    served = Counter()
    for _ in range(20):
        key = queue.pick()
        guess = queue.guess(key)
        queue.deactivate(key)
        queue.activate(key)
        queue.finish(key, guess, 1.0)
        served[key] += 1
    assert served == {"a": 10, "b": 10}


def test_idle_period_ends_all_debts():
    queue = FairQueue({"a": 1, "b": 1})
    queue.activate("a")
    serve(queue, queue, 1000.0)
    queue.deactivate("a")
    queue.activate("b")
    queue.activate("a")
    assert queue.start_tag("a") == queue.start_tag("b") == 1000.0


def test_guess_is_charged_at_dispatch_and_corrected_at_the_end():
    queue = FairQueue({"a": 2, "b": 1})
    queue.activate("a")
    serve(queue, queue, 4.0)
    assert queue.guess("a") == 4.0
    assert queue.start_tag("a") == 2.0
    assert queue.pick() == "a"
    assert queue.start_tag("a") == 4.0, "charged with the guess"
    queue.finish("a", 4.0, 1.0)
    assert queue.start_tag("a") == 2.5, "charged with the cost"
    queue.deactivate("a")
    queue.activate("b")
    assert queue.start_tag("b") == 2.5, "nothing is in flight: a new busy period, level with the old one"


def test_several_in_flight_go_to_different_classes_once_costs_are_known():
    queue = FairQueue({"a": 1, "b": 1})
    queue.activate("a")
    queue.activate("b")
    serve(queue, queue, 1.0)
    serve(queue, queue, 1.0)
    assert {queue.pick(), queue.pick()} == {"a", "b"}


def test_newcomer_starts_level_with_a_class_corrected_below_virtual_time():
    queue = FairQueue({"critical": 16, "b": 1, "c": 1})
    for key in ("b", "c"):
        queue.activate(key)
    for _ in range(2):
        serve(queue, queue, 10.0)
    assert [queue.pick() for _ in range(3)] == ["b", "c", "b"]
    assert queue.virtual_time == 20.0
    queue.activate("critical")
    queue.finish("c", 10.0, 0.1)
    assert queue.start_tag("c") == pytest.approx(10.1)
    assert queue.start_tag("c") < queue.virtual_time
    assert queue.pick() == "critical"


def test_newcomer_that_comes_after_the_correction_starts_level_as_well():
    queue = FairQueue({"critical": 16, "b": 1, "c": 1})
    for key in ("b", "c"):
        queue.activate(key)
    for _ in range(2):
        serve(queue, queue, 10.0)
    assert [queue.pick() for _ in range(3)] == ["b", "c", "b"]
    queue.finish("c", 10.0, 0.1)
    queue.activate("critical")
    assert queue.start_tag("critical") == queue.start_tag("c") < queue.virtual_time
    assert queue.pick() == "critical"


def test_class_that_comes_back_starts_at_what_it_has_used():
    queue = FairQueue({"a": 1, "b": 1})
    queue.activate("b")
    queue.activate("a")
    assert serve(queue, queue, 1.0) == "a"
    assert serve(queue, queue, 1.0) == "b"
    assert serve(queue, queue, 10.0) == "a"
    queue.deactivate("a")
    queue.activate("a")
    assert queue.start_tag("a") == 11.0
    assert [serve(queue, queue, 1.0) for _ in range(10)] == ["b"] * 10


def test_suspended_class_is_passed_over_but_stays_backlogged():
    queue = FairQueue({"a": 1, "b": 1})
    queue.activate("a")
    queue.activate("b")
    queue.suspend("a")
    assert queue.others_active("b")
    assert [serve(queue, queue, 1.0) for _ in range(3)] == ["b"] * 3
    queue.resume("a")
    assert queue.pick() == "a"


def test_credit_of_a_suspended_class_is_bounded():
    queue = FairQueue({"a": 1, "b": 1})
    queue.activate("a")
    queue.activate("b")
    serve(queue, queue, 1.0)
    queue.suspend("a")
    for _ in range(1000):
        serve(queue, queue, 1.0)
    queue.resume("a")
    assert queue.virtual_time - 2.0 <= queue.start_tag("a") <= queue.virtual_time


def test_resume_of_an_idle_class_does_nothing():
    queue = FairQueue({"a": 1})
    queue.resume("a")
    assert queue.pick() is None


def test_new_weights_hold_at_once():
    queue = backlogged({"a": 1, "b": 1})
    for _ in range(100):
        serve(queue, queue, 1.0)
    queue.set_weights({"a": 3})
    served = Counter(serve(queue, queue, 1.0) for _ in range(40))
    assert served == {"a": 30, "b": 10}


def test_debt_is_kept_in_seconds_when_a_weight_changes():
    queue = backlogged({"a": 1, "b": 1})
    serve(queue, queue, 100.0)
    queue.set_weights({"a": 100})
    assert queue.start_tag("a") == pytest.approx(1.0)


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf])
def test_bad_weights_are_refused_and_change_nothing(weight):
    queue = backlogged({"a": 1, "b": 1})
    with pytest.raises(ValueError, match="weight of b"):
        queue.set_weights({"a": 7, "b": weight})
    assert queue.weights == {"a": 1, "b": 1}
    with pytest.raises(ValueError, match="weight of a"):
        FairQueue({"a": weight})


def test_unknown_class_missing_rank_and_no_class_are_refused():
    with pytest.raises(ValueError, match="no class z"):
        backlogged().set_weights({"z": 1})
    with pytest.raises(ValueError, match="rank to b"):
        FairQueue({"a": 1, "b": 1}, {"a": 0})
    with pytest.raises(ValueError, match="at least one"):
        FairQueue({})


def test_strict_serves_by_rank_and_starves_the_rest():
    queue = backlogged()
    order = Strict(queue)
    assert {serve(order, queue, 1.0) for _ in range(50)} == {"critical"}
    queue.deactivate("critical")
    assert serve(order, queue, 1.0) == "error"


def test_strict_with_floor_serves_the_top_class_first_until_its_part_is_used():
    queue = backlogged()
    order = StrictWithFloor(queue, floor=0.05, window=1.0)
    served = [serve(order, queue, 0.01) for _ in range(100)]
    assert served[:95] == ["critical"] * 95
    assert "critical" not in served[95:]


def test_strict_with_floor_gives_the_rest_its_floor_by_weight():
    queue = backlogged()
    order = StrictWithFloor(queue, floor=0.2, window=1.0)
    seconds = seconds_served(order, queue, 31_000, 0.01)
    total = sum(seconds.values())
    assert seconds["critical"] / total == pytest.approx(0.8, abs=0.01)
    for key, weight in list(WEIGHTS.items())[1:]:
        assert seconds[key] / total == pytest.approx(0.2 * weight / 15, rel=0.05)


def test_strict_with_floor_does_not_count_service_that_nobody_else_wanted():
    queue = FairQueue(WEIGHTS)
    order = StrictWithFloor(queue, floor=0.05, window=1.0)
    queue.activate("critical")
    for _ in range(1000):
        assert serve(order, queue, 0.01) == "critical"
    queue.activate("debug")
    assert [serve(order, queue, 0.01) for _ in range(90)] == ["critical"] * 90


def test_strict_with_floor_forgets_its_window_when_nobody_else_is_left():
    queue = FairQueue(WEIGHTS)
    order = StrictWithFloor(queue, floor=0.05, window=1.0)
    queue.activate("critical")
    queue.activate("debug")
    for _ in range(95):
        serve(order, queue, 0.01)
    queue.deactivate("debug")
    serve(order, queue, 0.01)
    queue.activate("debug")
    assert serve(order, queue, 0.01) == "critical"


@pytest.mark.parametrize("floor", [0, 1, -0.1, 1.5])
def test_floor_must_lie_between_0_and_1(floor):
    with pytest.raises(ValueError, match="floor"):
        StrictWithFloor(FairQueue(WEIGHTS), floor=floor)


def test_orders_by_name():
    queue = FairQueue(WEIGHTS)
    assert isinstance(make_order("weighted", queue), Weighted)
    assert isinstance(make_order("strict-with-floor", queue), StrictWithFloor)
    assert isinstance(make_order(Mode.STRICT, queue), Strict)
    with pytest.raises(ValueError, match="strict-with-floor"):
        make_order("fifo", queue)


def test_share_window_slides_and_stays_exact():
    window = ShareWindow("ab", 1.0)
    for _ in range(100_000):
        window.add("a", 0.003)
        window.add("b", 0.001)
    assert window.share("a") == pytest.approx(0.75, abs=0.01)
    assert 1.0 <= window.total <= 1.02
    assert window.used("a") + window.used("b") == pytest.approx(window.total)
    for _ in range(300):
        window.add("b", 0.004)
    assert window.used("a") == pytest.approx(0, abs=1e-9)
    window.clear()
    assert window.total == window.share("b") == 0


def test_share_window_needs_a_length():
    with pytest.raises(ValueError, match="longer than 0"):
        ShareWindow("a", 0)
