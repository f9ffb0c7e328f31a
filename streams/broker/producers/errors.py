"""What the errors of a producer mean for what was sent."""

from __future__ import annotations

from typing import Final

from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

#: The topic or partition is not there or may not be written. aiokafka asserts that a partition is known.
TOPIC_REFUSED: Final = (UnknownTopicOrPartitionError, TopicAuthorizationFailedError, AssertionError)


class RecordRefusedForSizeError(Exception):
    """The brokers or the client refuse a record for its size; sending it again cannot help."""
