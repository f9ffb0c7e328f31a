"""What was seen is known again, in any order; what is missing is what nothing else has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.archive.places import MissingPlaces, SeenPlaces

_IDS = st.sampled_from(["", "one", "two"])


@given(st.lists(st.tuples(_IDS, st.integers(0, 12), st.integers(0, 3)), max_size=80))
def test_a_record_is_new_once(some: list[tuple[str, int, int]]) -> None:
    seen = SeenPlaces()
    known: set[tuple[str, int, int]] = set()
    for topic_id, offset, checksum in some:
        alike = [topic_id, ""] if topic_id else ["", "one", "two"]
        is_new = not any((each, offset, checksum) in known for each in alike)
        assert seen.add(("t", 0, topic_id), offset, checksum) is is_new
        if is_new:
            known.add((topic_id, offset, checksum))


@given(
    st.lists(st.tuples(st.sampled_from(["", "one"]), st.integers(0, 30)), max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10), st.sampled_from("ab")), max_size=6),
)
def test_what_is_missing_is_what_nothing_else_has(
    records: list[tuple[str, int]], marks: list[tuple[int, int, str]]
) -> None:
    seen, missing = SeenPlaces(), MissingPlaces()
    for topic_id, offset in records:
        seen.add(("t", 0, topic_id), offset, 1)
        seen.add(("t", 1, topic_id), offset + 1, 1)
    for first, number, why in marks:
        missing.add(("t", 0, "one"), first, first + number, why)
    told = [offset for _, offsets, _ in missing.without(seen) for offset in offsets]
    marked = {offset for first, number, _ in marks for offset in range(first, first + number)}
    assert sorted(told) == sorted(marked - {offset for _, offset in records})
