"""Latencies of spans of records fall into the buckets in which records that lie evenly between would."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from agents.latencies import BOUNDS_S, ClassLatencies, Latencies
from streams.notifications.priority import Priority

_MS = st.integers(0, 20_000_000)


def noted(now_ms: float, first_ms: int, last_ms: int, number: int) -> Latencies:
    histogram = Latencies()
    histogram.note(now_ms, first_ms, last_ms, number)
    return histogram


def bucket(latency_ms: float) -> int:
    return bisect_left([bound * 1000 for bound in BOUNDS_S], latency_ms)


@given(_MS, _MS, st.integers(1, 5000))
def test_each_record_is_noted_once_between_the_first_and_the_last(age: int, span: int, number: int) -> None:
    now_ms = 100_000_000
    histogram = noted(now_ms, now_ms - age - span, now_ms - age, number)
    assert sum(histogram.counts) == number
    assert min(histogram.counts) >= 0
    filled = [place for place, count in enumerate(histogram.counts) if count]
    assert bucket(age) <= min(filled)
    assert max(filled) <= bucket(age + span)
    assert histogram.sum_s == pytest.approx(number * (age + span / 2) / 1000)


@given(_MS, _MS, st.integers(1, 200))
def test_records_that_lie_evenly_are_noted_as_one_by_one(age: int, span: int, number: int) -> None:
    now_ms = 100_000_000
    together = noted(now_ms, now_ms - age - span, now_ms - age, number)
    alone = Latencies()
    for index in range(number):
        alone.note(age + span * (index + 0.5) / number, 0, 0, 1)
    below = [sum(together.counts[: place + 1]) - sum(alone.counts[: place + 1]) for place in range(17)]
    assert max(map(abs, below)) <= 1


def test_a_record_without_a_time_is_not_noted_and_one_from_the_future_took_no_time() -> None:
    assert sum(noted(1000, -1, 900, 5).counts) == 0
    assert sum(noted(1000, 900, -1, 5).counts) == 0
    ahead = noted(1000, 5000, 6000, 5)
    assert (ahead.counts[0], ahead.sum_s) == (5, 0)


def test_each_priority_has_its_own_and_only_those_that_are_forwarded_have_alerts() -> None:
    topics = {"notifications.error": Priority.ERROR, "notifications.info": Priority.INFO}
    latencies = ClassLatencies(topics, [Priority.ERROR], lambda: 10.0)
    latencies.note_counted(Priority.INFO, 9_000, 9_000, 4)
    latencies.note_alerted(TP("notifications.error", 3), (9_999, 9_999), 2)
    assert {priority: sum(each.counts) for priority, each in latencies.counted.items()} == {
        Priority.ERROR: 0,
        Priority.INFO: 4,
    }
    assert {priority: sum(each.counts) for priority, each in latencies.alerted.items()} == {Priority.ERROR: 2}
