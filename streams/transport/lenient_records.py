"""Reading records whose header names are no UTF-8. Uses private parts of aiokafka, each with a test.

Kafka takes any bytes as a header's name, and aiokafka raises in the middle of a fetch for a name that is no
UTF-8: one hostile record would stop its partition for good. Here such names are escaped instead.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT = 8
_OVERHEAD = 12


def accept_any_header_names() -> None:
    """Let all consumers of this process read records with any header names; may be called again."""
    aiokafka.consumer.fetcher.MemoryRecords = LenientRecords


class LenientRecords:
    """Stands in for aiokafka's ``MemoryRecords``: the batches of one fetched partition."""

    def __init__(self, data: bytes) -> None:
        self._fast = MemoryRecords(data)
        self._data = data
        self._position = 0

    def size_in_bytes(self) -> int:
        """Bytes fetched."""
        size: int = self._fast.size_in_bytes()
        return size

    def has_next(self) -> bool:
        """Whether there is another whole batch."""
        more: bool = self._fast.has_next()
        return more

    def next_batch(self) -> Any:
        """The next batch, or None."""
        batch = self._fast.next_batch()
        if batch is None:
            return None
        start = self._position
        (length,) = struct.unpack_from(">i", self._data, start + _LENGTH_AT)
        self._position = start + _OVERHEAD + length
        return _Batch(batch, self._data, start, self._position)


class _Batch:
    """A batch that is read by the fast parser up to a bad header name, and then by the slow one."""

    def __init__(self, fast: Any, data: bytes, start: int, end: int) -> None:
        self._fast = fast
        self._data, self._start, self._end = data, start, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def __next__(self) -> Any:
        return next(self._fast)

    def __iter__(self) -> Iterator[Any]:
        count = 0
        try:
            for record in self._fast:
                yield record
                count += 1
        except UnicodeDecodeError:
            yield from self.leniently(count)

    def parsed(self) -> Iterator[Any]:
        """The fast parser's records; a bad header name raises UnicodeDecodeError."""
        return islice(self._fast, None)  # which, unlike the batch, can be iterated over in parts

    def leniently(self, first: int) -> Iterator[Any]:
        """The records from number ``first`` on, by the slow parser, with any header names."""
        return islice(_read_leniently(self._data[self._start : self._end]), first, None)


class _LenientBytes(bytearray):
    """Bytes whose slices decode to text whatever they are."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return _LenientBytes(found) if isinstance(key, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return bytes(self).decode(encoding, errors)


def _read_leniently(data: bytes) -> Iterator[Any]:
    batch = _DefaultRecordBatchPy(data)
    batch._maybe_uncompress()
    batch._buffer = _LenientBytes(batch._buffer)
    return iter(batch)
