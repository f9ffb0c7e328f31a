"""Dead letters: records that cannot be read, kept with the reason. Pure.

A dead letter has the original key, value and headers, and headers that say where it came from and why
it is here. One input record has one id, so a repeat after a crash can be told from another record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from faust.types import TP

from streams.notifications import Rejection
from streams.outgoing import Outgoing
from streams.records import Record

_PREFIX: Final = "tocsin-"
REASON: Final = "tocsin-reason"
DETAIL: Final = "tocsin-detail"
TOPIC: Final = "tocsin-topic"
PARTITION: Final = "tocsin-partition"
OFFSET: Final = "tocsin-offset"
TIMESTAMP: Final = "tocsin-timestamp-ms"
ID: Final = "tocsin-id"
#: Present when the value is cut, because no topic takes the whole of it.
TRUNCATED: Final = "tocsin-truncated"
_TRUNCATED_BYTES: Final = 64 * 1024


def dead_letter(topic: str, tp: TP, record: Record, source: str, rejection: Rejection) -> Outgoing:
    """The dead letter of an input record.

    Args:
        topic: the dead-letter topic.
        tp: partition that the record came from.
        record: as it was read.
        source: name of the source: topic id and partition.
        rejection: why it cannot be read.
    """
    # Kafka, and so the client, allows a header without a value.
    given: Iterable[tuple[str, Any]] = record.headers or ()
    headers = [(name, value) for name, value in given if not name.startswith(_PREFIX)]
    headers += [
        (REASON, rejection.reason.encode()),
        (DETAIL, rejection.detail.encode()),
        (TOPIC, tp.topic.encode()),
        (PARTITION, str(tp.partition).encode()),
        (OFFSET, str(record.offset).encode()),
        (TIMESTAMP, str(record.timestamp).encode()),
        (ID, f"{source}:{record.offset}".encode()),
    ]
    return Outgoing(topic, record.value, record.key, None, headers)


def truncated(letter: Outgoing) -> Outgoing:
    """A dead letter with the beginning of the value only, marked as such, and none of the other headers."""
    value = letter.value[:_TRUNCATED_BYTES] if letter.value is not None else None
    headers = [(name, content) for name, content in letter.headers if name.startswith(_PREFIX)]
    return Outgoing(letter.topic, value, None, None, [*headers, (TRUNCATED, b"true")])


@dataclass(slots=True, frozen=True)
class DeadLetter:
    """A dead letter as read back."""

    id: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    truncated: bool


def parse(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, Any]]) -> DeadLetter | None:
    """Read a record of the dead-letter topic; None when it is not a dead letter of Tocsin."""
    headers = tuple(headers)
    named = {name: content for name, content in headers if name.startswith(_PREFIX) and content is not None}
    try:
        return DeadLetter(
            id=named[ID].decode(),
            reason=named[REASON].decode(),
            detail=named[DETAIL].decode(),
            topic=named[TOPIC].decode(),
            partition=int(named[PARTITION]),
            offset=int(named[OFFSET]),
            timestamp_ms=int(named[TIMESTAMP]),
            key=key,
            value=value,
            headers=original_headers(headers),
            truncated=TRUNCATED in named,
        )
    except (KeyError, ValueError):
        return None


def original_headers(headers: Sequence[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """The headers that the publisher gave."""
    return tuple((name, content) for name, content in headers if not name.startswith(_PREFIX))
