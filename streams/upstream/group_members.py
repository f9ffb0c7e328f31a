"""What a member of a consumer group says of itself, as the group's coordinator describes it."""

from __future__ import annotations

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata


def subscribed_topics(metadata: bytes) -> frozenset[str]:
    """The topics that a member subscribes to; none where it is somebody else's kind of member.

    Args:
        metadata: of the member, as ``describe_consumer_groups`` returns it.
    """
    try:
        return frozenset(ConsumerProtocolMemberMetadata.decode(metadata).subscription)
    except (ValueError, UnicodeDecodeError):
        return frozenset()
