"""Unpacking a compressed batch of records without giving it more memory than a limit. Pure.

A few kilobytes unpack to hundreds of megabytes of zeros, which passes every limit of a broker whose topic
keeps batches as publishers made them. aiokafka unpacks such a batch as a whole, whatever it takes.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import cramjam
from aiokafka.codec import _detect_xerial_stream, snappy_decode

_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_ZLIB_GZIP: Final = 31
#: How cramjam says that what it was given to write into is too small.
_TOO_SMALL: Final = "failed to write whole buffer"
_LEAST_BUFFER: Final = 2**16
#: Most batches of JSON unpack to less than so many times their size.
_USUAL_RATIO: Final = 12
_XERIAL_HEADER: Final = 16
#: Bytes that a batch of notifications may unpack to, at least; publishers send far fewer together.
LEAST_LIMIT: Final = 8 * 2**20


def limit_for(largest: int) -> int:
    """Bytes that a batch may unpack to whose largest wanted record has ``largest`` bytes."""
    return max(LEAST_LIMIT, 2 * largest)


class UnpackedTooLargeError(Exception):
    """A batch unpacks to more than the limit."""

    def __init__(self, most: int) -> None:
        super().__init__(f"its batch unpacks to more than {most:,} bytes")


def unpack(codec: int, data: bytes, most: int) -> bytes | bytearray | memoryview:
    """Unpack the records of a batch.

    Args:
        codec: Kafka's number of the compression.
        data: what lies behind the header of the batch.
        most: bytes that it may unpack to.

    Raises:
        UnpackedTooLargeError: it unpacks to more.
        Exception: it cannot be unpacked at all.
    """
    if codec == _GZIP:
        return _gunzip(data, most)
    if codec == _SNAPPY:
        if _snappy_length(data) > most:
            raise UnpackedTooLargeError(most)
        unpacked: bytes = snappy_decode(data)
        return unpacked
    if codec in {_LZ4, _ZSTD}:
        return _unpack_into(cramjam.lz4 if codec == _LZ4 else cramjam.zstd, data, most)
    raise ValueError(f"no compression has the number {codec}")


def _gunzip(data: bytes, most: int) -> bytes:
    parts, left = [], most
    while data:
        unpacker = zlib.decompressobj(_ZLIB_GZIP)
        part = unpacker.decompress(data, left + 1)
        if len(part) > left:
            raise UnpackedTooLargeError(most)
        if not unpacker.eof:
            raise ValueError("the gzip stream ends too early")
        parts.append(part)
        left -= len(part)
        data = unpacker.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _snappy_length(data: bytes) -> int:
    """What snappy says of the length before it unpacks, and takes memory for."""
    if not _detect_xerial_stream(data):
        return _varint(data, 0)
    total, at = 0, _XERIAL_HEADER
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at)
        if length <= 0:
            raise ValueError(f"a snappy block has the length {length}")
        total += _varint(data, at + 4)
        at += 4 + length
    return total


def _varint(data: bytes, at: int) -> int:
    found = shift = 0
    while True:
        byte = data[at]
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found
        at, shift = at + 1, shift + 7


def _unpack_into(codec: Any, data: bytes, most: int) -> memoryview:
    size = min(most, max(_LEAST_BUFFER, _USUAL_RATIO * len(data)))
    while True:
        buffer = bytearray(size)
        try:
            return memoryview(buffer)[: codec.decompress_into(data, buffer)]
        except cramjam.DecompressionError as error:
            if _TOO_SMALL not in str(error):
                raise
            if size == most:
                raise UnpackedTooLargeError(most) from None
        size = most
