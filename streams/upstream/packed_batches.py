"""A batch for aiokafka's producer that takes records already packed. Uses private parts, each with a test.

Stands in for aiokafka's ``BatchBuilder`` (0.14): its compiled part takes key, value and headers apart, which
for a record with seven headers costs several times what is done here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from struct import Struct
from typing import Any, Final

from aiokafka.record.default_records import DefaultRecordMetadata

from streams.packed_records import VARINTS, VARINTS_BELOW, packed, varint
from streams.upstream.checksums import crc32c
from streams.upstream.unjoined import Unjoined

#: Base offset, length, leader epoch, version, checksum, attributes, last offset delta, first and last time,
#: producer's id and epoch, base sequence, number of records.
_HEADER: Final = Struct(">qiibIhiqqqhii")
#: From where the length counts, and the checksum.
_LENGTH_FROM: Final = 12
_CHECKSUM_AT: Final = 17
_CHECKED_FROM: Final = 21
_CHECKSUM: Final = Struct(">I")
_VERSION: Final = 2
_NO_EPOCH: Final = -1
#: Of a record; no bit of it means anything so far.
_ATTRIBUTES: Final = b"\0"


class PackedBatch:
    """Records of one partition, neither compressed nor of a transaction, open until it is full or sent.

    Args:
        most_bytes: of the whole batch; a single record may be larger.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._parts: list[bytes] = []
        self._size = _HEADER.size
        self._count = 0
        self._first_ms = self._last_ms = 0
        self._producer = (-1, -1, 0)
        self._closed = False
        self._built: Unjoined | None = None

    def add(self, records: Sequence[bytes], first: int = 0, *, at_ms: int | None = None) -> int:
        """Add packed records from index ``first`` on, as far as there is room; the batch is closed where not.

        Args:
            records: the packed records.
            first: index of the first.
            at_ms: time of the records, in milliseconds since 1970; None for now.

        Returns:
            How many were added.
        """
        if self._closed:
            return 0
        now_ms = int(time.time() * 1000) if at_ms is None else at_ms
        if not self._count:
            self._first_ms = self._last_ms = now_ms
        time_and_before = _ATTRIBUTES + varint(now_ms - self._first_ms)
        before = self._count
        count, size, most = before, self._size, self._most_bytes
        add = self._parts.extend
        for record in islice(records, first, None):
            place = VARINTS[count] if count < VARINTS_BELOW else varint(count)
            length = len(time_and_before) + len(place) + len(record)
            length_text = VARINTS[length] if length < VARINTS_BELOW else varint(length)
            size += len(length_text) + length
            if size > most and count:
                self._closed = True
                size -= len(length_text) + length
                break
            add((length_text, time_and_before, place, record))
            count += 1
        self._count, self._size = count, size
        if count > before:
            self._last_ms = max(self._last_ms, now_ms)
        return count - before

    # ---------------------------------------------------------------- what aiokafka calls

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Any:
        """Add a record; returns what aiokafka knows of it, or None when there is no room.

        Args:
            timestamp: in milliseconds since 1970; None for now.
            key: of the record.
            value: of the record.
            headers: of the record.
        """
        at_ms = int(time.time() * 1000) if timestamp is None else timestamp
        before = self._size
        if not self.add((packed(key, value, headers or ()),), at_ms=at_ms):
            return None
        return DefaultRecordMetadata(self._count - 1, self._size - before, at_ms)

    def close(self) -> None:
        """Take no more."""
        self._closed = True

    def closed(self) -> bool:
        """Whether it takes no more."""
        return self._closed

    def size(self) -> int:
        """Bytes of the batch."""
        return self._size

    def record_count(self) -> int:
        """How many records it has."""
        return self._count

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = producer_id, producer_epoch, base_sequence

    def _build(self) -> Unjoined:
        self._closed = True
        if self._built is None:
            header = _HEADER.pack(
                0,
                self._size - _LENGTH_FROM,
                _NO_EPOCH,
                _VERSION,
                0,
                0,
                self._count - 1,
                self._first_ms,
                self._last_ms,
                *self._producer,
                self._count,
            )
            checked = b"".join((header[_CHECKED_FROM:], *self._parts))
            checksum = _CHECKSUM.pack(crc32c(checked))
            self._built, self._parts = Unjoined((header[:_CHECKSUM_AT], checksum, checked)), []
        return self._built
