"""When counts are flushed: at the interval, sooner behind a burst, rarer where it takes too much time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.flush_pace import (
    ADVANCE_S,
    BURST,
    FLUSH_SHARE,
    LEAST_INTERVAL_S,
    MOST_INTERVAL_S,
    QUIET_S,
    SENDING_S,
    FlushPace,
)


def waited(
    pace: FlushPace, counted: Callable[[float], int] = lambda _: 0, flushed: int = 0, begin: float = 0.0
) -> float:
    """Seconds until a flush, with what is counted by when."""
    now = begin
    pace.begin(now, flushed)
    while left := pace.left_s(now, counted(now)):
        now += left
    return now - begin


def test_cheap_flushes_come_at_the_interval() -> None:
    pace = FlushPace(1.0)
    assert waited(pace) == pytest.approx(1.0)
    pace.spent(0.9 * FLUSH_SHARE)
    assert waited(pace) == pytest.approx(1.0)


@given(
    costs=st.lists(st.floats(0, FLUSH_SHARE * MOST_INTERVAL_S), min_size=1),
    interval=st.floats(0.05, 10),
    counted=st.sampled_from([0, BURST]),
)
def test_flushing_takes_at_most_its_share_of_the_time(
    costs: list[float], interval: float, counted: int
) -> None:
    pace = FlushPace(interval)
    passed = 0.0
    for cost in costs:
        pace.spent(cost)
        passed += waited(pace, lambda _: counted, begin=passed)
    assert sum(costs) <= FLUSH_SHARE * (passed + ADVANCE_S * bool(counted)) * (1 + 1e-9)


@pytest.mark.parametrize(("interval", "most"), [(1.0, MOST_INTERVAL_S), (30.0, 30.0)])
def test_counts_are_flushed_however_dear_it_is(interval: float, most: float) -> None:
    pace = FlushPace(interval)
    pace.spent(1e6)
    assert waited(pace) == pytest.approx(most)
    assert waited(pace, begin=most) == pytest.approx(interval)  # what was spent is paid for once


def test_what_is_sent_and_what_is_measured_counts() -> None:
    times = iter([5.0, 5.5])
    pace = FlushPace(0.05, lambda: next(times))
    pace.sent(1000)
    assert waited(pace) == pytest.approx(1000 * SENDING_S / FLUSH_SHARE)
    with pace:
        pass
    assert waited(pace, begin=100.0) == pytest.approx(0.5 / FLUSH_SHARE)


def test_behind_a_burst_the_flush_comes_soon() -> None:
    assert waited(FlushPace(1.0), lambda _: BURST) == pytest.approx(LEAST_INTERVAL_S + QUIET_S)
    over_at = 0.5
    found = waited(FlushPace(1.0), lambda now: BURST + int(min(now, over_at) * 1e6))
    assert over_at <= found <= over_at + 2 * QUIET_S


def test_a_flush_behind_a_burst_comes_before_the_last_one_is_paid_for_and_not_long_before() -> None:
    pace = FlushPace(1.0)
    pace.spent(FLUSH_SHARE * ADVANCE_S)
    assert waited(pace, lambda _: BURST) == pytest.approx(LEAST_INTERVAL_S + QUIET_S)
    pace.spent(FLUSH_SHARE * ADVANCE_S)
    left = 2 * ADVANCE_S - (LEAST_INTERVAL_S + QUIET_S)
    found = waited(pace, lambda _: BURST, begin=LEAST_INTERVAL_S + QUIET_S)
    assert left - ADVANCE_S <= found <= left - ADVANCE_S + LEAST_INTERVAL_S + QUIET_S


def test_while_records_come_and_where_few_came_it_waits_its_time() -> None:
    """The control: neither a load that goes on nor a trickle is a burst that is over."""
    assert waited(FlushPace(1.0), lambda now: BURST + int(now * 1e6)) == pytest.approx(1.0)
    assert waited(FlushPace(1.0), lambda _: BURST - 1) == pytest.approx(1.0)
    assert waited(FlushPace(1.0), lambda _: 2 * BURST, flushed=BURST + 1) == pytest.approx(1.0)


@given(interval=st.floats(0.01, 20), counted=st.integers(0, 2 * BURST))
def test_few_looks_are_taken(interval: float, counted: int) -> None:
    pace, now, looks = FlushPace(interval), 0.0, 0
    pace.begin(now, 0)
    while left := pace.left_s(now, counted):
        now, looks = now + left, looks + 1
    assert looks <= 3 + interval / LEAST_INTERVAL_S
