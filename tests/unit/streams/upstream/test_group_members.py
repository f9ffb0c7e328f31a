"""What a member of a group subscribes to, as it says itself."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import GroupAuthorizationFailedError, GroupLoadInProgressError
from aiokafka.protocol.admin import DescribeGroupsRequest, DescribeGroupsResponse_v3

from streams.upstream.group_members import Member, describe_groups, subscribed_topics


def test_the_topics_of_a_member() -> None:
    metadata = ConsumerProtocolMemberMetadata(
        0, ["notifications.debug", "tocsin-partials"], b"of Faust"
    ).encode()
    assert subscribed_topics(metadata) == {"notifications.debug", "tocsin-partials"}


@pytest.mark.parametrize("metadata", [b"", b"\0", b"connect", b"\0\1\0\0\0\1\0\2\xff\xff"])
def test_what_is_no_consumer_subscribes_to_nothing(metadata: bytes) -> None:
    assert subscribed_topics(metadata) == frozenset()


def described(*groups: tuple[int, str, list[tuple[Any, ...]]]) -> bytes:
    """An answer of version 3, as Kafka's definition has it (DescribeGroupsResponse.json)."""
    return DescribeGroupsResponse_v3(
        0, [(code, name, "Stable", "consumer", "faust", members, -(2**31)) for code, name, members in groups]
    ).encode()


def member(name: str, *topics: str) -> tuple[Any, ...]:
    metadata = ConsumerProtocolMemberMetadata(0, list(topics), b"").encode()
    return (name, "client", "/127.0.0.1", metadata, b"")


class Admin:
    """Answers with bytes, read as the request has them read."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def find_coordinator(self, group: str) -> int:
        if group == "closed":
            raise GroupAuthorizationFailedError
        return 1

    async def _send_request(self, request: Any, node: int) -> Any:
        built = request.prepare({15: (0, 6)})
        self.asked.append((node, built.groups))
        return built.RESPONSE_TYPE.decode(self.answer)


async def test_members_of_several_groups_with_one_coordinator() -> None:
    one, two = member("a-1", "notifications.error"), member("b-1", "notifications.debug", "tocsin-partials")
    admin: Any = Admin(described((0, "one", [one]), (0, "two", [two, one]), (0, "empty", [])))
    found = await describe_groups(admin, ["one", "two", "empty"])
    assert admin.asked == [(1, ["one", "two", "empty"])]
    error = Member("a-1", frozenset({"notifications.error"}))
    debug = Member("b-1", frozenset({"notifications.debug", "tocsin-partials"}))
    assert found == {"one": [error], "two": [debug, error], "empty": []}


async def test_aiokafka_reads_the_second_group_wrongly() -> None:
    """The control: once it no longer does, its own call will do."""
    answer = described((0, "one", [member("a-1", "t")]), (0, "two", [member("b-1", "t")]))
    built = DescribeGroupsRequest(["one", "two"]).prepare({15: (0, 6)})
    try:
        groups = built.RESPONSE_TYPE.decode(answer).groups
    except ValueError:
        return
    assert [group[1] for group in groups] != ["one", "two"]


@pytest.mark.parametrize(
    ("code", "error"), [(30, GroupAuthorizationFailedError), (14, GroupLoadInProgressError)]
)
async def test_a_group_of_which_nothing_is_told_is_no_empty_group(code: int, error: type[Exception]) -> None:
    admin: Any = Admin(described((0, "one", []), (code, "two", [])))
    with pytest.raises(error, match="two"):
        await describe_groups(admin, ["one", "two"])


async def test_a_group_whose_coordinator_is_not_told_is_named() -> None:
    with pytest.raises(GroupAuthorizationFailedError, match="closed"):
        await describe_groups(Admin(b""), ["closed"])  # type: ignore[arg-type]


def test_the_admin_client_sends_requests_where_it_is_asked_to() -> None:
    assert "_send_request" in AIOKafkaAdminClient.describe_consumer_groups.__code__.co_names
