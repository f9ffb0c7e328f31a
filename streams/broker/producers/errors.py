"""What the errors of a producer mean for what was sent, and for the client that sent it."""

from __future__ import annotations

from typing import Final

from aiokafka.errors import (
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    TopicAuthorizationFailedError,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)

#: The brokers or the client refuse a record for its size: sending it again cannot help.
REFUSED_FOR_SIZE: Final = (MessageSizeTooLargeError,)
#: The brokers did not write the batch, so that sending it again, by a fresh client, makes no duplicate.
NOT_WRITTEN: Final = (OutOfOrderSequenceNumber, UnknownProducerId)
#: What was handed over waited behind something else and was not taken: the broker is away, nothing is wrong.
NOT_TAKEN: Final = (KafkaTimeoutError,)
#: The topic or partition is not there or may not be written. aiokafka asserts that a partition is known.
TOPIC_REFUSED: Final = (UnknownTopicOrPartitionError, TopicAuthorizationFailedError, AssertionError)


class RecordRefusedForSizeError(Exception):
    """The brokers or the client refuse a record for its size; sending it again cannot help."""


def client_goes_on(error: BaseException | None) -> bool:
    """Whether the client that met with an error can go on; else its sequence numbers may be out of step."""
    return bool(getattr(error, "retriable", False))
