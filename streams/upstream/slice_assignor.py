"""Faust's assignor, for notification topics with any number of partitions.

Faust gives a member the same partition numbers of all topics that have equally many, and chooses anew for
others. So a topic that was given more partitions than the table in which it is counted was read by one worker
while another one had the table. Here slices are assigned: one that has slice
``s`` has partition ``s`` of the topics that hold counts, and of each other topic all partitions ``p`` with
``p % slices == s``. While all topics have as many partitions as there are slices this is what Faust does.

Private parts of Faust; each has a test.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor


def slice_of(partition: int, slices: int) -> int:
    """The slice whose holder reads this partition of a notification topic, and keeps its counts."""
    return partition % slices


def partitions_of(slices_held: Collection[int], partitions: int, slices: int) -> list[int]:
    """The partitions of a notification topic that come with these slices, in order."""
    return [number for number in range(partitions) if slice_of(number, slices) in slices_held]


class _AsSlices:
    """What is known of the cluster, where each topic that is there has a partition for each slice."""

    def __init__(self, cluster: Any, slices: int) -> None:
        self._cluster = cluster
        self._every = set(range(slices))

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self._every if self._cluster.partitions_for_topic(topic) else None


class SliceAssignor(PartitionAssignor):
    """Assigns slices, and with each the partitions of notification topics that belong to it."""

    #: How many slices there are; 0 until ``fix``.
    slices = 0
    _state_topics: frozenset[str] = frozenset()
    _cluster: Any = None

    def fix(self, slices: int, state_topics: Collection[str]) -> None:
        """Say how many slices there are, before the group is joined, and which topics are cut by them."""
        self.slices = slices
        self._state_topics = frozenset(state_topics)

    def wanted(self, topic: str, partitions: int) -> set[int]:
        """The partitions of a topic that some member must have, where it has so many."""
        return set(range(self.slices if topic in self._state_topics and partitions else partitions))

    def is_together(self, mine: Any) -> bool:
        """Whether a member has the slice of each partition that it reads.

        Args:
            mine: topic -> partitions, of the member.
        """
        held = [set(numbers) for topic, numbers in mine.items() if topic in self._state_topics]
        read = {
            slice_of(number, self.slices)
            for topic, numbers in mine.items()
            if topic not in self._state_topics
            for number in numbers
        }
        return all(read <= each for each in held) and (not read or bool(held))

    # ---------------------------------------------------------------- Faust's steps, in their order

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        self._cluster = cluster
        return super()._perform_assignment(_AsSlices(cluster, self.slices), member_metadata)

    def _get_client_metadata(self, metadata: Any) -> ClientMetadata:
        """The slices that a member had before, which it keeps where it can; topics that hold counts tell."""
        found = super()._get_client_metadata(metadata)
        actives = {
            topic: [number for number in numbers if number < self.slices]
            for topic, numbers in found.assignment.actives.items()
            if topic in self._state_topics
        }
        found.assignment = ClientAssignment(actives=actives, standbys={})
        return found

    def _global_table_standby_assignments(self, assignments: Any, partitions_by_topic: Any) -> Any:
        """Slices were assigned; from here on it is partitions."""
        for assignment in assignments.values():
            for topic, slices in assignment.actives.items():
                if topic not in self._state_topics:
                    partitions = len(self._cluster.partitions_for_topic(topic) or ())
                    assignment.actives[topic] = partitions_of(set(slices), partitions, self.slices)
        return super()._global_table_standby_assignments(assignments, partitions_by_topic)
