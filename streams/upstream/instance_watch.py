"""Notices that another process has the instance id. Touches private parts of aiokafka; each has a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import (
    HeartbeatRequest,
    HeartbeatResponse_v1,
    JoinGroupRequest,
    SyncGroupRequest,
)
from aiokafka.protocol.types import Int32, Schema, String

from streams.cancellation import look_at

#: Kafka's error codes: it does not know the member; another one took over its instance id.
UNKNOWN_MEMBER, FENCED_INSTANCE = 25, 82


class _HeartbeatResponse(HeartbeatResponse_v1):
    API_VERSION = 3


class _HeartbeatStruct(RequestStruct):
    API_KEY = HeartbeatRequest.API_KEY
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class StaticHeartbeat(Request[_HeartbeatStruct]):
    """A heartbeat that names the instance id, which those of aiokafka do not.

    Only to such a one does Kafka say whether the session ran out or another process took over the id.
    """

    API_KEY: ClassVar[int] = HeartbeatRequest.API_KEY

    def __init__(self, *values: Any) -> None:
        self._values = values

    def build(self, request_struct_class: type[_HeartbeatStruct]) -> _HeartbeatStruct:
        """The request as it is sent."""
        return request_struct_class(*self._values)


class InstanceWatch:
    """Notices that another process has joined the group with this one's instance id.

    Kafka gives the place in the group to whoever joins last. aiokafka answers "unknown member" by joining
    again, whereby it takes the id back, and the other does the same, for ever. So before aiokafka gets to see
    that answer, Kafka is asked why. A session that ran out, or a restart, goes on as ever.

    Once another has the id, nothing more is asked of the group: what has to end is this process.

    Args:
        coordinator: aiokafka's, of a consumer with an instance id.
        on_fenced: called once, in the consumer's thread.
    """

    def __init__(self, coordinator: Any, on_fenced: Callable[[], None]) -> None:
        self._coordinator = coordinator
        self._on_fenced = on_fenced
        self._send = coordinator._send_req
        coordinator._send_req = self.send
        #: Whether a join of our own got lost, and may have been, or be about to be, carried out by Kafka:
        #: the one who has the id may be nobody but us.
        self._lost_join = False
        self.fenced = False

    async def send(self, request: Any) -> Any:
        """Send a request of the group coordination, and look at what Kafka says to it."""
        coordinator = self._coordinator
        if self.fenced:
            await asyncio.wait([coordinator._closing])
            # A commit may have been given up meanwhile. asyncio would log that nobody asks how it ended.
            if (task := asyncio.current_task()) is not None:
                task.add_done_callback(look_at)
            raise KafkaError("another process has the instance id")
        joins, member = isinstance(request, JoinGroupRequest), coordinator.member_id
        try:
            response = await self._send(request)
        except BaseException:
            self._lost_join |= joins and not member
            raise
        codes = _error_codes(request, response)
        # Something that was on its way while we joined anew says nothing about who we are now.
        known = member == coordinator.member_id and (joins or member)
        if not codes & {UNKNOWN_MEMBER, FENCED_INSTANCE} or not known or coordinator._closing.done():
            return response
        if FENCED_INSTANCE in codes or await self._is_fenced(member):
            self._taken_over()
        if FENCED_INSTANCE in codes:
            # aiokafka does not know this one. Of an unknown member it knows that it has to join again.
            response.error_code = UNKNOWN_MEMBER
        return response

    async def _is_fenced(self, member: str) -> bool:
        coordinator = self._coordinator
        if not member:
            return False
        asked = StaticHeartbeat(
            coordinator.group_id, coordinator.generation, member, coordinator._group_instance_id
        )
        try:
            answer = await self._send(asked)
        except KafkaError:
            return False  # it joins again; if there is another one, this is asked again in a moment
        return bool(answer.error_code == FENCED_INSTANCE and coordinator.member_id == member)

    def _taken_over(self) -> None:
        if self._lost_join:
            self._lost_join = False
        elif not self.fenced:
            self.fenced = True
            self._on_fenced()


def watch_instance(consumer: Any, on_fenced: Callable[[], None]) -> None:
    """Watch over the instance id of an aiokafka consumer that has started.

    Args:
        consumer: a member of a group, with an instance id.
        on_fenced: called once, when another process has taken it over.
    """
    InstanceWatch(consumer._coordinator, on_fenced)


def _error_codes(request: Any, response: Any) -> set[int]:
    if isinstance(request, JoinGroupRequest | SyncGroupRequest | HeartbeatRequest):
        return {response.error_code}
    if isinstance(request, OffsetCommitRequest):
        return {code for _, partitions in response.topics for _, code in partitions}
    return set()
