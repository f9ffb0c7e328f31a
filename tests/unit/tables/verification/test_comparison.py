"""Comparisons of counts with records: agree, lost, too many, capped, trimmed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import orjson
import pytest

from tables.buckets import FINE, FUTURE_S, MINUTE
from tables.public_rows import PublicRow, encode_key, encode_value
from tables.replay_rules import RuleHistory, Rules, RulesSpan
from tables.reserved_types import OVERFLOW
from tables.row_bodies import Counts, SourceBase
from tables.rows import VersionedRows, base_name, bucket_name
from tables.verification import (
    Budget,
    ChangelogRows,
    Difference,
    PublicBounds,
    PublicCounts,
    SourceRecount,
    SourceRow,
    Span,
    TooManyCountsError,
    compare,
    covered_from_s,
)

B = 1_700_000_000
SPAN = Span(B, B + 1000)
SOURCE = "AbC_-123:4"


def budget(most: int = 1000) -> Budget:
    return Budget(most)


def tally_of(
    rows: Mapping[int, SourceRow], committed: int = 0, before: int = 1000
) -> tuple[SourceRecount, PublicBounds]:
    bounds = PublicBounds()
    return SourceRecount(rows, committed, before, SPAN, bounds, budget()), bounds


def differences(tally: SourceRecount, covered_from_s: float = 0, kept_from_s: float = 0) -> list[Difference]:
    found = tally.differences("INFO", "t/0", kept_from_s=kept_from_s, covered_from_s=covered_from_s)
    return list(found)


def written(rows: VersionedRows, bucket: int, offset: int, counts: Counts) -> tuple[bytes, bytes]:
    body = {event_type: (number, number, 0) for event_type, number in counts.items()}
    return rows.encode(bucket_name(SOURCE, FINE, bucket), offset, body)


# ---------------------------------------------------------------- rows of the changelog


def test_the_version_with_the_highest_offset_holds_and_deleted_ones_are_gone() -> None:
    changelog = ChangelogRows([SOURCE], [SOURCE], SPAN, budget())
    one, other = (VersionedRows(changelog, name) for name in ("one", "other"))
    changelog.apply(*written(one, B, 9, {"a": 3}))
    changelog.apply(*written(other, B, 5, {"a": 1}))
    changelog.apply(*written(one, B + 10, 9, {"b": 3}))
    changelog.apply(written(one, B + 10, 9, {})[0], None)
    changelog.apply(*written(one, B - 10, 9, {"c": 1}))  # before the span
    changelog.apply(*one.encode(base_name(SOURCE), 9, {}))
    changelog.apply(*one.encode(bucket_name(SOURCE, MINUTE, B), 9, {"a": 7}))
    changelog.apply(b"r/what", b"ever")
    changelog.apply(None, b"")
    assert changelog.of(SOURCE) == {B: SourceRow(9, {"a": 3})}
    assert changelog.of("another:4") == {}
    assert changelog.strange == set()


def test_rows_of_a_topic_that_is_gone_are_told() -> None:
    changelog = ChangelogRows([SOURCE], ["other:4"], SPAN, budget())
    rows = VersionedRows(changelog, "w")
    changelog.apply(*rows.encode(bucket_name("other:4", FINE, B), 1, {}))
    changelog.apply(*rows.encode(bucket_name("gone:4", FINE, B), 1, {}))
    assert changelog.strange == {"gone:4"}


def test_event_types_of_a_row_that_have_none_there_are_left_out() -> None:
    changelog = ChangelogRows([SOURCE], [], SPAN, budget())
    changelog.apply(*written(VersionedRows(changelog, "w"), B, 3, {"a": 1, OVERFLOW: 0}))
    assert changelog.of(SOURCE)[B].counts == {"a": 1}


def test_the_newest_base_row_tells_the_settings() -> None:
    changelog = ChangelogRows([SOURCE], [], SPAN, budget())
    first, second = Rules(60, 10, 2000, 100, 255), Rules(0, 10, 2000, 100, 255)
    before, after = (
        RuleHistory([], first, -1).spans(),
        RuleHistory([RulesSpan(None, first)], second, 7).spans(),
    )
    one, large = VersionedRows(changelog, "one"), VersionedRows(changelog, "large", largest_bytes=20)
    assert changelog.rules_of(SOURCE) == []
    changelog.apply(*one.encode(base_name(SOURCE), 5, SourceBase({}, [], [], 0)))
    assert changelog.rules_of(SOURCE) == []  # of an older version
    changelog.apply(*one.encode(base_name(SOURCE), 9, SourceBase({}, [], [], 0, rules=after)))
    changelog.apply(*one.encode(base_name(SOURCE), 8, SourceBase({}, [], [], 0, rules=before)))
    for key, value in large.changes(base_name(SOURCE), 10, SourceBase({}, [], [], 0, rules=before)):
        changelog.apply(key, value)  # in parts: what the last whole one said holds
    changelog.apply(*one.encode(base_name("another:4"), 11, SourceBase({}, [], [], 0, rules=before)))
    assert changelog.rules_of(SOURCE) == after
    assert changelog.rules_of("another:4") == []


# ---------------------------------------------------------------- rows against records


def test_records_up_to_the_rows_offset_agree_and_later_ones_do_not_matter() -> None:
    tally, bounds = tally_of({B: SourceRow(4, {"a": 3, "b": 2})})
    assert tally.cut(0) == 5
    assert tally.end == 1000
    tally.add({B: {"a": 3, "b": 2}}, 4)
    tally.add({B: {"a": 7}}, 11)
    assert differences(tally) == []
    assert (tally.records, tally.buckets) == (5, 1)
    assert bounds.by_bucket == {B: {"a": [0, 10], "b": [0, 2]}}


def test_committed_records_must_be_in_a_row_whatever_its_offset() -> None:
    tally, bounds = tally_of({B: SourceRow(4, {"a": 5})}, committed=8)
    tally.add({B: {"a": 5}}, 4)
    tally.add({B: {"a": 2}, B + 10: {"z": 1}}, 7)
    assert [(each.bucket, each.lost, each.excess) for each in differences(tally)] == [
        (B, 2, 0),
        (B + 10, 1, 0),
    ]
    assert bounds.by_bucket[B]["a"] == [7, 7]


def test_counted_twice_is_found_where_retention_left_everything_and_only_there() -> None:
    tally, _ = tally_of({B: SourceRow(4, {"a": 6}), B + 10: SourceRow(4, {"b": 1})})
    tally.add({B: {"a": 5}}, 4)
    assert [(each.event_type, each.lost, each.excess) for each in differences(tally)] == [
        ("a", 0, 1),
        ("b", 0, 1),
    ]
    assert [each.event_type for each in differences(tally, covered_from_s=B + 10)] == ["b"]
    assert differences(tally, covered_from_s=math.inf) == []


def test_a_loss_is_found_where_retention_has_deleted_records_too() -> None:
    tally, _ = tally_of({B: SourceRow(4, {"a": 4})})
    tally.add({B: {"a": 5}}, 4)
    assert [each.lost for each in differences(tally, covered_from_s=math.inf)] == [1]
    assert differences(tally, kept_from_s=B + 1) == []


def test_records_are_cut_at_every_row_the_commit_and_the_end() -> None:
    tally, _ = tally_of({B: SourceRow(4, {}), B + 10: SourceRow(9, {})}, committed=7, before=12)
    cuts = [tally.cut(offset) for offset in (0, 4, 5, 6, 7, 9, 10, 11)]
    assert cuts == [5, 5, 7, 7, 10, 10, 12, 12]
    assert tally.cut(12) > 1000
    assert tally.end == 12


def test_buckets_outside_the_span_are_left_out() -> None:
    tally, bounds = tally_of({}, committed=100)
    tally.add({B - 10: {"a": 1}, B + 1000: {"a": 1}, 0: {"a": 1}}, 3)
    assert differences(tally) == []
    assert bounds.by_bucket == {}


# ---------------------------------------------------------------- one bucket


def kinds(
    bounds: dict[str, tuple[int, int]], counted: Counts, *, covered: bool = True
) -> list[tuple[str, int]]:
    found = compare("INFO", "t/0", B, bounds, counted, covered=covered)
    return [(each.event_type, each.counted - each.published) for each in found]


@pytest.mark.parametrize(
    ("bounds", "counted", "expected"),
    [
        ({"a": (2, 2)}, {"a": 2}, []),
        ({"a": (2, 4)}, {"a": 3}, []),
        ({"a": (2, 4)}, {"a": 1}, [("a", -1)]),
        ({"a": (2, 4)}, {"a": 5}, [("a", 1)]),
        ({"a": (2, 2)}, {}, [("a", -2)]),
        ({}, {"a": 2}, [("a", 2)]),
        # One too many of one and one too few of another do not make up for each other.
        ({"a": (2, 2), "b": (2, 2)}, {"a": 3, "b": 1}, [("a", 1), ("b", -1)]),
        # Beyond the cap only the sum is known, and named ones never exceed their records.
        ({"a": (2, 2), "b": (2, 2), "c": (1, 1)}, {"a": 2, OVERFLOW: 3}, []),
        ({"a": (2, 2), "b": (2, 2), "c": (1, 1)}, {"a": 2, OVERFLOW: 2}, [(OVERFLOW, -1)]),
        ({"a": (2, 2), "b": (2, 2), "c": (1, 1)}, {"a": 2, OVERFLOW: 4}, [(OVERFLOW, 1)]),
        ({"a": (2, 2), "b": (3, 3)}, {"a": 4, OVERFLOW: 1}, [("a", 2)]),
    ],
)
def test_a_bucket(
    bounds: dict[str, tuple[int, int]], counted: Counts, expected: list[tuple[str, int]]
) -> None:
    assert kinds(bounds, counted) == expected
    assert kinds(bounds, counted, covered=False) == [each for each in expected if each[1] < 0]


# ---------------------------------------------------------------- public counts


def public_of(*rows: tuple[int, int, Counts], bucket: int = B) -> PublicCounts:
    """From slice, offset and counts."""
    public = PublicCounts(SPAN, budget())
    for part, offset, counts in rows:
        row = PublicRow("INFO", FINE, bucket, offset, counts, None)
        public.apply(encode_key("INFO", FINE, bucket, part), encode_value(row, 0))
    return public


def public_differences(
    public: PublicCounts, bounds: PublicBounds, *, lower: bool = True, upper: bool = True
) -> list[int]:
    found = public.differences("INFO", "event-counts", bounds, lower=lower, upper=upper)
    return [each.counted - each.published for each in found]


def test_public_counts_are_summed_over_slices_and_older_rows_do_not_hold() -> None:
    bounds = PublicBounds()
    bounds.by_bucket[B] = {"a": [3, 3], "b": [1, 2]}
    public = public_of((0, 7, {"a": 3}), (1, 2, {"b": 2}), (0, 5, {"a": 1}))
    assert public_differences(public, bounds) == []
    bounds.by_bucket[B]["a"] = [4, 5]
    assert public_differences(public, bounds) == [-1]
    assert public_differences(public, bounds, lower=False) == []
    bounds.by_bucket[B]["a"] = [1, 2]
    assert public_differences(public, bounds) == [1]
    assert public_differences(public, bounds, upper=False) == []
    bounds.covered_from_s = B + 10
    assert public_differences(public, bounds) == []


def test_public_rows_that_are_missing_or_deleted_are_zero() -> None:
    bounds = PublicBounds()
    bounds.by_bucket[B] = {"a": [3, 3]}
    assert public_differences(public_of(), bounds) == [-3]
    public = public_of((0, 7, {"a": 3}))
    public.apply(encode_key("INFO", FINE, B, 0), None)
    assert public_differences(public, bounds) == [-3]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"what", b"{}"),
        (encode_key("INFO", FINE, B, 0), b"{"),
        (encode_key("INFO", FINE, B, 0), orjson.dumps({"offset": 1, "counts": []})),
        (encode_key("INFO", None, None, 0), orjson.dumps({"offset": 1, "totals": {}})),
        (encode_key("INFO", MINUTE, B, 0), orjson.dumps({"offset": 1, "counts": {"a": 1}})),
    ],
)
def test_other_records_of_the_public_topic_are_left_out(key: bytes | None, value: bytes) -> None:
    public = PublicCounts(SPAN, budget())
    public.apply(key, value)
    assert public_differences(public, PublicBounds()) == []


# ---------------------------------------------------------------- bounds and coverage


def test_memory_is_bounded() -> None:
    bounds = PublicBounds()
    tally = SourceRecount({}, 100, 100, SPAN, bounds, budget(10))
    with pytest.raises(TooManyCountsError, match="shorter --since"):
        tally.add({B: {f"type {number}": 1 for number in range(8)}}, 5)
    changelog = ChangelogRows([SOURCE], [], SPAN, budget(3))
    rows = VersionedRows(changelog, "w")
    with pytest.raises(TooManyCountsError):
        for number in range(4):
            changelog.apply(*written(rows, B + 10 * number, 1, {}))


def test_what_is_given_back_can_be_used_again() -> None:
    shared = budget(4)
    for _ in range(5):
        changelog = ChangelogRows([SOURCE], [], SPAN, shared)
        rows = VersionedRows(changelog, "w")
        for number in range(3):
            changelog.apply(*written(rows, B + 10 * number, 1, {}))
        changelog.close()
        tally = SourceRecount({}, 100, 0, SPAN, PublicBounds(), shared)
        tally.add({B: {"a": 1, "b": 1, "c": 1}}, 5)
        tally.close()


@pytest.mark.parametrize(
    ("beginning", "end", "first_ms", "brokers_clock", "expected"),
    [
        (0, 10, B * 1000, True, 0),
        (0, 10, B * 1000, False, 0),
        (0, 0, None, False, 0),
        (3, 10, B * 1000, True, B + FUTURE_S),
        (3, 10, B * 1000, False, math.inf),  # publishers' clocks say nothing of what was deleted
        (10, 10, None, False, math.inf),
    ],
)
def test_from_when_on_a_partition_is_covered(
    beginning: int, end: int, first_ms: int | None, brokers_clock: bool, expected: float
) -> None:
    assert (
        covered_from_s(beginning, end, first_ms, brokers_clock=brokers_clock, future_s=FUTURE_S) == expected
    )
