"""Dead letters: records that cannot be read, kept with the reason. Pure.

A dead letter has the original key, value and headers, and headers that say where it came from and why
it is here. One input record has one id, so a repeat after a crash can be told from another record.

A replayed record says of which dead letter it is the replay, and how often it has been replayed. When it is
bad again, its own dead letter says so too. What was replayed is known from notes in the dead-letter topic: a
note lies behind its dead letter in the same partition, so that retention never deletes it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from streams.notifications import Rejection
from streams.outgoing import Outgoing
from streams.records import Record, UnreadableRecord

if TYPE_CHECKING:  # Faust would come with it
    from faust.types import TP

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
#: Of a replayed record, and of its dead letter when it is bad again: the dead letter that it was sent from.
REPLAYED_FROM: Final = "tocsin-replayed-from"
#: Beside it: how often the record had been replayed with that, 1 for the first time.
REPLAYS: Final = "tocsin-replays"
#: Of a note: the id of the dead letter that was replayed.
REPLAYED: Final = "tocsin-replayed"
#: Of a note: the topic that it was sent to.
REPLAYED_TO: Final = "tocsin-replayed-to"
_TRUNCATED_BYTES: Final = 64 * 1024
# Publishers can write these headers too: what is carried on has bounds.
_LONGEST_ID: Final = 512
_MOST_REPLAY_DIGITS: Final = 6


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
    given: Sequence[tuple[str, Any]] = record.headers or ()
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
    if (origin := _origin(dict(given))) is not None:
        headers += replay_headers(*origin)
    value = record.found if isinstance(record, UnreadableRecord) else record.value
    return Outgoing(topic, value, record.key, None, headers)


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
    #: Id of the dead letter that this record was replayed from; None when it was not replayed.
    replayed_from: str | None = None
    #: How often the record was replayed before this dead letter of it.
    replays: int = 0


def parse(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, Any]]) -> DeadLetter | None:
    """Read a record of the dead-letter topic; None when it is not a dead letter of Tocsin."""
    headers = tuple(headers)
    named = {name: content for name, content in headers if name.startswith(_PREFIX) and content is not None}
    replayed_from, replays = _origin(named) or (None, 0)
    try:
        return DeadLetter(
            id=named[ID].decode(),
            reason=named[REASON].decode(),
            detail=named[DETAIL].decode(),
            topic=named[TOPIC].decode(),
            partition=_whole(named[PARTITION], 31),
            offset=_whole(named[OFFSET], 63),
            timestamp_ms=int(named[TIMESTAMP]),
            key=key,
            value=value,
            headers=original_headers(headers),
            truncated=TRUNCATED in named,
            replayed_from=replayed_from,
            replays=replays,
        )
    except (KeyError, ValueError):
        return None


def _whole(text: bytes, bits: int) -> int:
    """A whole number that is none of Kafka's where it is larger than so many bits.

    Raises:
        ValueError: it is none.
    """
    number = int(text)
    if not 0 <= number < 2**bits:
        raise ValueError("no number of Kafka's")
    return number


def replay_headers(letter_id: str, number: int) -> list[tuple[str, bytes]]:
    """The headers that say of a record that it is the replay ``number`` of a dead letter."""
    return [(REPLAYED_FROM, letter_id.encode()), (REPLAYS, str(number).encode())]


def replay_note(topic: str, partition: int, letter_id: str, to_topic: str) -> Outgoing:
    """The note that a dead letter was replayed.

    Args:
        topic: the dead-letter topic.
        partition: that the dead letter lies in.
        letter_id: of the dead letter.
        to_topic: where the record was sent.
    """
    headers = [(REPLAYED, letter_id.encode()), (REPLAYED_TO, to_topic.encode())]
    return Outgoing(topic, None, letter_id.encode(), partition, headers)


def noted_replay(headers: Iterable[tuple[str, Any]]) -> str | None:
    """The id of the dead letter that a note is about; None when the record is no note."""
    named = dict(headers)
    if ID in named:
        return None
    return _text_id(named.get(REPLAYED))


def _origin(named: Mapping[str, Any]) -> tuple[str, int] | None:
    """Id of the dead letter that a record was replayed from, and the number of the replay."""
    letter_id = _text_id(named.get(REPLAYED_FROM))
    if letter_id is None:
        return None
    number = named.get(REPLAYS)
    if not isinstance(number, bytes) or not number.isdigit() or len(number) > _MOST_REPLAY_DIGITS:
        # As versions wrote that did not count.
        return letter_id, 1
    return letter_id, max(1, int(number))


def _text_id(content: Any) -> str | None:
    if not isinstance(content, bytes) or not 0 < len(content) <= _LONGEST_ID:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def original_headers(headers: Sequence[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """The headers that the publisher gave."""
    return tuple((name, content) for name, content in headers if not name.startswith(_PREFIX))
