"""Sees to it that a member works on an assignment that fits, and that somebody works on each partition.

Kafka hands a member that returns within its session under its instance id the assignment that it had, and
asks nobody whether it still fits. A worker that came back with fewer priorities then has partitions of topics
to which it does not subscribe, at which Faust's assignor raises, and the membership ends without a word; with
more priorities, or after partitions were added, some partitions are nobody's, and all workers say ready.
Whether an assignment fits is told by what Faust's leader writes into it: what every member of the group got.

Private parts of Faust and aiokafka; each has a test.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import faust
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest
from faust.assignor.client_assignment import ClientMetadata

log = logging.getLogger(__name__)

#: Assignments that are refused one after the other. A leader may know less of topics than this member.
_MOST_REFUSED = 3

#: Topic -> its partitions.
Partitions = Mapping[str, set[int]]


def assigned_in_group(assignor: Any) -> Partitions:
    """What the present assignment gives to any member of the group.

    Args:
        assignor: of a Faust app, or an assignment of its kind.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for distribution in (assignor.external_topic_distribution, assignor.changelog_distribution):
        for topics in distribution.values():
            for topic, partitions in topics.items():
                found[topic].update(partitions)
    return found


def misfit(
    mine: Iterable[str], subscribed: Iterable[str], given: Partitions, wanted: Mapping[str, set[int]]
) -> str:
    """What is wrong with an assignment; empty when nothing is. Pure.

    Args:
        mine: topics of which this member was given partitions.
        subscribed: topics to which it subscribes.
        given: what the whole group was given.
        wanted: the partitions of each topic that some member must have, as far as this member knows.
    """
    strange = sorted(set(mine) - set(subscribed))
    if strange:
        return f"it has partitions of {', '.join(strange)}, which this worker does not read"
    missing = sorted(topic for topic in subscribed if wanted.get(topic, set()) - given.get(topic, set()))
    return f"nobody was given all partitions of {', '.join(missing)}" if missing else ""


async def leave(coordinator: Any) -> None:
    """Leave the group, and join it again as a new member: all members get a new assignment then."""
    if coordinator.generation > 0:
        with contextlib.suppress(KafkaError):
            await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))
    coordinator.reset_generation()


class WholeAssignment:
    """Stands between aiokafka's coordinator and an assignment that it was handed.

    Args:
        app: whose ``SliceAssignor`` is used.
        coordinator: aiokafka's, of the group's consumer.
    """

    def __init__(self, app: faust.App, coordinator: Any) -> None:
        self._app = app
        self._coordinator = coordinator
        self._complete: Callable[..., Any] = coordinator._on_join_complete
        coordinator._on_join_complete = self.on_join_complete
        self._refused = 0

    async def on_join_complete(self, generation: int, member: str, protocol: str, handed: bytes) -> None:
        """Take an assignment that fits; leave the group, and join it anew, where it does not."""
        wrong = self._wrong(handed)
        if wrong and self._refused < _MOST_REFUSED:
            self._refused += 1
            log.warning("The group's assignment is one of before (%s): joining it anew.", wrong)
            await leave(self._coordinator)
            return
        self._refused = 0
        await self._complete(generation, member, protocol, handed)

    def _wrong(self, handed: bytes) -> str:
        coordinator, assignor = self._coordinator, self._app.assignor
        assignment = ConsumerProtocol.ASSIGNMENT.decode(handed)
        metadata = ClientMetadata.loads(assignor._decompress(assignment.user_data))
        subscribed = coordinator._subscription.topics
        wanted = {
            topic: assignor.wanted(topic, len(coordinator._cluster.partitions_for_topic(topic) or ()))
            for topic in subscribed
        }
        mine = dict(assignment.assignment)
        wrong = misfit(mine, subscribed, assigned_in_group(metadata), wanted)
        if not wrong and not assignor.is_together(mine):
            # A worker of a version that knows no slices has made it.
            wrong = "it has partitions without the slice that keeps their counts"
        return wrong
