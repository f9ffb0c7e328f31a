"""Answers of counts: which rows they are made of, and for how long one is used again."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, RESOLUTIONS
from tables.totals import Count
from tables.views.counts_query import SeriesQuery
from tables.views.live_counts import LiveCounts, series_spans
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill


def as_dict(counts: list[Count]) -> dict[tuple[str, str], int]:
    """Counts by priority and event type."""
    return {(count.priority, count.event_type): count.count for count in counts}


@given(
    now=st.integers(NOW_S, NOW_S + 2 * 86_400),
    resolution=st.sampled_from(RESOLUTIONS),
    back=st.integers(1, 40 * HOUR),
    length=st.integers(1, 41 * HOUR),
)
def test_a_chart_has_no_gap_and_uses_no_open_bucket(
    now: int, resolution: int, back: int, length: int
) -> None:
    query = SeriesQuery(None, resolution, now - back, now - back + length)
    found = series_spans(now, query)
    assert found[0][1] <= query.start_s
    assert found[-1][2] >= query.end_s
    for (_, _, end), (_, start, _) in itertools.pairwise(found):
        assert end == start
    for each, start, end in found:
        assert start <= end
        assert each == FINE or start == end or end <= now - 600


async def test_an_answer_is_used_again_for_half_a_second_and_then_made_anew() -> None:
    fake = FakeSources()
    now = 100.0
    live = LiveCounts(fake, lambda: NOW_S, lambda: now)
    fill(fake.totals, {("INFO", "a"): {NOW_S - 5: 1}})
    first = await live.snapshot("1m")
    fill(fake.totals, {("INFO", "a"): {NOW_S - 5: 2}}, offset=2)
    now += 0.4
    assert await live.snapshot("1m") is first
    now += 0.2
    second = await live.snapshot("1m")
    assert as_dict(second.items) == {("INFO", "a"): 2}
    now += 0.9
    assert await live.snapshot("1m") is second  # nothing new came in
    now += 0.2
    assert await live.snapshot("1m") is not second  # but time has passed


async def test_many_at_once_share_one_answer() -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", f"type.{n}"): {NOW_S - 5: 1, NOW_S - 7200: 1} for n in range(500)})
    live = LiveCounts(fake, lambda: NOW_S)
    answers = await asyncio.gather(*(live.snapshot("24h") for _ in range(20)))
    assert all(answer is answers[0] for answer in answers)
    assert sum(item.count for item in answers[0].items) == 1000


async def test_the_window_ends_when_counts_were_current_not_now() -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", "a"): {NOW_S - 5: 1}})
    live = LiveCounts(fake, lambda: NOW_S + 7200)
    assert as_dict((await live.snapshot("1m")).items) == {("INFO", "a"): 1}
    fake.as_of = 0.0
    later = LiveCounts(fake, lambda: NOW_S + 7200)
    assert (await later.snapshot("1m")).items == []
