"""Keys and values of the public topic of counts."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, MINUTE
from tables.public_rows import PublicKey, PublicRow, decode_key, encode_key, encode_row, encode_value
from tables.row_bodies import TypeTotal
from tables.totals import Totals

PRIORITIES = st.sampled_from(["CRITICAL", "ERROR", "WARN", "INFO", "DEBUG", "SAMPLE"])


@given(PRIORITIES, st.sampled_from([FINE, MINUTE, HOUR]), st.integers(0, 10**11), st.integers(0, 999))
def test_key_of_a_bucket_comes_back(priority: str, resolution: int, bucket: int, slice_: int) -> None:
    key = encode_key(priority, resolution, bucket, slice_)
    assert decode_key(key) == PublicKey(priority, resolution, bucket, slice_)


@given(PRIORITIES, st.integers(0, 999))
def test_key_of_totals_comes_back(priority: str, slice_: int) -> None:
    assert decode_key(encode_key(priority, None, None, slice_)) == PublicKey(priority, None, None, slice_)


@given(PRIORITIES, st.none() | st.integers(0, 10**11), st.integers(0, 999), st.integers(0, 99))
def test_key_of_a_part_comes_back(priority: str, bucket: int | None, slice_: int, part: int) -> None:
    resolution = None if bucket is None else FINE
    key = encode_key(priority, resolution, bucket, slice_, part)
    assert decode_key(key) == PublicKey(priority, resolution, bucket, slice_, part)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(NAMES, st.integers(1, 2**40)), st.sampled_from([FINE, HOUR, None]))
def test_parts_of_a_row_are_small_and_say_the_same(counts: dict[str, int], resolution: int | None) -> None:
    totals = {name: TypeTotal(count, 2**40) for name, count in counts.items()} if resolution != HOUR else None
    bucket = None if resolution is None else 3600
    row = PublicRow("INFO", resolution, bucket, 42, None if resolution is None else counts, totals)
    reader, largest = Totals(), 600
    for key, value in encode_row(row, 3, 1_700_000_000_000, largest):
        assert len(value) <= largest
        assert reader.apply(key, value)
    if totals is not None:
        assert {
            each.event_type: each.count for some in reader.since_ever_in_steps("INFO") for each in some
        } == counts
    if resolution is not None:
        for name, count in counts.items():
            assert list(reader.series(name, "INFO", resolution, 3600, 3601)) == [(3600, count)]


def test_parts_stay_as_they_are_while_a_row_grows() -> None:
    """Otherwise a reader would count an event type in two of them."""
    names = [f"name{number}" for number in range(80)]
    grown: dict[int, list[str]] = {}
    for many in range(40, 81):
        row = PublicRow("INFO", HOUR, 0, many, dict.fromkeys(names[:many], many), None)
        for part, (_, value) in enumerate(encode_row(row, 0, 0, 500)):
            held = list(orjson.loads(value)["counts"])
            assert held[: len(grown.get(part, []))] == grown.get(part, [])
            grown[part] = held
    assert len(grown) > 3
    assert [name for held in grown.values() for name in held] == names


def test_keys_are_as_documented() -> None:
    assert encode_key("INFO", 10, 1_700_000_000, 3, 2) == b"INFO/10/1700000000/3/2"
    assert encode_key("INFO", None, None, 3, 1) == b"INFO/total/3/1"
    assert encode_key("INFO", 10, 1_700_000_000, 3) == b"INFO/10/1700000000/3"
    assert encode_key("INFO", None, None, 3) == b"INFO/total/3"


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"INFO",
        b"INFO/total",
        b"INFO/10/x/3",
        b"INFO/10/3",
        b"a/b/c/d/e",
        b"INFO/10/0/3/1/1",
        b"INFO/total/1/2/3",
        b"INFO/total/x",
        b"\xff/10/0/3",
    ],
)
def test_other_keys_are_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_key(key)


def test_value_of_a_fine_bucket() -> None:
    """It tells everything by itself, so that a subscriber needs no key."""
    row = PublicRow("INFO", FINE, 1_700_000_000, 42, {"a": 2}, {"a": TypeTotal(7, 1_700_000_001_000)})
    assert orjson.loads(encode_value(row, 1_700_000_005_000)) == {
        "priority": "INFO",
        "resolution_s": 10,
        "bucket": 1_700_000_000,
        "offset": 42,
        "as_of_ms": 1_700_000_005_000,
        "counts": {"a": 2},
        "totals": {"a": [7, 1_700_000_001_000]},
    }


def test_value_of_a_coarse_bucket_has_no_totals() -> None:
    body = orjson.loads(encode_value(PublicRow("INFO", HOUR, 0, 42, {"a": 2}, None), 0))
    assert body["counts"] == {"a": 2}
    assert "totals" not in body


def test_value_of_totals_has_no_bucket() -> None:
    body = orjson.loads(encode_value(PublicRow("INFO", None, None, 42, None, {"a": TypeTotal(7, 1)}), 5))
    assert body == {"priority": "INFO", "offset": 42, "as_of_ms": 5, "totals": {"a": [7, 1]}}
