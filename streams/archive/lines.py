"""A record as a line of JSON, with nothing of it lost. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import msgspec

from streams.notifications.priority import Priority
from streams.records import Record, UnreadableRecord

#: Whose time a record has, by aiokafka's number.
_TIMESTAMP_TYPES = {0: "create", 1: "append"}


class LineError(ValueError):
    """A line is no record of an archive; the text says why."""


class _Base64(msgspec.Struct):
    """Bytes that are no UTF-8."""

    base64: bytes


#: Bytes as text; where they are none, in base64.
_Bytes = str | _Base64 | None


class _Line(msgspec.Struct, omit_defaults=True):
    """The members of a line, in their order."""

    topic: str
    priority: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: str | None
    key: _Bytes
    value: _Bytes
    headers: list[tuple[str, _Bytes]]
    #: Why the record could not be read; what lay in its place is in ``value``, where that is known.
    unreadable: str | None = None
    #: Offset after the last one that is missing for the same reason; None where that is the next one.
    end_offset: int | None = None
    #: Id of the topic, which another of the same name does not have; earlier versions did not write it.
    topic_id: str = ""


class Archived(msgspec.Struct, frozen=True):
    """A record as it was archived.

    Attributes:
        topic: where it lay.
        priority: of that topic.
        partition: of that topic.
        offset: in that partition.
        timestamp_ms: milliseconds since 1970; -1 when it had none.
        timestamp_type: whose time that is, ``create`` (its publisher's) or ``append`` (the broker's).
        key: as it was published.
        value: as it was published.
        headers: names and values, in order.
        unreadable: why it could not be read, so that it is not there; None for one that is.
        checksum: of all of the line but its place, to tell a repeat from another record at that place.
        topic_id: of the topic, which another of the same name does not have; empty where it was not written.
        end_offset: after the last offset that the line stands for; of a record that is there, the next one.
    """

    topic: str
    priority: Priority
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: str | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    unreadable: str | None = None
    checksum: int = 0
    topic_id: str = ""
    end_offset: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Line)


def archive_line(topic: str, priority: Priority, partition: int, record: Record, topic_id: str = "") -> bytes:
    """The line of a record, with its end.

    Args:
        topic: where it lies.
        priority: of that topic.
        partition: of that topic.
        record: as it was read.
        topic_id: of that topic.
    """
    unreadable = found = None
    if isinstance(record, UnreadableRecord):
        unreadable, found = record.error, record.found
    return (
        _encoder.encode(
            _Line(
                topic=topic,
                priority=priority.value,
                partition=partition,
                offset=record.offset,
                timestamp_ms=-1 if record.timestamp is None else record.timestamp,
                timestamp_type=_TIMESTAMP_TYPES.get(record.timestamp_type or 0)
                if record.timestamp_type is not None
                else None,
                key=_packed(record.key),
                value=_packed(record.value if found is None else found),
                headers=[(name, _packed(content)) for name, content in record.headers or ()],
                unreadable=unreadable,
                topic_id=topic_id,
            )
        )
        + b"\n"
    )


def missing_line(
    topic: str, priority: Priority, partition: int, offsets: range, why: str, topic_id: str = ""
) -> bytes:
    """The line that stands for records which the archive will not have, with its end.

    An earlier version takes it for one record that could not be read.

    Args:
        topic: where they lay.
        priority: of that topic.
        partition: of that topic.
        offsets: of the records.
        why: they are missing.
        topic_id: of that topic.
    """
    line = _Line(
        topic,
        priority.value,
        partition,
        offsets.start,
        timestamp_ms=-1,
        timestamp_type=None,
        key=None,
        value=None,
        headers=[],
        unreadable=why,
        end_offset=offsets.stop,
        topic_id=topic_id,
    )
    return _encoder.encode(line) + b"\n"


def archived(line: bytes) -> Archived:
    """The record of a line.

    Raises:
        LineError: it is none.
    """
    try:
        found = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LineError(f"it is no record of an archive ({error})") from None
    if found.priority not in Priority.__members__.values():
        raise LineError(f"it names the priority {found.priority!r}, which there is not")
    key, value = _unpacked(found.key), _unpacked(found.value)
    headers = tuple((name, _unpacked(content)) for name, content in found.headers)
    return Archived(
        found.topic,
        Priority(found.priority),
        found.partition,
        found.offset,
        found.timestamp_ms,
        found.timestamp_type,
        key,
        value,
        headers,
        found.unreadable,
        _checksum(found.timestamp_ms, key, value, headers),
        found.topic_id,
        found.offset + 1 if found.end_offset is None else found.end_offset,
    )


def _packed(content: bytes | None) -> _Bytes:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _Base64(content)


def _unpacked(content: _Bytes) -> bytes | None:
    if isinstance(content, str):
        return content.encode()
    return None if content is None else content.base64


def _checksum(
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
) -> int:
    found = crc32(f"{timestamp_ms} {key is None} {value is None}".encode())
    for part in (key, value):
        found = crc32(part or b"", found)
    for name, content in headers:
        found = crc32(content or b"", crc32(name.encode(), found))
    return found
