"""How counts went lately: small charts kept up to date row by row, and single series kept with their rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tables.buckets import RESOLUTIONS, parent
from tables.totals import StoredRows, Totals
from tables.views.kept_series import KeptSeries
from tables.views.trends import SPANS, Span, Trends
from tests.unit.tables.views.test_window_sums import histories
from tests.unit.tables.views.views_kit import NOW_S, fill

_SPANS = [*{*SPANS.values()}]


def steps_of(
    counts: dict[tuple[str, str], dict[int, int]], span: Span, now: int
) -> dict[tuple[str, str], list[int]]:
    """What a chart of each priority and event type must show, found in the simplest way."""
    first = parent(now, span.step_s) - (span.steps - 1) * span.step_s
    found = {}
    for key, times in counts.items():
        values = [0] * span.steps
        for time_s, count in times.items():
            if 0 <= (place := (time_s - first) // span.step_s) < span.steps:
                values[place] += count
        found[key] = values
    return found


def run_through(history: Any, span: Span, kind: type[Trends] = Trends) -> None:
    """Let trends be kept up to date through a history, and compare them with what was counted."""
    totals, kept = Totals(), kind(span)
    for offset, (now, counts) in enumerate(history):
        fill(totals, counts, offset, now_s=now, grace_s=0)
        for _ in kept.update(totals.rows, now):
            pass
        wanted = steps_of(counts, span, now)
        for (priority, event_type), values in wanted.items():
            assert kept.of(event_type, [priority]) == values
        for event_type in {name for _, name in wanted}:
            of_all = [values for (_, name), values in wanted.items() if name == event_type]
            assert kept.of(event_type, [*{priority for priority, _ in wanted}]) == [
                sum(each) for each in zip(*of_all, strict=True)
            ]
        assert kept.of("nothing", ["INFO"]) == [0] * span.steps


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), span=st.sampled_from(_SPANS))
def test_charts_kept_up_to_date_show_what_was_counted(history: Any, span: Span) -> None:
    run_through(history, span)


class _NeverTakesOff(Trends):
    def _add(self, priority: str, bucket: int, some: list[tuple[str, int]], sign: int, /) -> None:
        if sign > 0:
            super()._add(priority, bucket, some, sign)


class _NeverMoves(Trends):
    def update(self, rows: StoredRows, now_s: float) -> Iterator[None]:
        return super().update(rows, min(now_s, NOW_S))


@pytest.mark.parametrize("broken", [_NeverTakesOff, _NeverMoves])
@pytest.mark.parametrize("span", _SPANS)
def test_charts_that_are_not_kept_right_show(broken: type[Trends], span: Span) -> None:
    counts = {("INFO", "a"): {NOW_S - 5: 4}}
    later = NOW_S + span.step_s * span.steps
    history = [
        (NOW_S, counts),
        (NOW_S, {("INFO", "a"): {NOW_S - 5: 5}}),
        (later, {("INFO", "a"): {later - 5: 1}}),
    ]
    run_through(history, span)
    with pytest.raises(AssertionError):
        run_through(history, span, broken)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), resolution=st.sampled_from(RESOLUTIONS), back=st.integers(1, 100))
def test_a_series_that_is_kept_is_that_of_the_rows(history: Any, resolution: int, back: int) -> None:
    totals, kept = Totals(), KeptSeries(most=4)
    for offset, (now, counts) in enumerate(history):
        fill(totals, counts, offset, now_s=now, grace_s=0)
        if offset % 2:
            totals.reach(now * 1000)
            totals.expire(now)
        span = resolution, now - back * resolution, now + resolution
        for priority, event_type in counts:
            found = list(kept.series(totals, event_type, priority, *span))
            assert found == list(totals.series(event_type, priority, *span))


def test_only_rows_that_have_changed_are_read_again() -> None:
    totals, kept = Totals(), KeptSeries(most=1)
    times = {NOW_S - 10 * n - 5: n for n in range(1, 30)}
    fill(totals, {("INFO", "a"): times})
    asked = "INFO", 10, NOW_S - 300, NOW_S
    first = list(kept.series(totals, "a", *asked))
    assert (sum(count for _, count in first), kept.read) == (sum(times.values()), 30)
    assert list(kept.series(totals, "a", *asked)) == first
    assert kept.read == 31, "of the one bucket without rows nothing is kept"
    fill(totals, {("INFO", "a"): {NOW_S - 15: 100}}, offset=2)
    assert dict(kept.series(totals, "a", *asked))[NOW_S - 20] == 100
    assert kept.read == 33
    list(kept.series(totals, "b", *asked))
    list(kept.series(totals, "a", *asked))
    assert kept.read == 33 + 30 + 30, "one series is kept, that which was asked for last"
