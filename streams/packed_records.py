"""Records in the form in which Kafka stores them, but for their place in a batch. Pure.

In a storm thousands of alerts a second are made, which have most of their bytes in common. So they are put
together as bytes at once, from parts that are kept, instead of as values and lists of headers that the client
would take apart again.

The form is that of batches of version 2: key, value and headers, each behind its length. What stands before
them (the length of all, the time and the offset within the batch) is known when a batch takes the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from streams.outgoing import Outgoing

#: Numbers below this are looked up in `VARINTS`.
VARINTS_BELOW: Final = 8192


def _varint(number: int) -> bytes:
    left = number << 1 if number >= 0 else (-number << 1) - 1
    packed = bytearray()
    while left > 0x7F:
        packed.append(0x80 | (left & 0x7F))
        left >>= 7
    packed.append(left)
    return bytes(packed)


#: What `varint` returns of the least numbers: a look-up costs a quarter of the call.
VARINTS: Final = tuple(map(_varint, range(VARINTS_BELOW)))
_NONE: Final = _varint(-1)


def varint(number: int) -> bytes:
    """A number as Kafka's records have it: of variable length, the sign in the lowest bit."""
    return VARINTS[number] if 0 <= number < VARINTS_BELOW else _varint(number)


def packed_text(text: bytes | None) -> bytes:
    """A key, a value, or the name or value of a header, behind its length."""
    return _NONE if text is None else varint(len(text)) + text


def packed_header(name: str, value: bytes | None) -> bytes:
    """A header."""
    return packed_text(name.encode()) + packed_text(value)


def packed(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ()) -> bytes:
    """A whole record."""
    return b"".join(
        (
            packed_text(key),
            packed_text(value),
            varint(len(headers)),
            *(packed_header(name, text) for name, text in headers),
        )
    )


def unpacked(topic: str, record: bytes) -> Outgoing:
    """The record that was packed.

    Raises:
        ValueError: it is none.
    """
    reader = _Reader(record)
    try:
        key, value = reader.text(), reader.text()
        headers = [((reader.text() or b"").decode(), reader.text() or b"") for _ in range(reader.number())]
    except IndexError:
        raise ValueError("the packed record ends too soon") from None
    if reader.at != len(record):
        raise ValueError("something stands behind the packed record")
    return Outgoing(topic, value, key, None, headers)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def number(self) -> int:
        found = shift = 0
        while True:
            byte = self._data[self.at]
            self.at += 1
            found |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (found >> 1) ^ -(found & 1)

    def text(self) -> bytes | None:
        length = self.number()
        if length < 0:
            return None
        begin, self.at = self.at, self.at + length
        if self.at > len(self._data):
            raise IndexError
        return self._data[begin : self.at]


@dataclass(slots=True, frozen=True)
class PackedRecords:
    """Records of one topic, in order.

    Attributes:
        topic: Kafka topic.
        keys: of each record; its partition follows from it.
        records: the same, packed with value and headers.
    """

    topic: str
    keys: Sequence[bytes]
    records: Sequence[bytes]

    def __len__(self) -> int:
        """How many."""
        return len(self.records)

    def __getitem__(self, index: int) -> Outgoing:
        """One of them, unpacked."""
        return unpacked(self.topic, self.records[index])

    def __iter__(self) -> Iterator[Outgoing]:
        """All of them, unpacked."""
        return (unpacked(self.topic, record) for record in self.records)
