"""``tocsin tail``: what it shows of a record that the Kafka client cannot take apart."""

from __future__ import annotations

import click
import orjson
import pytest

from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from streams.settings import Settings
from tocsin.cli import tail

BAD = UnreadableRecord("notifications.info", 3, 17, "ValueError: hostile \x1b[2J")


def shows(view: tail._View) -> list[tail.Show]:
    return [
        tail._alerts(view),
        tail._notifications(view, Settings(), {"notifications.info": Priority.INFO}),
    ]


def view(*, as_json: bool = False, matches: str | None = None) -> tail._View:
    found = None if matches is None else matches.__eq__
    return tail._View(as_json=as_json, matches=found, priorities=None, since_ms=0)


@pytest.mark.parametrize("which", [0, 1])
def test_a_record_that_cannot_be_taken_apart_is_told(which: int) -> None:
    (line,) = shows(view())[which](BAD, True)
    assert click.unstyle(line) == (
        r"-  unreadable: unreadable-record  notifications.info/3/17  ValueError: hostile \x1b[2J"
    )


@pytest.mark.parametrize("which", [0, 1])
def test_it_is_an_object_of_its_own_as_json(which: int) -> None:
    (line,) = shows(view(as_json=True))[which](BAD, True)
    found = orjson.loads(line)
    assert (found["unreadable"], found["topic"], found["partition"], found["offset"]) == (
        "unreadable-record",
        "notifications.info",
        3,
        17,
    )


@pytest.mark.parametrize("which", [0, 1])
def test_a_filter_of_event_types_leaves_it_out(which: int) -> None:
    assert list(shows(view(matches="compute"))[which](BAD, True)) == []


def test_counts_pass_over_it() -> None:
    assert list(tail._Counts(view()).show(BAD, True)) == []
