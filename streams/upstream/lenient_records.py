"""Reading hostile batches of records. Uses private parts of aiokafka, each with a test.

Kafka takes any bytes as a header's name, and aiokafka raises in the middle of a fetch for a name that is no
UTF-8: one hostile record would stop its partition for good. Here such names are escaped instead. And what a
batch unpacks to has a limit: the records of a larger one come without key, value and headers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from streams.upstream.checksums import crc32c
from streams.upstream.corrupt_batches import HEADER
from streams.upstream.unpacking import UnpackedTooLargeError, unpack

#: Bytes that a batch may unpack to, unless told: far more than any batch of Tocsin's own topics.
MOST_UNPACKED = 64 * 2**20

_LENGTH_AT = 8
_LENGTH = struct.Struct(">i")
_OVERHEAD = 12
#: What the length of a batch says at least, of any version.
_LEAST_LENGTH = 14
_MAGIC_AT = 16
_MAGIC = 2
_CHECKSUM = struct.Struct(">I")
_CHECKSUM_AT = 17
#: From here on the checksum covers a batch.
_ATTRIBUTES_AT = 21
_CODEC_MASK = 7
#: Bytes before the records, and of the offset in the beginning.
_HEADER = HEADER.size
_OFFSET = 8


def install_lenient_records(limit: int = MOST_UNPACKED) -> None:
    """Let all consumers of this process read records with any header names; may be called again.

    Args:
        limit: bytes that a batch may unpack to.
    """
    _Batch.limit = limit
    aiokafka.consumer.fetcher.MemoryRecords = LenientRecords


@dataclass(slots=True, frozen=True)
class _Oversized:
    """Stands for a record of a batch that unpacks to more than the limit: its place is known."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: None = None
    value: None = None
    headers: tuple[()] = ()
    checksum: None = None


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
        """Whether there is another whole batch, or one whose length cannot be right."""
        return self._fast.has_next() or self._is_cut()

    def next_batch(self) -> Any:
        """The next batch, or None."""
        start = self._position
        if not self._fast.has_next():
            if not self._is_cut():
                return None
            self._position = len(self._data)
            return _CutBatch(self._data, start, self._position)
        (length,) = _LENGTH.unpack_from(self._data, start + _LENGTH_AT)
        if length < _LEAST_LENGTH:  # nobody can tell where the next one begins
            self.give_up()
            return _CutBatch(self._data, start, self._position)
        (epoch,) = _LENGTH.unpack_from(self._data, start + _OVERHEAD)
        self._position = start + _OVERHEAD + length
        if self._data[start + _MAGIC_AT] != _MAGIC:
            epoch = -1  # something else lies there
        try:
            batch = self._fast.next_batch()
        except Exception:  # noqa: BLE001 - what is no batch raises anything
            self._fast = MemoryRecords(self._data[self._position :])
            return _CutBatch(self._data, start, self._position)
        return _Batch(batch, self._data, start, self._position, epoch)

    def give_up(self) -> None:
        """Have no further batch: the length of the last one may be wrong."""
        self._fast = MemoryRecords(b"")
        self._position = len(self._data)

    def _is_cut(self) -> bool:
        """Whether the first batch is longer than all that came: brokers send the first one as a whole."""
        return self._position == 0 and len(self._data) >= _HEADER


class _Batch:
    """A batch that is read by the fast parser up to a bad header name, and then by the slow one."""

    limit = MOST_UNPACKED

    def __init__(self, fast: Any, data: bytes, start: int, end: int, leader_epoch: int) -> None:
        self._fast = fast
        #: Of the broker that wrote it to the log; -1 where it is not known.
        self.leader_epoch = leader_epoch
        self._data, self._start, self._end = data, start, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def __next__(self) -> Any:
        return next(self._fast)

    def header(self) -> tuple[int, ...] | None:
        """All that is said before the records; None where that is of another version."""
        if self._end - self._start < _HEADER or self._data[self._start + _MAGIC_AT] != _MAGIC:
            return None
        return HEADER.unpack_from(self._data, self._start)

    def validate_crc(self) -> bool:
        """Whether it is as it was written; of old versions the fast parser knows."""
        if self._data[self._start + _MAGIC_AT] != _MAGIC:
            return bool(self._fast.validate_crc())
        (stated,) = _CHECKSUM.unpack_from(self._data, self._start + _CHECKSUM_AT)
        return bool(stated == crc32c(self._data[self._start + _ATTRIBUTES_AT : self._end]))

    @property
    def following(self) -> int | None:
        """The offset that lies where the next batch begins; None where nothing came of that."""
        if self._end + _OFFSET > len(self._data):
            return None
        (offset,) = struct.unpack_from(">q", self._data, self._end)
        return int(offset)

    def __iter__(self) -> Iterator[Any]:
        fast = self._fast
        try:
            records, _ = self.parsed(self.limit)
        except UnpackedTooLargeError:
            # Brokers see to it that the offsets of a batch have no hole. Of the times only the last is known.
            for offset in range(fast.base_offset, fast.next_offset):
                yield _Oversized(offset, fast.max_timestamp, fast.timestamp_type)
            return
        count = 0
        try:
            for record in records:
                yield record
                count += 1
        except UnicodeDecodeError:
            yield from self.leniently(count)

    def parsed(self, most: int) -> tuple[Iterator[Any], int]:
        """The fast parser's records, and the bytes that were unpacked for them.

        A bad header name raises UnicodeDecodeError.

        Args:
            most: bytes that the batch may unpack to.

        Raises:
            UnpackedTooLargeError: it unpacks to more.
            Exception: it cannot be unpacked.
        """
        fast, unpacked = self._fast, 0
        if self._data[self._start + _MAGIC_AT] == _MAGIC and fast.compression_type:
            header = bytearray(self._data[self._start : self._start + _HEADER])
            records = unpack(fast.compression_type, self._data[self._start + _HEADER : self._end], most)
            unpacked = len(records)
            struct.pack_into(">i", header, _LENGTH_AT, _HEADER - _OVERHEAD + unpacked)
            (attributes,) = struct.unpack_from(">h", header, _ATTRIBUTES_AT)
            struct.pack_into(">h", header, _ATTRIBUTES_AT, attributes & ~_CODEC_MASK)
            fast = MemoryRecords(b"".join((header, records))).next_batch()
        return islice(fast, None), unpacked  # which, unlike the batch, can be iterated over in parts

    def leniently(self, first: int) -> Iterator[Any]:
        """The records from number ``first`` on, by the slow parser, with any header names."""
        return islice(_read_leniently(self._data[self._start : self._end]), first, None)


class _CutBatch(_Batch):
    """A batch that is no batch: its length or version is wrong. Nothing of it is believed but its header."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        super().__init__(None, data, start, end, -1)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    @property
    def base_offset(self) -> int:
        """As its place says."""
        (offset,) = struct.unpack_from(">q", self._data, self._start)
        return int(offset)

    @property
    def next_offset(self) -> int:
        """Not known."""
        return self.base_offset

    def validate_crc(self) -> bool:
        """It is wrong, or of something else."""
        return False

    def parsed(self, most: int) -> tuple[Iterator[Any], int]:  # noqa: ARG002
        """There are no records.

        Raises:
            CorruptRecordException: always.
        """
        raise CorruptRecordException("a batch of a wrong length or version")


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
