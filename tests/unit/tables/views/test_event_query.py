"""What can be asked of one event type, and the steps of its chart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, MINUTE, RETENTION_S, WINDOWS
from tables.views.counts_query import BadQueryError
from tables.views.event_query import parse_event_query
from tests.unit.tables.views.views_kit import NOW_S


@given(
    now=st.integers(NOW_S, NOW_S + 2 * 86_400),
    back=st.integers(1, 31 * 86_400),
    length=st.integers(1, 31 * 86_400),
    window=st.none() | st.sampled_from(list(WINDOWS)),
)
def test_the_steps_of_a_chart_cover_the_span_and_are_few(
    now: int, back: int, length: int, window: str | None
) -> None:
    start, end = now - back, min(now - back + length, now + HOUR)
    given = {"from": str(start), "to": str(end)}
    if window is not None:
        start, end, given = now - WINDOWS[window], now, {"window": window}
    query = parse_event_query({"type": "a"} | given, now)
    starts, series = query.starts, query.series
    assert starts[0] <= start < starts[0] + query.step_s
    assert starts[-1] < end <= starts[-1] + query.step_s
    assert 1 <= len(starts) <= 122
    assert query.step_s % series.resolution_s == 0
    assert start >= now - RETENTION_S[series.resolution_s], "its buckets are kept"
    assert query.window == (window or "")


@given(values=st.lists(st.integers(0, 99), min_size=1, max_size=200))
def test_values_of_a_chart_are_the_sums_of_its_buckets(values: list[int]) -> None:
    query = parse_event_query({"type": "a", "window": "30d"}, NOW_S)
    series = query.series
    buckets = [(series.start_s + place * HOUR, value) for place, value in enumerate(values)]
    found = query.summed(reversed(buckets))
    wanted = [sum(values[at : at + 6]) for at in range(0, 200, 6)]
    assert found == wanted + [0] * (len(found) - len(wanted))
    assert sum(found) == sum(values)
    assert sum(query.summed([(series.start_s - 1, 5), (series.end_s, 7)])) == 0


@pytest.mark.parametrize(
    ("window", "step_s", "resolution_s"),
    [
        ("1m", FINE, FINE),
        ("5m", FINE, FINE),
        ("1h", MINUTE, MINUTE),
        ("24h", HOUR, HOUR),
        ("30d", 6 * HOUR, HOUR),
    ],
)
def test_steps_of_the_windows(window: str, step_s: int, resolution_s: int) -> None:
    query = parse_event_query({"type": "a", "window": window}, NOW_S)
    assert (query.step_s, query.series.resolution_s) == (step_s, resolution_s)


def test_a_field_for_date_and_time_is_in_utc() -> None:
    query = parse_event_query({"type": "a", "from": "2026-11-01T11:00", "to": "2026-11-01T11:30:00"}, NOW_S)
    assert (query.series.start_s, query.series.end_s) == (NOW_S - 3600, NOW_S - 1800)
    other = parse_event_query({"type": "a", "from": "2026-11-01T12:00+01:00", "to": str(NOW_S - 1800)}, NOW_S)
    assert other.series == query.series


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "Give the event type as 'type'"),
        ({"type": "a", "id": "0" * 24}, "Give the event type as 'type'"),
        ({"id": "../x"}, "24 hexadecimal digits"),
        ({"type": "a", "window": "total"}, "There is no window 'total'"),
        ({"type": "a", "from": "2026-11-01T13:30", "to": "2026-11-01T13:00"}, "'from' must be before 'to'"),
        ({"type": "a", "from": "2026-12-01T13:30"}, "'from' must be before 'to'"),
        ({"type": "a", "from": "yesterday"}, "'from' is a time in UTC such as"),
        ({"type": "a", "to": "2026-13-01T00:00"}, "'to' is a time in UTC such as"),
        ({"type": "a", "from": "2026-09-01T00:00"}, "are kept for 31 days"),
        ({"type": "a", "resolution": "60"}, "There is no parameter 'resolution'"),
        ({"type": "a", "priority": "x"}, "There is no priority 'x'"),
    ],
)
def test_wrong_parameters_are_told(parameters: dict[str, str], words: str) -> None:
    with pytest.raises(BadQueryError) as told:
        parse_event_query(parameters, NOW_S)
    assert words in str(told.value)
