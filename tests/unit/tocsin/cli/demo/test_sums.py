"""The sums that a demo compares at its end."""

from __future__ import annotations

import dataclasses

import pytest

from streams.notifications.priority import Priority
from tocsin.cli.demo.sums import DemoSums, PrioritySums, make_sums

_AGREEING = PrioritySums(
    Priority.ERROR, 10, counted=8, dead_lettered=2, counted_dead=2, forwarded=10, is_forwarded=True
)


def test_sums_agree() -> None:
    sums = DemoSums((_AGREEING, PrioritySums(Priority.INFO, 5, 5, 0, 0, 0, is_forwarded=False)))
    assert sums.agree
    assert sums.verdict() == [
        "The sums agree: 13 counted + 2 dead-lettered = 15 published; 10 forwarded = all ERROR."
    ]


@pytest.mark.parametrize("name", ["published", "counted", "dead_lettered", "counted_dead", "forwarded"])
@pytest.mark.parametrize("by", [-1, 1])
def test_sums_disagree_when_any_number_is_off_by_one(name: str, by: int) -> None:
    wrong = dataclasses.replace(_AGREEING, **{name: getattr(_AGREEING, name) + by})
    sums = DemoSums((wrong,))
    assert not sums.agree
    assert sums.too_many == ((name, by) in {("published", -1), ("counted", 1), ("counted_dead", 1)})
    assert sums.verdict()[0] == "The sums do not agree."
    assert all(sentence.startswith("ERROR: ") for sentence in sums.verdict()[1:])


def test_what_does_not_agree_is_said_of_one_and_of_many() -> None:
    wrong = PrioritySums(Priority.ERROR, 1, 1200, 1, counted_dead=0, forwarded=1, is_forwarded=True)
    assert wrong.faults() == [
        "ERROR: 1 was published, and 1,200 counted + 1 dead-lettered are 1,201.",
        "ERROR: 1 lies in the dead letters, and 0 were counted as such.",
        "ERROR: 1,201 should have been forwarded, and 1 was.",
    ]


def test_sums_disagree_when_two_priorities_are_mixed_up_though_the_whole_agrees() -> None:
    one, two = (
        PrioritySums(each, 5, 5, 0, 0, 0, is_forwarded=False) for each in (Priority.INFO, Priority.DEBUG)
    )
    mixed = (dataclasses.replace(one, counted=6), dataclasses.replace(two, counted=4))
    assert DemoSums((one, two)).agree
    assert not DemoSums(mixed).agree


def test_sums_disagree_when_what_is_not_to_be_forwarded_was() -> None:
    assert not DemoSums((PrioritySums(Priority.INFO, 5, 5, 0, 0, forwarded=1, is_forwarded=False),)).agree


def test_sums_are_made_of_the_counts_by_priority_without_dead_letters() -> None:
    totals = [
        {"event_type": "a", "priority": "ERROR", "count": 5},
        {"event_type": "b", "priority": "ERROR", "count": 3},
        {"event_type": "(dead)", "priority": "ERROR", "count": 2},
        {"event_type": "a", "priority": "INFO", "count": 1},
    ]
    sums = make_sums(
        (Priority.INFO, Priority.ERROR),
        (Priority.ERROR,),
        {Priority.ERROR: 10, Priority.INFO: 1},
        totals,
        {Priority.ERROR: 10},
        {Priority.ERROR: 2},
        "(dead)",
    )
    assert sums.lines == (_AGREEING, PrioritySums(Priority.INFO, 1, 1, 0, 0, 0, is_forwarded=False))
