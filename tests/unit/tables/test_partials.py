"""Partial counts on their way from ingest to combiners: cutting by slice, messages, and back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import FINE, HOUR, MINUTE
from tables.flushes import Emission
from tables.partials import BucketCounts, Partial, cut, cut_forgetting, decode, encode, make_slicer
from tables.row_bodies import ForgottenTotal, TypeTotal

EVENT_TYPES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BUCKETS = st.tuples(st.sampled_from([FINE, MINUTE, HOUR]), st.integers(0, 5).map(lambda hour: hour * HOUR))
COUNTS = st.dictionaries(EVENT_TYPES, st.integers(1, 2**40), max_size=6)
TOTALS = st.builds(TypeTotal, st.integers(0, 2**40), st.integers(0, 2**40))
EMISSIONS = st.builds(
    Emission,
    st.dictionaries(BUCKETS, COUNTS, max_size=4),
    st.dictionaries(EVENT_TYPES, TOTALS, max_size=6),
)


@given(EMISSIONS, st.integers(1, 7))
def test_nothing_is_lost_or_doubled_on_the_way(emission: Emission, partitions: int) -> None:
    """All counts and totals arrive, each at the one slice that its event type belongs to."""
    slice_of = make_slicer(partitions)
    buckets: dict[tuple[int, int], dict[str, int]] = {}
    totals: dict[str, TypeTotal] = {}
    for partition, part in cut("INFO", "t:3", emission, slice_of).items():
        for arrived in (part for message in encode([part]) for part in decode(message)):
            assert (arrived.priority, arrived.source) == ("INFO", "t:3")
            for each in arrived.buckets:
                counts = each.counts
                row = buckets.setdefault((each.resolution_s, each.bucket), {})
                assert {slice_of(event_type) for event_type in counts} == {partition}
                assert not row.keys() & counts.keys()
                row |= counts
            assert {slice_of(event_type) for event_type in arrived.totals} <= {partition}
            totals |= arrived.totals
    assert buckets == {name: counts for name, counts in emission.buckets.items() if counts}
    assert totals == emission.totals


@given(st.lists(EMISSIONS, max_size=4))
def test_no_message_is_too_large_and_pieces_say_the_same(emissions: list[Emission]) -> None:
    largest, merged, sent = 300, {}, {}
    parts = [part for each in emissions for part in cut("INFO", "t:3", each, make_slicer(1)).values()]
    for part in parts:
        _merge(merged, part)
    for message in encode(parts, largest):
        assert len(message) <= largest
        for part in decode(message):
            _merge(sent, part)
    assert sent == merged


def _merge(held: dict[Any, Any], part: Partial) -> None:
    """As a combiner does: of what it is told more than once the largest holds."""
    for each in part.buckets:
        for event_type, count in each.counts.items():
            name = (each.resolution_s, each.bucket, event_type)
            held[name] = max(count, held.get(name, 0))
    for event_type, total in part.totals.items():
        known = held.get(event_type, (0, 0))
        held[event_type] = (max(total.total, known[0]), max(total.last_seen_ms, known[1]))


@given(EVENT_TYPES, st.integers(1, 64))
def test_slice_is_a_partition_and_the_same_for_every_worker(event_type: str, partitions: int) -> None:
    found = make_slicer(partitions)(event_type)
    assert 0 <= found < partitions
    assert make_slicer(partitions)(event_type) == found


def test_slice_is_stable_over_releases() -> None:
    """Another slice would add a type's old counts to its new ones."""
    slice_of = make_slicer(12)
    assert [slice_of(t) for t in ("compute.instance.create.end", "(dead letters)", "")] == [8, 4, 0]


def test_slicer_forgets_types_and_answers_the_same() -> None:
    slice_of = make_slicer(5)
    before = slice_of("a")
    for number in range(100_002):
        slice_of(f"t{number}")
    assert slice_of("a") == before


def test_slices_are_used_evenly() -> None:
    slice_of = make_slicer(8)
    used = Counter(slice_of(f"service{n}.thing.action") for n in range(8000))
    assert len(used) == 8
    assert min(used.values()) > 500


def test_large_list_of_parts_becomes_several_messages() -> None:
    parts = [
        Partial("INFO", f"t:{n}", [BucketCounts(FINE, 0, {"a": 1})], {"a": TypeTotal(1, 2)}) for n in range(5)
    ]
    messages = encode(parts, 1000)
    assert [len(decode(message)) for message in messages] == [2, 2, 1]
    assert [_said(part) for message in messages for part in decode(message)] == [_said(it) for it in parts]


def test_no_parts_make_no_message() -> None:
    assert encode([]) == []


@pytest.mark.parametrize(
    "message", [b"", b"{", b"[]", b"null", b"{}", b'{"v":2,"parts":[]}', b'{"v":1,"parts":[[1,2]]}']
)
def test_what_is_no_such_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(message)


def test_message_is_versioned() -> None:
    """So that workers of two releases can tell."""
    assert orjson.loads(encode([Partial("INFO", "t:0", [], {})])[0])["v"] == 1


def _said(part: Partial) -> tuple[object, ...]:
    return part.priority, part.source, part.buckets, part.totals


# ---------------------------------------------------------------- sources that forget


class EarlierPartial(msgspec.Struct, array_like=True):
    """As versions read it that know nothing of forgetting."""

    priority: str
    source: str
    buckets: list[BucketCounts]
    totals: dict[str, TypeTotal]


class EarlierMessage(msgspec.Struct):
    v: int
    parts: list[EarlierPartial]


def test_an_earlier_version_reads_every_total_of_a_source_that_forgets() -> None:
    emission = Emission(
        {(FINE, 0): {"a": 1}},
        {"a": TypeTotal(5, 1), "back": TypeTotal(2, 1)},
        forgotten=3,
        epochs={"back": 2},
        gone={3: {"gone": ForgottenTotal(7, 1, 0), "again": ForgottenTotal(8, 1, 2)}},
    )
    parts = [*cut("INFO", "t:3", emission, make_slicer(1)).values()]
    parts += [part for _, part in cut_forgetting("INFO", "t:3", emission, make_slicer(1))]
    for largest_bytes in (10**6, 10):
        read = [
            part
            for message in encode(parts, largest_bytes)
            for part in msgspec.json.decode(message, type=EarlierMessage).parts
        ]
        totals = {(p.source, name): each.total for p in read for name, each in p.totals.items()}
        assert totals == {
            ("t:3", "a"): 5,
            ("t:3#2", "back"): 2,
            ("t:3", "gone"): 7,
            ("t:3#2", "again"): 8,
        }
        now = [part for message in encode(parts, largest_bytes) for part in decode(message)]
        assert [part.gone for part in now if part.gone] == [emission.gone[3]]
        assert now[-1].gone, "last, when all totals are said"
        # What was said before it was forgotten is not taken up again after it.
        assert {part.forgotten for part in now if "gone" in part.totals} == {2}
