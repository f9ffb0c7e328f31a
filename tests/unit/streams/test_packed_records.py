"""Packed records are what was packed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords, packed, unpacked, varint

TEXTS = st.none() | st.binary(max_size=300)
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=300)), max_size=4)


@given(TEXTS, TEXTS, HEADERS)
def test_what_was_packed_is_unpacked(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    assert unpacked("t", packed(key, value, headers)) == Outgoing("t", value, key, None, headers)


@given(TEXTS, TEXTS, HEADERS, st.data())
def test_what_is_cut_or_longer_is_no_record(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    whole = packed(key, value, headers)
    for wrong in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"x"):
        with pytest.raises(ValueError, match="packed record"):
            unpacked("t", wrong)


def test_numbers_are_of_variable_length() -> None:
    """By the specification of protocol buffers, sint32."""
    assert [varint(n).hex() for n in (0, -1, 1, -2, 63, 64, 8191, 8192, 2**31 - 1, -(2**31))] == [
        *("00", "01", "02", "03", "7e", "8001", "fe7f", "808001", "feffffff0f", "ffffffff0f")
    ]


def test_records_of_a_topic_are_unpacked_one_by_one() -> None:
    records = PackedRecords("t", [b"k", b"l"], [packed(b"k", b"1"), packed(b"l", b"2")])
    assert len(records) == 2
    assert (
        list(records)
        == [records[0], records[1]]
        == [Outgoing("t", b"1", b"k", None, []), Outgoing("t", b"2", b"l", None, [])]
    )
