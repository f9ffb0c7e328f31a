"""How often counts are flushed: at the interval, and rarer where flushing would take too much of the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.flush_pace import FLUSH_SHARE, MOST_INTERVAL_S, SENDING_S, FlushPace


def test_cheap_flushes_come_at_the_interval() -> None:
    pace = FlushPace(1.0)
    assert pace.wait_s() == 1.0
    pace.spent(0.9 * FLUSH_SHARE)
    assert pace.wait_s() == 1.0


@given(costs=st.lists(st.floats(0, FLUSH_SHARE * MOST_INTERVAL_S), min_size=1), interval=st.floats(0.05, 10))
def test_flushing_takes_at_most_its_share_of_the_time(costs: list[float], interval: float) -> None:
    pace = FlushPace(interval)
    waited = 0.0
    for cost in costs:
        pace.spent(cost)
        waited += pace.wait_s()
    assert sum(costs) <= FLUSH_SHARE * waited * (1 + 1e-9)


@pytest.mark.parametrize(("interval", "most"), [(1.0, MOST_INTERVAL_S), (30.0, 30.0)])
def test_counts_are_flushed_however_dear_it_is(interval: float, most: float) -> None:
    pace = FlushPace(interval)
    pace.spent(1e6)
    assert pace.wait_s() == most
    assert pace.wait_s() == interval  # what was spent is paid for once


def test_what_is_sent_and_what_is_measured_counts() -> None:
    times = iter([5.0, 5.5])
    pace = FlushPace(0.05, lambda: next(times))
    pace.sent(1000)
    assert pace.wait_s() == pytest.approx(1000 * SENDING_S / FLUSH_SHARE)
    with pace:
        pass
    assert pace.wait_s() == pytest.approx(0.5 / FLUSH_SHARE)
