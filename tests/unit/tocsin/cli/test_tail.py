"""``tocsin tail``: what it shows of a record that the Kafka client cannot take apart."""

from __future__ import annotations

from types import SimpleNamespace

import click
import orjson
import pytest

from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from streams.settings import Settings
from tables.public_rows import PublicRow, encode_row
from tables.reserved_types import OVERFLOW
from tables.row_bodies import TypeTotal
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


def test_counts_add_up_what_slices_have_forgotten_and_show_what_comes_back() -> None:
    counts = tail._Counts(view(as_json=True))

    def shown(slice_: int, offset: int, **totals: int) -> list[tuple[str, int, int]]:
        known = {OVERFLOW if name == "others" else name: TypeTotal(n, 0) for name, n in totals.items()}
        row = PublicRow("INFO", None, None, offset, None, known)
        ((key, value),) = encode_row(row, slice_, 1)
        record = SimpleNamespace(
            key=key, value=value, topic="t", partition=slice_, offset=1, timestamp=1, headers=()
        )
        lines = map(orjson.loads, counts.show(record, True))
        return [(each["event_type"], each["change"], each["total"]) for each in lines]

    assert shown(0, 1, a=10, others=2) == [("a", 10, 10), (OVERFLOW, 2, 2)]
    assert shown(1, 1, b=5, others=7) == [("b", 5, 5), (OVERFLOW, 7, 9)]
    assert shown(0, 2, others=12) == [(OVERFLOW, 10, 19)]  # a was forgotten
    assert shown(0, 3, others=12, a=1) == []  # it has come again
    assert shown(0, 4, others=12, a=3) == [("a", 2, 3)]
    assert shown(0, 2, others=12, a=1) == []  # a row that came late
