"""Rows of another app: whose the topic is, and what readers make of them."""

from __future__ import annotations

import pytest

from tables.foreign_rows import foreign_app
from tables.public_rows import PublicRow, app_of, encode_key, encode_row, encode_value
from tables.row_bodies import TypeTotal
from tables.totals import ForeignRowError, Totals

KEY = encode_key("INFO", None, None, 0)


def value(app: str, total: int = 1) -> bytes:
    return encode_value(PublicRow("INFO", None, None, 5, None, {"a": TypeTotal(total, 7)}), 0, app)


@pytest.mark.parametrize(
    ("writers", "found"),
    [
        ([], None),
        ([None], None),
        (["mine", "mine"], None),
        (["", ""], None),  # of the version before, and so one's own
        (["theirs"], "theirs"),
        ([None, "theirs", "theirs"], "theirs"),
        (["theirs", "mine"], None),  # left out and replaced
        (["theirs", ""], None),
    ],
)
def test_whose_topic_it_is(writers: list[str | None], found: str | None) -> None:
    values = [None if writer is None else value(writer) for writer in writers]
    assert foreign_app([b"no row", *values], "mine") == found


def test_a_row_names_its_app_in_each_of_its_parts() -> None:
    counts = {f"type-{number}": number for number in range(100)}
    for largest in (2**20, 500):
        rows = encode_row(PublicRow("INFO", 10, 20, 5, counts, None), 0, 0, largest, app="mine")
        assert {app_of(each) for _, each in rows} == {"mine"}
    assert app_of(None) == app_of(encode_value(PublicRow("INFO", 10, 20, 5, counts, None), 0)) == ""
    with pytest.raises(ValueError, match="not a row"):
        app_of(b"{")


def test_a_reader_takes_rows_of_its_app_and_of_versions_that_named_none() -> None:
    totals = Totals("mine")
    totals.apply(KEY, value("", 3))
    assert totals.known("a") == {"INFO": (3, 7)}
    totals.apply(KEY, value("mine", 4))
    with pytest.raises(ForeignRowError, match="theirs"):
        totals.apply(KEY, value("theirs", 300))
    assert totals.known("a") == {"INFO": (4, 7)}
    assert totals.applied == 2
    # Negative control: a reader that asks for no app takes the larger total for its own.
    careless = Totals()
    for row in (value("mine", 4), value("theirs", 300)):
        careless.apply(KEY, row)
    assert careless.known("a") == {"INFO": (300, 7)}
