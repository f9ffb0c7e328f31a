"""Keys and values of the public topic of counts."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, MINUTE
from tables.public_rows import PublicKey, PublicRow, decode_key, encode_key, encode_value
from tables.row_bodies import TypeTotal

PRIORITIES = st.sampled_from(["CRITICAL", "ERROR", "WARN", "INFO", "DEBUG", "SAMPLE"])


@given(PRIORITIES, st.sampled_from([FINE, MINUTE, HOUR]), st.integers(0, 10**11), st.integers(0, 999))
def test_key_of_a_bucket_comes_back(priority: str, resolution: int, bucket: int, slice_: int) -> None:
    key = encode_key(priority, resolution, bucket, slice_)
    assert decode_key(key) == PublicKey(priority, resolution, bucket, slice_)


@given(PRIORITIES, st.integers(0, 999))
def test_key_of_totals_comes_back(priority: str, slice_: int) -> None:
    assert decode_key(encode_key(priority, None, None, slice_)) == PublicKey(priority, None, None, slice_)


def test_keys_are_as_documented() -> None:
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
