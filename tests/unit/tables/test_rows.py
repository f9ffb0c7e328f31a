"""Rows of counts: names, and which version of a row holds."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.timestamps import MAX_TIME_MS
from tables.buckets import FINE, HOUR, MINUTE
from tables.rows import VersionedRows, base_name, bucket_in, bucket_name
from tests.property.counting_model import Store

ANYTHING = orjson.loads
NAME = bucket_name("t:0", FINE, 1_700_000_000)
#: Of the times that can be written as a date; they have 12 digits at most, and so have names.
BUCKETS = st.integers(0, MAX_TIME_MS // 10_000).map(lambda bucket: bucket * 10)


def put(store: Store, writer: str, offset: int, body: object, name: bytes = NAME) -> bytes:
    key, value = VersionedRows(store, writer).encode(name, offset, body)
    store.apply([(key, value)], [store.position])
    return key


def test_row_that_is_not_there() -> None:
    rows = VersionedRows(Store(), "w")
    assert rows.load(NAME, ANYTHING) is None
    assert rows.versions(NAME, ANYTHING) == []


@pytest.mark.parametrize("offset", [-1, 0, 1, 2**40])
def test_row_comes_back_as_written(offset: int) -> None:
    store = Store()
    key = put(store, "w", offset, {"a": [1, 2]})
    loaded = VersionedRows(store, "other").load(NAME, ANYTHING)
    assert loaded is not None
    assert (loaded.offset, loaded.body, loaded.keys) == (offset, {"a": [1, 2]}, [key])


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(-1, 5), min_size=1))
def test_version_with_the_highest_offset_holds(offsets: dict[str, int]) -> None:
    """Whoever wrote it, and in whatever order their keys sort."""
    store = Store()
    keys = [put(store, writer, offset, [writer]) for writer, offset in offsets.items()]
    rows = VersionedRows(store, "w")
    loaded = rows.load(NAME, ANYTHING)
    assert loaded is not None
    assert loaded.offset == max(offsets.values())
    assert offsets[loaded.body[0]] == loaded.offset
    assert sorted(loaded.keys) == sorted(keys)
    versions = rows.versions(NAME, ANYTHING)
    assert [version.offset for version in versions] == sorted(offsets.values(), reverse=True)
    assert {version.body[0]: version.offset for version in versions} == offsets
    assert {version.key for version in versions} == set(keys)


def test_writer_overwrites_its_own_version_alone() -> None:
    store = Store()
    put(store, "a", 5, 5)
    put(store, "b", 7, 7)
    put(store, "a", 6, 6)
    loaded = VersionedRows(store, "c").load(NAME, ANYTHING)
    assert loaded is not None
    assert (loaded.offset, len(loaded.keys)) == (7, 2)


def test_others_are_keys_of_other_writers() -> None:
    store = Store()
    keys = {writer: put(store, writer, 1, 1) for writer in ("a", "b", "ba", "c")}
    rows = VersionedRows(store, "a")
    assert sorted(rows.others(list(keys.values()))) == sorted([keys["b"], keys["ba"], keys["c"]])


@pytest.mark.parametrize(
    "neighbour",
    [
        bucket_name("t:0", FINE, 1_700_000_010),
        bucket_name("t:0", MINUTE, 1_700_000_000),
        bucket_name("t:00", FINE, 1_700_000_000),
        bucket_name("t:0", FINE, 17_000_000_000),
        base_name("t:0"),
    ],
)
def test_neighbours_are_no_versions(neighbour: bytes) -> None:
    """A scan for one name finds no row of another, though names share beginnings."""
    store = Store()
    put(store, "w", 9, "neighbour", neighbour)
    rows = VersionedRows(store, "w")
    assert rows.load(NAME, ANYTHING) is None
    put(store, "w", 1, "mine")
    loaded = rows.load(NAME, ANYTHING)
    assert loaded is not None
    assert loaded.body == "mine"


@given(BUCKETS, BUCKETS)
def test_names_sort_by_time(one: int, other: int) -> None:
    named = bucket_name("t:0", FINE, one) < bucket_name("t:0", FINE, other)
    assert named == (one < other)


@given(BUCKETS, st.sampled_from([FINE, MINUTE, HOUR]), st.sampled_from(["w", "00aa"]))
def test_bucket_is_read_from_the_key(bucket: int, resolution: int, writer: str) -> None:
    key, _ = VersionedRows(Store(), writer).encode(bucket_name("t:0", resolution, bucket), 1, {})
    assert bucket_in(key) == bucket


@given(st.lists(st.integers(0, 40), max_size=20), st.integers(-5, 41), st.integers(1, 10))
def test_expired_are_the_oldest_keys_of_the_owner(starts: list[int], before: int, limit: int) -> None:
    """All writers' versions, the earliest first, of that owner and resolution alone."""
    store = Store()
    expected = set()
    for start in starts:
        for writer in ("a", "b"):
            expected.add(put(store, writer, 1, {}, bucket_name("t:0", FINE, start * 10)))
        put(store, "a", 1, {}, bucket_name("t:1", FINE, start * 10))
        put(store, "a", 1, {}, bucket_name("t:0", MINUTE, start * 10))
    expected = {key for key in expected if bucket_in(key) < before * 10}
    found = VersionedRows(store, "a").expired("t:0", FINE, before * 10, limit)
    assert found == sorted(expected)[:limit]
