"""An assignment that does not fit is left, and what the whole group was given is known."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaConnectionError
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from streams.upstream.whole_assignment import WholeAssignment, assigned_in_group, leave, misfit
from tocsin.app import TocsinApp

ERROR, DEBUG, CHANGELOG = "notifications.error", "notifications.debug", "tocsin-changelog"
BOTH = {ERROR: {0, 1}, DEBUG: {0, 1}}
WANTED = {ERROR: {0, 1}, DEBUG: {0, 1}}


def test_an_assignment_that_fits() -> None:
    assert misfit([ERROR], [ERROR, DEBUG], BOTH, WANTED) == ""
    # A topic that is not there cannot be assigned.
    assert misfit([ERROR], [ERROR, DEBUG, "gone"], BOTH, WANTED) == ""


@pytest.mark.parametrize(
    ("mine", "subscribed", "given", "wanted", "words"),
    [
        (
            [ERROR, DEBUG],
            [ERROR],
            BOTH,
            WANTED,
            f"it has partitions of {DEBUG}, which this worker does not read",
        ),
        ([ERROR], [ERROR, DEBUG], {ERROR: {0, 1}}, WANTED, f"nobody was given all partitions of {DEBUG}"),
        ([ERROR], [ERROR], BOTH, {ERROR: {0, 1, 2}}, f"nobody was given all partitions of {ERROR}"),
    ],
    ids=["fewer", "more", "partitions added"],
)
def test_an_assignment_of_before(
    mine: list[str], subscribed: list[str], given: Any, wanted: dict[str, set[int]], words: str
) -> None:
    assert misfit(mine, subscribed, given, wanted) == words


@pytest.fixture(autouse=True)
def _sliced(app: TocsinApp) -> None:
    app.assignor.fix(2, [CHANGELOG])


def handed(app: TocsinApp, topics: dict[str, list[int]], held: Sequence[int] = (0,)) -> bytes:
    """An assignment as Faust's leader makes it, for a group of two; the other has partition 1 of each."""
    user_data = ClientMetadata(
        assignment=ClientAssignment(actives=topics, standbys={}),
        url="http://mine:1",
        changelog_distribution={"http://mine:1": {CHANGELOG: [0, 1]}},
        external_topic_distribution={
            "http://mine:1": topics,
            "http://other:1": {topic: [1] for topic in topics},
        },
        topic_groups={},
    )
    packed = app.assignor._compress(user_data.dumps())
    mine = [*topics.items(), (CHANGELOG, held)]
    made: bytes = ConsumerProtocolMemberAssignment(0, mine, packed).encode()
    return made


class Coordinator:
    """A member of a group that subscribes to what it is told."""

    group_id, member_id = "g", "m"

    def __init__(self, *subscribed: str) -> None:
        self.generation = 3
        self.done: list[str] = []
        self._subscription = SimpleNamespace(topics=set(subscribed))
        self._cluster = SimpleNamespace(
            partitions_for_topic=lambda topic: {0, 1} if topic != "gone" else None
        )

    async def _on_join_complete(self, *_: Any) -> None:
        self.done.append("taken")

    async def _send_req(self, request: Any) -> None:
        self.done.append(type(request).__name__)

    def reset_generation(self) -> None:
        self.done.append("reset")


async def test_only_what_fits_is_taken(app: TocsinApp) -> None:
    coordinator = Coordinator(ERROR, DEBUG, CHANGELOG, "gone")
    WholeAssignment(app, coordinator)
    await coordinator._on_join_complete(3, "m", "faust", handed(app, {ERROR: [0]}))
    assert coordinator.done == ["LeaveGroupRequest", "reset"]
    coordinator.done.clear()
    await coordinator._on_join_complete(4, "n", "faust", handed(app, {ERROR: [0], DEBUG: [0]}))
    assert coordinator.done == ["taken"]


async def test_partitions_without_the_slice_of_their_counts_are_not_taken(
    app: TocsinApp, caplog: pytest.LogCaptureFixture
) -> None:
    """A leader of a version that knows no slices makes such an assignment of topics that were raised."""
    coordinator = Coordinator(ERROR, DEBUG, CHANGELOG)
    WholeAssignment(app, coordinator)
    await coordinator._on_join_complete(3, "m", "faust", handed(app, {ERROR: [0], DEBUG: [0]}, held=[1]))
    assert coordinator.done == ["LeaveGroupRequest", "reset"]
    assert "without the slice that keeps their counts" in caplog.text


async def test_it_is_not_left_for_ever(app: TocsinApp) -> None:
    """A leader may know less of topics than this member; the watch of topics sees to it later."""
    coordinator = Coordinator(ERROR, DEBUG, CHANGELOG)
    WholeAssignment(app, coordinator)
    for _ in range(4):
        await coordinator._on_join_complete(3, "m", "faust", handed(app, {ERROR: [0]}))
    assert coordinator.done == [*["LeaveGroupRequest", "reset"] * 3, "taken"]


async def test_a_coordinator_that_does_not_answer_is_left_all_the_same() -> None:
    coordinator = Coordinator(ERROR)

    async def cut(_request: Any) -> None:
        raise KafkaConnectionError

    coordinator._send_req = cut  # type: ignore[method-assign]
    await leave(coordinator)
    coordinator.generation = -1
    await leave(coordinator)  # it is no member, and has nobody to tell
    assert coordinator.done == ["reset", "reset"]


async def test_what_the_whole_group_was_given(app: TocsinApp) -> None:
    assert assigned_in_group(app.assignor) == {}
    app.assignor.external_topic_distribution = {"a": {ERROR: [0]}, "b": {ERROR: [1], DEBUG: [0]}}
    app.assignor.changelog_distribution = {"a": {CHANGELOG: [0]}}
    assert assigned_in_group(app.assignor) == {ERROR: {0, 1}, DEBUG: {0}, CHANGELOG: {0}}


def test_an_assignment_passes_where_it_is_looked_at() -> None:
    assert "_on_join_complete" in GroupCoordinator._do_rejoin_group.__code__.co_names
    assert {"_subscription"} <= set(GroupCoordinator._on_join_complete.__code__.co_names)
    assert "_cluster" in GroupCoordinator._get_metadata_snapshot.__code__.co_names
    assert {"_decompress", "loads"} <= set(PartitionAssignor.on_assignment.__code__.co_names)
    # What is handed to a member that is not asked to join again is thrown away, and the next join waited for.
    assert "subscription" in GroupCoordinator.ensure_active_group.__code__.co_varnames
