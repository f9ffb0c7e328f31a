"""Public totals against the records of a priority."""

from __future__ import annotations

import pytest

from tables.public_rows import PublicRow, encode_key, encode_value
from tables.reserved_types import OVERFLOW
from tables.row_bodies import SourceBase, TypeTotal
from tables.rows import VersionedRows, base_name
from tables.verification import Budget, ChangelogRows, PublicBounds, PublicTotals, Span, TooManyCountsError

TOTALS = encode_key("INFO", None, None, 3)
FINE_ROW = encode_key("INFO", 10, 1_700_000_000, 3)


def value(**totals: int) -> bytes:
    found = {event_type: TypeTotal(total, 0) for event_type, total in totals.items()}
    return encode_value(PublicRow("INFO", None, None, 9, None, found), 0)


def read(*rows: tuple[bytes, bytes | None]) -> PublicTotals:
    totals = PublicTotals(Budget(1000))
    for key, row in rows:
        totals.apply(key, row)
    return totals


def bounds(
    *, whole: bool = True, committed: dict[str, int], later: dict[str, int] | None = None
) -> PublicBounds:
    found = PublicBounds()
    found.whole = whole
    found.add_totals(committed, committed=True)
    found.add_totals(later or {}, committed=False)
    return found


def differences(totals: PublicTotals, least: PublicBounds, **told: bool) -> list[tuple[str, int, int]]:
    sides = {"lower": True, "upper": True} | told
    return [
        (each.event_type, each.published, each.counted)
        for each in totals.differences("INFO", "event-counts", least, **sides)
    ]


def test_the_newest_value_of_each_key_counts_and_the_larger_of_two_keys() -> None:
    assert read((TOTALS, value(a=9)), (TOTALS, value(a=7, b=1))).of("INFO") == {"a": 7, "b": 1}
    assert read((TOTALS, value(a=7)), (FINE_ROW, value(a=8))).of("INFO") == {"a": 8}
    assert read((TOTALS, value(a=7)), (FINE_ROW, value(a=8)), (FINE_ROW, None)).of("INFO") == {"a": 7}
    assert read((b"?", b"?"), (TOTALS, b"?"), (TOTALS, value(a=1))).of("ERROR") == {}


@pytest.mark.parametrize(("a", "found"), [(5, []), (6, []), (7, []), (4, [("a", 5, 4)]), (8, [("a", 7, 8)])])
def test_a_total_lies_between_what_was_committed_and_what_was_published(
    a: int, found: list[tuple[str, int, int]]
) -> None:
    assert differences(read((TOTALS, value(a=a))), bounds(committed={"a": 5}, later={"a": 2})) == found


def test_a_total_is_found_too_low_only_where_records_are_gone_or_belong_to_gone_topics() -> None:
    for least, told in (
        (bounds(whole=False, committed={"a": 5}), {}),
        (bounds(committed={"a": 5}), {"upper": False}),
    ):
        assert differences(read((TOTALS, value(a=500))), least, **told) == []
        assert differences(read((TOTALS, value(a=4))), least, **told) == [("a", 5, 4)]
    assert differences(read((TOTALS, value(a=4))), bounds(committed={"a": 5}), lower=False) == []


def test_a_total_that_nobody_published_or_that_is_missing() -> None:
    assert differences(read((TOTALS, value(b=1))), bounds(committed={"a": 5})) == [("a", 5, 0), ("b", 0, 1)]


def test_beyond_the_cap_the_sum_is_compared() -> None:
    row = value(a=5, **{OVERFLOW: 3})
    assert differences(read((TOTALS, row)), bounds(committed={"a": 5, "b": 2, "c": 1})) == []
    assert differences(read((TOTALS, row)), bounds(committed={"a": 5, "b": 2, "c": 2})) == [(OVERFLOW, 9, 8)]


def test_memory_is_bounded() -> None:
    totals = PublicTotals(Budget(2))
    totals.apply(TOTALS, value(a=1, b=1))
    totals.apply(TOTALS, value(a=2, b=2))
    with pytest.raises(TooManyCountsError):
        totals.apply(FINE_ROW, value(a=2))


def test_base_rows_of_topics_that_are_gone_are_known() -> None:
    rows = ChangelogRows(["today:0"], ["today:0", "sister:0"], Span(0, 100), Budget(1000))
    writer = VersionedRows(rows, "w")
    for source in ("today:0", "sister:0", "old:0", "older:0"):
        rows.apply(*writer.encode(base_name(source), 5, SourceBase({}, [], [], 0)))
    key, _ = writer.encode(base_name("older:0"), 5, SourceBase({}, [], [], 0))
    rows.apply(key, None)
    assert rows.gone == {"old:0"}
    assert rows.strange == set()
