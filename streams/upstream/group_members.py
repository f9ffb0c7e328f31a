"""The members of consumer groups, as their coordinators describe them, and what they say of themselves.

aiokafka 0.14 reads version 3 of the answer by the form of version 2, four bytes too few a group: of several
groups in one answer all but the first are garbage, or raise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupAuthorizationFailedError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct


@dataclass(frozen=True, slots=True)
class Member:
    """A live member of a consumer group: its id, and the topics that it subscribed to."""

    id: str
    topics: frozenset[str]


class _Struct(RequestStruct):
    API_KEY = DescribeGroupsRequest_v3.API_KEY
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class _Request(Request[_Struct]):
    API_KEY: ClassVar[int] = DescribeGroupsRequest_v3.API_KEY

    def __init__(self, groups: Iterable[str]) -> None:
        self._groups = list(groups)

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        return request_struct_class(self._groups, False)


async def describe_groups(admin: AIOKafkaAdminClient, groups: Iterable[str]) -> dict[str, list[Member]]:
    """The live members of each group.

    Args:
        admin: started client.
        groups: to ask for.

    Raises:
        KafkaError: a coordinator does not answer, or not about one of the groups.
    """
    by_node: dict[int, list[str]] = defaultdict(list)
    for group in groups:
        try:
            by_node[await admin.find_coordinator(group)].append(group)
        except GroupAuthorizationFailedError:
            raise GroupAuthorizationFailedError(group) from None
    found: dict[str, list[Member]] = {}
    for node, names in by_node.items():
        answer: Any = await admin._send_request(_Request(names), node)
        for code, name, _, _, _, members, _ in answer.groups:
            if code:
                raise for_code(code)(name)
            found[name] = [_member(member) for member in members]
    return found


def _member(described: tuple[Any, ...]) -> Member:
    name, *_, metadata, _ = described
    return Member(name, subscribed_topics(metadata) if metadata else frozenset())


def subscribed_topics(metadata: bytes) -> frozenset[str]:
    """The topics that a member subscribes to; none where it is somebody else's kind of member.

    Args:
        metadata: of the member, as the coordinator has it.
    """
    try:
        return frozenset(ConsumerProtocolMemberMetadata.decode(metadata).subscription)
    except (ValueError, UnicodeDecodeError):
        return frozenset()
