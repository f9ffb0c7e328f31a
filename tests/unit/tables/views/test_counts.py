"""Windows kept up to date row by row, orders and pages."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, MINUTE, RESOLUTIONS, WINDOWS
from tables.totals import Count, Totals
from tables.views.counts_query import ORDERS, CountsQuery, SeriesQuery, order_key, page_of, parse_counts_query
from tables.views.live_counts import LiveCounts, series_spans
from tables.views.window_sums import WindowSums, spans
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill
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


# ---------------------------------------------------------------- orders and pages

_COUNTS = st.lists(
    st.builds(
        Count, _TYPES | st.text(min_size=1, max_size=5), _PRIORITIES, st.integers(1, 4), st.integers(0, 3)
    ),
    max_size=40,
    unique_by=lambda item: (item.event_type, item.priority),
)


@given(items=_COUNTS, sort=st.sampled_from(list(ORDERS)), limit=st.integers(1, 7))
def test_pages_have_every_item_once_and_in_order(items: list[Count], sort: str, limit: int) -> None:
    reverse = sort == "-event_type"
    ordered = sorted(items, key=order_key(sort), reverse=reverse)
    got: list[Count] = []
    parameters = {"sort": sort, "limit": str(limit)}
    while True:
        page, cursor = page_of(ordered, parse_counts_query(parameters))
        assert len(page) <= limit
        got += page
        if cursor is None:
            break
        assert len(page) == limit
        parameters["cursor"] = cursor
    assert got == ordered


@given(
    items=_COUNTS,
    gone=st.sets(st.integers(0, 40)),
    more=_COUNTS,
    sort=st.sampled_from(["event_type", "-event_type"]),
    limit=st.integers(1, 7),
)
def test_pages_by_event_type_keep_what_stays_while_others_come_and_go(
    items: list[Count], gone: set[int], more: list[Count], sort: str, limit: int
) -> None:
    ordered = sorted(items, key=order_key(sort), reverse=sort == "-event_type")
    page, cursor = page_of(ordered, CountsQuery(sort=sort, limit=limit))
    names = {(item.event_type, item.priority) for item in items}
    stays = [item for number, item in enumerate(ordered) if number not in gone]
    later = sorted(
        stays + [item for item in more if (item.event_type, item.priority) not in names],
        key=order_key(sort),
        reverse=sort == "-event_type",
    )
    got = list(page)
    while cursor is not None:
        page, cursor = page_of(
            later, parse_counts_query({"sort": sort, "limit": str(limit), "cursor": cursor})
        )
        got += page
    assert len(got) == len({(item.event_type, item.priority) for item in got})
    assert [item for item in stays if item not in got] == []


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("-count", ["b/INFO", "a/ERROR", "a/INFO", "c/DEBUG"]),
        ("count", ["c/DEBUG", "a/ERROR", "a/INFO", "b/INFO"]),
        ("event_type", ["a/ERROR", "a/INFO", "b/INFO", "c/DEBUG"]),
        ("-event_type", ["c/DEBUG", "b/INFO", "a/ERROR", "a/INFO"]),
        ("priority", ["a/ERROR", "b/INFO", "a/INFO", "c/DEBUG"]),
        ("-priority", ["c/DEBUG", "b/INFO", "a/INFO", "a/ERROR"]),
        ("-last_seen", ["c/DEBUG", "b/INFO", "a/INFO", "a/ERROR"]),
        ("last_seen", ["a/ERROR", "a/INFO", "b/INFO", "c/DEBUG"]),
    ],
)
def test_orders(sort: str, expected: list[str]) -> None:
    items = [
        Count("a", "INFO", 2, 20),
        Count("c", "DEBUG", 1, 40),
        Count("b", "INFO", 9, 30),
        Count("a", "ERROR", 2, 10),
    ]
    ordered = sorted(items, key=order_key(sort), reverse=sort == "-event_type")
    assert [f"{item.event_type}/{item.priority}" for item in ordered] == expected


# ---------------------------------------------------------------- answers used again


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


async def test_the_window_ends_when_counts_were_current_not_now() -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", "a"): {NOW_S - 5: 1}})
    live = LiveCounts(fake, lambda: NOW_S + 7200)
    assert as_dict((await live.snapshot("1m")).items) == {("INFO", "a"): 1}
    fake.as_of = 0.0
    later = LiveCounts(fake, lambda: NOW_S + 7200)
    assert (await later.snapshot("1m")).items == []
