"""What a member of a group subscribes to, as it says itself."""

from __future__ import annotations

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from streams.upstream.group_members import subscribed_topics


def test_the_topics_of_a_member() -> None:
    metadata = ConsumerProtocolMemberMetadata(
        0, ["notifications.debug", "tocsin-partials"], b"of Faust"
    ).encode()
    assert subscribed_topics(metadata) == {"notifications.debug", "tocsin-partials"}


@pytest.mark.parametrize("metadata", [b"", b"\0", b"connect", b"\0\1\0\0\0\1\0\2\xff\xff"])
def test_what_is_no_consumer_subscribes_to_nothing(metadata: bytes) -> None:
    assert subscribed_topics(metadata) == frozenset()
