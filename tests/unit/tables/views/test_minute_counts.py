"""Counts by the minute: all event types together, each row summed once, in short steps."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.totals import Totals
from tables.views import minute_counts
from tables.views.live_counts import LiveCounts
from tables.views.minute_counts import MINUTES, LiveMinutes, MinuteCounts
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill

NAMES = st.tuples(st.sampled_from(["CRITICAL", "DEBUG"]), st.sampled_from(["a", "bb", "cc", "ddd"]))
TIMES = st.dictionaries(st.integers(NOW_S - 4000, NOW_S + 40), st.integers(1, 9), min_size=1, max_size=8)


def minutes_of(totals: Totals, now_s: float, counts: MinuteCounts | None = None) -> MinuteCounts:
    counts = counts or MinuteCounts()
    for _ in counts.update(totals.rows, now_s):
        pass
    return counts


@settings(max_examples=60)
@given(given=st.dictionaries(NAMES, TIMES, max_size=6), ahead_s=st.integers(0, 59))
def test_each_minute_has_what_was_counted_in_it(
    given: dict[tuple[str, str], dict[int, int]], ahead_s: int
) -> None:
    totals = Totals()
    now_s = NOW_S + ahead_s
    fill(totals, given, now_s=now_s)
    hour = minutes_of(totals, now_s).hour
    first = NOW_S - (MINUTES - 1) * 60
    for priority in ("CRITICAL", "DEBUG"):
        wanted: Counter[int] = Counter()
        for (name, _), times in given.items():
            for time_s, count in times.items():
                if name == priority and first <= time_s < NOW_S + 60:
                    wanted[(time_s - first) // 60] += count
        assert hour.of(priority) == [wanted[place] for place in range(MINUTES)]
        assert (priority in hour.minutes) == bool(wanted)


def test_the_rate_is_that_of_the_last_minute() -> None:
    totals = Totals()
    fill(totals, {("INFO", "a"): {NOW_S - 65: 1000, NOW_S - 60: 40, NOW_S - 1: 20}})
    assert minutes_of(totals, NOW_S).hour.per_s("INFO") == 1.0
    assert minutes_of(totals, NOW_S).hour.per_s("DEBUG") == 0.0
    # Buckets are 10 s long, so five seconds later it is of 65 seconds.
    assert minutes_of(totals, NOW_S + 5).hour.per_s("INFO") == 60 / 65


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Rows that are summed."""
    rows: list[bytes] = []
    loads = minute_counts.orjson.loads

    class _Seen:
        @staticmethod
        def loads(row: bytes) -> dict[str, int]:
            rows.append(row)
            found: dict[str, int] = loads(row)
            return found

    monkeypatch.setattr(minute_counts, "orjson", _Seen)
    return rows


def test_a_row_is_summed_again_only_when_it_has_changed(parsed: list[bytes]) -> None:
    totals = Totals()
    fill(totals, {("INFO", "a"): {NOW_S - 30: 1, NOW_S - 2000: 5}})
    counts = minutes_of(totals, NOW_S)
    assert len(parsed) == 2
    minutes_of(totals, NOW_S + 1, counts)
    assert len(parsed) == 2
    fill(totals, {("INFO", "a"): {NOW_S - 30: 3}}, offset=2)
    minutes_of(totals, NOW_S + 1, counts)
    assert len(parsed) == 3
    assert sum(counts.hour.of("INFO")) == 8


def test_what_has_left_the_hour_is_forgotten() -> None:
    totals = Totals()
    fill(totals, {("INFO", "a"): {NOW_S - 30: 1, NOW_S - 2000: 5}})
    counts = minutes_of(totals, NOW_S)
    totals.rows["INFO", 10].clear()
    minutes_of(totals, NOW_S + 4000, counts)
    assert counts.hour.minutes == {}
    assert not any(counts._sums.values())


def test_every_row_is_a_step_of_its_own(parsed: list[bytes]) -> None:
    totals = Totals()
    fill(totals, {("INFO", "x" * n): {NOW_S - 30: 1, NOW_S - 90: 1} for n in range(1, 4)})
    for step, _ in enumerate(MinuteCounts().update(totals.rows, NOW_S), 1):
        assert len(parsed) == step
    assert len(parsed) == 6


async def test_all_who_ask_at_a_time_share_one_look(parsed: list[bytes]) -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", "a"): {NOW_S - 30: 7}})
    minutes = LiveMinutes(fake, LiveCounts(fake, lambda: NOW_S))
    found = await asyncio.gather(*(minutes.hour() for _ in range(20)))
    assert all(each is found[0] for each in found)
    assert sum(found[0].of("INFO")) == 7
    assert len(parsed) == 1


async def test_a_look_that_was_cancelled_is_made_up_for() -> None:
    fake = FakeSources()
    fill(fake.totals, {("INFO", "a"): {NOW_S - 30: 7, NOW_S - 90: 2}})
    for turns in range(6):
        minutes = LiveMinutes(fake, LiveCounts(fake, lambda: NOW_S))
        task = asyncio.create_task(minutes.hour())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert sum((await minutes.hour()).of("INFO")) == 9
