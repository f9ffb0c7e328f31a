"""Slices are assigned, and with each the partitions whose counts it keeps, however many topics have."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocol, ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor
from hypothesis import given
from hypothesis import strategies as st

from streams.settings import load_settings
from streams.upstream.slice_assignor import SliceAssignor, partitions_of, slice_of
from tocsin.app import make_app
from tocsin.faust_config import faust_options

ERROR, DEBUG, PARTIALS = "notifications.error", "notifications.debug", "tocsin-partials"
CHANGELOG = "tocsin-partial-counts-changelog"
STATE = (PARTIALS, CHANGELOG)
Given = Mapping[str, dict[str, list[int]]]


def stand_in() -> Any:
    """As much of an app as an assignor asks."""
    tables = SimpleNamespace(changelog_topics={CHANGELOG}, data={})
    sensors = SimpleNamespace(
        on_assignment_start=lambda _: None,
        on_assignment_completed=lambda *_: None,
        on_assignment_error=lambda *_: None,
    )
    return SimpleNamespace(tables=tables, sensors=sensors, tracer=None)


def assigned(
    partitions: Mapping[str, int],
    slices: int,
    before: Given,
    kind: type[PartitionAssignor] = SliceAssignor,
) -> dict[str, dict[str, list[int]]]:
    """What each member gets of topics with so many partitions; ``before`` has what each had."""
    assignor = kind(stand_in())
    if isinstance(assignor, SliceAssignor):
        assignor.fix(slices, STATE)
    cluster = SimpleNamespace(
        partitions_for_topic=lambda topic: set(range(partitions[topic])) if partitions.get(topic) else None
    )
    members = {
        member: ConsumerProtocolMemberMetadata(
            4,
            list(partitions),
            ClientMetadata(
                assignment=ClientAssignment(actives=had, standbys={}),
                url=f"http://{member}:1",
                changelog_distribution={},
            ).dumps(),
        )
        for member, had in before.items()
    }
    found = assignor.assign(cluster, members)
    return {
        member: dict(ConsumerProtocol.ASSIGNMENT.decode(each.encode()).assignment)
        for member, each in found.items()
    }


def is_together(found: Given, slices: int) -> bool:
    """Whether each member has the slices of what it reads, as the assignor itself would ask."""
    assignor = SliceAssignor(stand_in())
    assignor.fix(slices, STATE)
    return all(assignor.is_together(topics) for topics in found.values())


counts = st.integers(1, 13)


@given(
    partitions=st.fixed_dictionaries({ERROR: counts, DEBUG: counts, PARTIALS: counts, CHANGELOG: counts}),
    members=st.integers(1, 5),
    rounds=st.lists(counts, max_size=3),
)
def test_each_partition_is_read_by_the_holder_of_its_slice(
    partitions: dict[str, int], members: int, rounds: list[int]
) -> None:
    slices = min(partitions[topic] for topic in STATE)
    before: Given = {f"m{number}": {} for number in range(members)}
    for error_partitions in [partitions[ERROR], *rounds]:
        partitions = partitions | {ERROR: max(error_partitions, partitions[ERROR])}
        found = assigned(partitions, slices, before)
        for topic, number in partitions.items():
            every = sorted(each for topics in found.values() for each in topics.get(topic, []))
            assert every == list(range(slices if topic in STATE else number))
        assert is_together(found, slices)
        before = found


def test_more_partitions_move_no_slice() -> None:
    partitions = {ERROR: 4, DEBUG: 4, PARTIALS: 4, CHANGELOG: 4}
    before = assigned(partitions, 4, {"a": {}, "b": {}})
    after = assigned(partitions | {ERROR: 11, DEBUG: 8}, 4, before)
    for member in before:
        assert set(after[member][CHANGELOG]) == set(before[member][CHANGELOG])
        assert set(after[member][ERROR]) == set(partitions_of(before[member][CHANGELOG], 11, 4))


@given(members=st.integers(1, 5), number=counts)
def test_equal_topics_are_assigned_as_faust_does(members: int, number: int) -> None:
    """Workers of two versions may be in one group, as long as nothing was raised."""
    partitions = dict.fromkeys((ERROR, DEBUG, *STATE), number)
    before: Given = {f"m{each}": {} for each in range(members)}
    for _ in range(2):
        found = assigned(partitions, number, before)
        stock = assigned(partitions, number, before, PartitionAssignor)
        assert {m: {t: set(n) for t, n in some.items() if n} for m, some in found.items()} == {
            m: {t: set(n) for t, n in some.items() if n} for m, some in stock.items()
        }
        before = {member: found[member] for member in list(found)[:-1] or found}


def test_faust_alone_takes_partitions_and_their_counts_apart() -> None:
    """The control: why a worker died when partitions were added."""
    partitions = {ERROR: 8, DEBUG: 8, PARTIALS: 4, CHANGELOG: 4}
    before: Given = {
        "a": {topic: [0, 1] for topic in partitions},
        "b": {topic: [2, 3] for topic in partitions},
    }
    assert is_together(assigned(partitions, 4, before), 4)
    assert not is_together(assigned(partitions, 4, before, PartitionAssignor), 4)


def test_which_partitions_somebody_must_have() -> None:
    assignor = SliceAssignor(stand_in())
    assignor.fix(4, STATE)
    assert assignor.wanted(ERROR, 6) == set(range(6))
    assert assignor.wanted(PARTIALS, 6) == set(range(4))
    assert assignor.wanted(PARTIALS, 0) == assignor.wanted(ERROR, 0) == set()


@pytest.mark.parametrize(
    ("mine", "together"),
    [
        ({ERROR: [1, 5], PARTIALS: [1], CHANGELOG: [1]}, True),
        ({ERROR: [1, 5], CHANGELOG: [1, 2]}, True),  # of a pool that combines nothing
        ({PARTIALS: [1], CHANGELOG: [1]}, True),
        ({}, True),
        ({ERROR: [1, 6], PARTIALS: [1], CHANGELOG: [1]}, False),
        ({ERROR: [1], PARTIALS: [2], CHANGELOG: [1]}, False),
        ({ERROR: [1]}, False),
    ],
)
def test_together(mine: dict[str, list[int]], together: bool) -> None:
    assert is_together({"m": mine}, 4) == together


def test_where_counts_of_a_partition_are_kept() -> None:
    assert [slice_of(number, 4) for number in range(9)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert partitions_of({1, 3}, 9, 4) == [1, 3, 5, 7]
    assert partitions_of({3}, 3, 4) == []


def test_workers_use_it(tmp_path: Any) -> None:
    settings = load_settings(data_dir=tmp_path / "data", brokers="127.0.0.1:1")
    assert faust_options(settings)["PartitionAssignor"] is SliceAssignor
    assert isinstance(make_app(settings).assignor, SliceAssignor)
