"""From a message of RabbitMQ to the record that Kafka gets. Pure.

The record's value is the message's own bytes, since the worker reads every form that oslo.messaging writes.
Only what kombu has compressed is unpacked. What cannot be read stays as it is: the worker makes it a dead
letter.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from streams.bridges.headers import MESSAGE_ID, TRACE, Headers
from streams.notifications.priority import Priority

#: Where a message has an id that its publisher put there by hand.
_ID_HEADER: Final = "x-message-id"
#: What kombu says that a body is compressed with.
_COMPRESSION: Final = "compression"
_LONGEST_HEADER: Final = 512
#: Bytes that a body may have once unpacked: more than any topic takes, and little to hold or to wait for.
_MOST_UNPACKED: Final = 8 * 2**20
#: Bytes of the largest body in which an id is looked for: the largest that RabbitMQ takes, by default.
_MOST_READ: Final = 2**27


class Incoming(NamedTuple):
    """A message as it goes on.

    Attributes:
        value: of the record.
        headers: of the record.
        priority: decides topic and turn.
    """

    value: bytes
    headers: Headers
    priority: Priority


class _Stated(msgspec.Struct):
    """What a message says of itself, as far as it matters here; the values may be of any type."""

    unique_id: Any = msgspec.field(default=None, name="_unique_id")
    message_id: Any = None
    priority: Any = None
    inner: Any = msgspec.field(default=None, name="oslo.message")


_decode: Final = msgspec.json.Decoder(_Stated).decode


class MessageReader:
    """Reads messages.

    Args:
        max_unpacked: bytes; a body that is larger when unpacked stays packed.
    """

    def __init__(self, max_unpacked: int = _MOST_UNPACKED) -> None:
        self._max_unpacked = max_unpacked

    def read(
        self,
        body: bytes,
        message_id: str | None,
        headers: Mapping[str, Any] | None,
        routing_key: str | None,
        queue_priority: Priority | None,
    ) -> Incoming:
        """What to put on Kafka; never raises, whatever the message.

        Args:
            body: of the message.
            message_id: among its AMQP properties.
            headers: among its AMQP properties.
            routing_key: that it was published with, such as ``notifications.info``.
            queue_priority: that the queue's name ends with; None for a queue of several.
        """
        given = headers or {}
        value = body
        if (packed := given.get(_COMPRESSION)) is not None:
            value = _unpacked(body, str(packed), self._max_unpacked)
        stated = _stated(value) if len(value) <= _MOST_READ else None
        found: Headers = []
        if (identity := _identity(message_id, given, stated)) is not None:
            found.append((MESSAGE_ID, identity))
        for name in TRACE:
            if (content := _text(given.get(name))) is not None:
                found.append((name, content))
        return Incoming(value, found, _priority(routing_key, queue_priority, stated))


def named_priority(name: str | None) -> Priority | None:
    """The priority that the name of a queue, or a routing key, ends with, as in ``notifications.info``."""
    return None if name is None else Priority.parse(name.rpartition(".")[2])


def _stated(value: bytes) -> _Stated | None:
    try:
        outer = _decode(value)
        inner = outer.inner
        if isinstance(inner, str):
            return _decode(inner)
        return msgspec.convert(inner, _Stated) if type(inner) is dict else outer
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _identity(message_id: str | None, headers: Mapping[str, Any], stated: _Stated | None) -> bytes | None:
    for found in (
        message_id,
        headers.get(_ID_HEADER),
        None if stated is None else stated.unique_id,
        None if stated is None else stated.message_id,
    ):
        if (content := _text(found)) is not None:
            return content
    return None


def _text(found: object) -> bytes | None:
    """A header's content; None for what is no text, empty, or longer than any that is meant."""
    if isinstance(found, str):
        found = found.encode("utf-8", "backslashreplace")
    return found if isinstance(found, bytes) and 0 < len(found) <= _LONGEST_HEADER else None


def _priority(routing_key: str | None, queue: Priority | None, stated: _Stated | None) -> Priority:
    if queue is not None:
        return queue
    if (named := named_priority(routing_key)) is not None:
        return named
    said = None if stated is None else stated.priority
    return (Priority.parse(said) if isinstance(said, str) else None) or Priority.INFO


def _unpacked(body: bytes, packed: str, most: int) -> bytes:
    """A body without its compression; as it is, where that is unknown, damaged, or hides too much."""
    make = _UNPACKERS.get(packed)
    if make is None:
        return body
    try:
        unpacker = make()
        value = unpacker.decompress(body, most + 1)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return body
    return value if unpacker.eof and len(value) <= most else body


#: kombu calls zlib's format gzip; this reads both.
_UNPACKERS: Final[Mapping[str, Callable[[], Any]]] = {
    "application/x-gzip": lambda: zlib.decompressobj(wbits=47),
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lzma.LZMADecompressor,
}
