"""Windows kept up to date row by row."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, MINUTE, WINDOWS
from tables.totals import Count, Totals
from tables.views.window_sums import WindowSums, spans
from tests.unit.tables.views.views_kit import NOW_S, fill
from tests.window_counts import counts_in

_TYPES = st.sampled_from(["a", "b.c", "b.d", "longer.event.type", "é"])
_PRIORITIES = st.sampled_from(["CRITICAL", "INFO", "DEBUG"])


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, dict[tuple[str, str], dict[int, int]]]]:
    """Times that move on, and what had been counted by then."""
    now = NOW_S + draw(st.integers(0, 7200))
    counts: dict[tuple[str, str], dict[int, int]] = {}
    found = []
    for _ in range(draw(st.integers(1, 5))):
        now += draw(st.sampled_from([0, 1, 10, 59, 600, 3600, 86_400, 20 * 86_400]))
        for _ in range(draw(st.integers(0, 6))):
            ago = draw(
                st.one_of(
                    st.integers(-600, 900),
                    st.integers(0, 5000),
                    st.integers(0, 2 * 86_400),
                    st.integers(0, 31 * 86_400),
                )
            )
            times = counts.setdefault((draw(_PRIORITIES), draw(_TYPES)), {})
            times[now - ago] = times.get(now - ago, 0) + draw(st.integers(1, 9))
        found.append((now, {key: dict(times) for key, times in counts.items()}))
    return found


def as_dict(counts: list[Count]) -> dict[tuple[str, str], int]:
    """Counts by priority and event type."""
    return {(count.priority, count.event_type): count.count for count in counts}


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), window=st.sampled_from(list(WINDOWS)))
def test_sums_kept_up_to_date_equal_sums_made_anew(history: Any, window: str) -> None:
    totals = Totals()
    kept = WindowSums(WINDOWS[window])
    for offset, (now, counts) in enumerate(history):
        fill(totals, counts, offset, now_s=now, grace_s=0)
        if offset % 2:
            totals.reach(now * 1000)
            totals.expire(now)
        for _ in kept.update(totals.rows, now):
            pass
        anew = WindowSums(WINDOWS[window])
        for _ in anew.update(totals.rows, now):
            pass
        drop_empty = {priority: sums for priority, sums in kept.sums.items() if sums}
        assert drop_empty == {priority: sums for priority, sums in anew.sums.items() if sums}
        found = {(p, t): count for p, sums in kept.sums.items() for t, count in sums.items()}
        assert found == as_dict(counts_in(totals, window, now))


def test_rows_that_left_the_window_are_taken_off() -> None:
    totals = Totals()
    fill(totals, {("INFO", "a"): {NOW_S - 30: 5}})
    kept = WindowSums(60)
    assert list(kept.update(totals.rows, NOW_S)) == []
    assert kept.sums["INFO"] == {"a": 5}
    assert list(kept.update(totals.rows, NOW_S + 61)) == []
    assert kept.sums["INFO"] == {}


@given(now=st.integers(NOW_S, NOW_S + 2 * 86_400), window=st.sampled_from(list(WINDOWS.values())))
def test_spans_are_aligned_and_cover_the_window_without_gap_or_overlap(now: int, window: int) -> None:
    found = spans(now, window)
    assert found[0][1] <= now - window
    assert now - window - found[0][1] < (FINE if window <= HOUR else MINUTE if window <= 86_400 else HOUR)
    assert found[-1][2] > now + 600
    for (_, _, end), (_, start, _) in itertools.pairwise(found):
        assert end == start
    for resolution, start, end in found:
        assert start <= end
        assert start % resolution == 0
        if resolution != FINE:
            assert end % resolution == 0
            assert end <= now - 600  # closed long ago


async def test_updating_gives_way_in_between() -> None:
    """Rows may come in between the steps of an update; the next update has them."""
    totals = Totals()
    counts = {("INFO", f"type.{n}"): {NOW_S - 20 - 10 * (n % 50): 1} for n in range(9000)}
    fill(totals, counts)
    kept = WindowSums(WINDOWS["5m"])
    steps = 0
    for _ in kept.update(totals.rows, NOW_S):
        steps += 1
        fill(totals, {("INFO", "new"): {NOW_S - 30: steps}}, offset=1 + steps)
    assert steps >= 2
    for _ in kept.update(totals.rows, NOW_S):
        pass
    found = {(p, t): count for p, sums in kept.sums.items() for t, count in sums.items()}
    assert found == as_dict(counts_in(totals, "5m", NOW_S))
