"""Records on their way out, as everything here that writes to Kafka hands them over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Outgoing(NamedTuple):
    """One record to send.

    Attributes:
        topic: Kafka topic.
        value: what it says; None deletes its key's record in a topic that is compacted.
        key: records of one key lie on one partition, in order.
        partition: where it goes; None lets the producer choose, by the key if there is one.
        headers: names and values.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()


def size_of(message: Outgoing) -> int:
    """Bytes that ``message`` is charged with: its content, and about what it costs around it."""
    size = 128 if message.value is None else len(message.value) + 128
    if message.key is not None:
        size += len(message.key)
    for name, value in message.headers:
        # A record that is sent again may have a name without a value, which Kafka allows.
        size += len(name) + len(value or b"") + 64
    return size
