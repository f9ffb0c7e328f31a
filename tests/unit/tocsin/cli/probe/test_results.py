"""What probes measured, and what is said about it."""

from __future__ import annotations

import math

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from tocsin.cli.probe.results import Figures, Probes, Report, keys_of, make_report, shown_time


def run_of(number: int, partitions: int = 4) -> Probes:
    """Probes that are published a second apart."""
    probes = Probes()
    probes.counted(100, 0.0)
    for each in range(number):
        probes.published(f"id{each}", each % partitions, float(each), measured=True)
    return probes


def report_of(probes: Probes, max_p99_ms: float | None = None) -> Report:
    return make_report(
        probes.measured,
        of_partitions=4,
        others=probes.others,
        wait_s=15,
        max_p99_ms=max_p99_ms,
        alert_topic="alerts.critical",
        answer_topic="tocsin-probes",
        counts_topic="event-counts",
    )


def all_arrived(number: int = 60, answer_s: float = 0.012, count_s: float = 1.3) -> Probes:
    probes = run_of(number)
    for each in range(number):
        probes.answered(f"id{each}", each + answer_s)
        probes.counted(101 + each, each + count_s)
    return probes


def test_the_sentence_of_the_issue() -> None:
    report = report_of(all_arrived())
    assert report.ok
    (sentence,) = report.sentences()
    assert sentence == (
        "CRITICAL is forwarded within 12.0 ms (p99 of 60 probes on 4 of 4 partitions, to tocsin-probes in "
        "the place of alerts.critical); "
        "it is counted in event-counts within 1.30 s (p99)."
    )
    body = report.as_json()
    assert body["alert"] == {"p50_ms": 12, "p90_ms": 12, "p99_ms": 12, "max_ms": 12, "undelivered": 0}
    assert body["counted"]["max_ms"] == 1300


def test_one_that_was_not_answered_is_infinitely_late_and_says_where() -> None:
    probes = run_of(10)
    for each in range(9):
        probes.answered(f"id{each}", each + 0.01)
    probes.counted(110, 12.0)
    report = report_of(probes)
    assert not report.ok
    assert math.isinf(report.alert.most)
    assert math.isinf(report.alert.quantiles["p99"])
    assert report.alert.quantiles["p50"] == pytest.approx(0.01)
    assert report.counted.undelivered == 0
    assert report.as_json()["alert"]["p99_ms"] is None
    assert report.as_json()["silent_partitions"] == {"1": 1}
    (sentence,) = report.sentences()
    assert "1 of 10 probes was not answered within 15 s (partition 1)" in sentence


def test_none_answered() -> None:
    report = report_of(run_of(3))
    assert not report.ok
    (sentence,) = report.sentences()
    assert "none of 3 probes was answered" in sentence
    assert "never" in report.table()[1]


def test_a_bound_that_is_exceeded() -> None:
    assert report_of(all_arrived(), max_p99_ms=12.5).ok
    report = report_of(all_arrived(), max_p99_ms=11.5)
    assert not report.ok
    assert report.sentences()[-1] == "The p99 of 12.0 ms is above the 11.5 ms allowed."


def test_not_counted_is_told_apart_from_not_answered() -> None:
    probes = run_of(4)
    for each in range(4):
        probes.answered(f"id{each}", each + 0.01)
    probes.counted(103, 9.0)
    report = report_of(probes)
    assert (report.alert.undelivered, report.counted.undelivered, report.ok) == (0, 1, False)
    assert "1 of 4 probes was not in event-counts" in report.sentences()[1]


def test_answers_and_totals_that_are_repeated_change_nothing() -> None:
    probes = all_arrived(3)
    before = report_of(probes).as_json()
    probes.answered("id1", 50.0)
    probes.counted(103, 50.0)
    probes.counted(90, 50.0)
    assert report_of(probes).as_json() == before


def test_probes_of_others_make_counts_later_and_never_earlier() -> None:
    probes = run_of(2)
    for sender in ("id0", "someone", None, "id1"):
        probes.answered(sender, 2.0)
    probes.counted(102, 2.5)  # may be those of the others
    assert probes.missing == 2
    probes.counted(104, 3.0)
    assert probes.missing == 0
    report = report_of(probes)
    assert report.counted.quantiles["p50"] == 2.0
    assert report.others == 2
    assert "Others published 2 probes" in report.sentences()[-1]


def test_more_counted_than_published_does_no_harm() -> None:
    probes = run_of(2)
    probes.counted(1_000_000, 2.0)
    assert report_of(probes).counted.undelivered == 0


def test_those_that_open_connections_are_not_measured() -> None:
    probes = Probes()
    probes.counted(0, 0.0)
    probes.published("first", 0, 0.0, measured=False)
    probes.published("second", 0, 1.0, measured=True)
    probes.answered("first", 9.0)
    probes.answered("second", 1.5)
    probes.counted(2, 2.0)
    report = report_of(probes)
    assert (report.alert.number, report.alert.most, report.counted.most) == (1, 0.5, 1.0)


@given(st.lists(st.floats(0, 1e4), min_size=1))
def test_quantiles_are_latencies_and_in_order(latencies: list[float]) -> None:
    figures = Figures.of(latencies)
    shown = [*figures.quantiles.values(), figures.most]
    assert shown == sorted(shown)
    assert set(shown) <= set(latencies)
    assert sum(each <= figures.quantiles["p99"] for each in latencies) >= 0.99 * len(latencies)


def test_p99_of_few_is_the_greatest() -> None:
    assert Figures.of([0.001] * 59 + [0.9]).quantiles["p99"] == 0.9
    assert Figures.of([0.001] * 199 + [0.9]).quantiles["p99"] == 0.001


@pytest.mark.parametrize("partitions", [1, 2, 3, 8, 50])
def test_keys_lead_to_each_partition(partitions: int) -> None:
    keys = keys_of(partitions, 1000)
    assert [(murmur2(key) & 0x7FFF_FFFF) % partitions for key in keys] == list(range(partitions))
    assert len(keys_of(partitions, 2)) == min(2, partitions)


def test_times_for_people() -> None:
    assert [shown_time(s) for s in (0.0123, 2.5, math.inf)] == ["12.3 ms", "2.50 s", "never"]
