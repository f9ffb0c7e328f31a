"""The form of an archive file: gzip members in a row, each of whole lines, and each durable by itself.

Every reader of gzip reads such a file. The header of a member says beside that how long it is, by which the
next one is found behind one that is damaged.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_DEFLATE_ONLY: Final = -15
_GZIP: Final = 31
_LEVEL: Final = 4
#: Magic, deflate, an extra field, no time, no hint, any system; the extra field: 8 bytes, of which TN has 4.
_MARK: Final = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H2sH", 8, b"TN", 4)
_LENGTH: Final = struct.Struct("<I")
_TRAILER: Final = struct.Struct("<II")
#: What a file begins with that is gzip at all.
MAGIC: Final = b"\x1f\x8b"

_READ_BYTES: Final = 2**16
#: Bytes of a member that are held back until its checksum has been seen; a larger one is no member of ours.
_MOST_HELD: Final = 64 * 2**20


def pack(lines: bytes | bytearray) -> bytes:
    """A member that holds some whole lines."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _DEFLATE_ONLY)
    packed = packer.compress(lines) + packer.flush()
    length = len(_MARK) + _LENGTH.size + len(packed) + _TRAILER.size
    trailer = _TRAILER.pack(zlib.crc32(lines), len(lines) & 0xFFFFFFFF)
    return b"".join((_MARK, _LENGTH.pack(length), packed, trailer))


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes that are no whole member.

    Attributes:
        offset: of the first one.
        end: of the next whole member; None when there is none, as where a crash has torn the end.
    """

    offset: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Content:
    """What members hold, in order.

    Attributes:
        data: unpacked; lines may go on in the next one, where they are of one member that is very large.
        end: offset after the member that it is of; None while that goes on.
    """

    data: bytes
    end: int | None


def read_members(descriptor: int) -> Iterator[Content | Fault]:
    """What a file holds, up to its end as it is met.

    Args:
        descriptor: of the file, whose position is not used.

    Raises:
        OSError: the file cannot be read.
    """
    at = 0
    while os.pread(descriptor, 1, at):
        end = at
        for part in _member(descriptor, at):
            if part is None:
                end = _next_mark(descriptor, at + 1)
                yield Fault(at, None if end < 0 else end)
                if end < 0:
                    return
                break
            yield part
            end = part.end if part.end is not None else end
        at = end


def whole_end(descriptor: int) -> tuple[int, bool]:
    """Where the whole members of a file end, and whether nothing before that is damaged."""
    end, sound = 0, True
    for part in read_members(descriptor):
        if isinstance(part, Content):
            end = part.end if part.end is not None else end
        elif part.end is not None:
            sound = False
    return end, sound


def _member(descriptor: int, at: int) -> Iterator[Content | None]:
    """What the member at an offset holds; None, as the last, when it is not whole."""
    unpacker = zlib.decompressobj(_GZIP)
    held: list[bytes] = []
    size = 0
    while not unpacker.eof:
        read = os.pread(descriptor, _READ_BYTES, at)
        if not read:
            yield None
            return
        try:
            found = unpacker.decompress(read, _MOST_HELD)
            while found or unpacker.unconsumed_tail:
                held.append(found)
                size += len(found)
                if size >= _MOST_HELD:
                    yield Content(b"".join(held), None)
                    held, size = [], 0
                tail = unpacker.unconsumed_tail
                found = unpacker.decompress(tail, _MOST_HELD) if tail else b""
        except zlib.error:
            yield None
            return
        at += len(read)
    yield Content(b"".join(held), at - len(unpacker.unused_data))


def _next_mark(descriptor: int, at: int) -> int:
    """Offset of the next whole member of ours; -1 when there is none."""
    before = b""
    while read := os.pread(descriptor, _READ_BYTES, at):
        window, start = before + read, at - len(before)
        found = window.find(_MARK)
        while found >= 0:
            if _is_whole(descriptor, start + found):
                return start + found
            found = window.find(_MARK, found + 1)
        before = window[1 - len(_MARK) :]
        at += len(read)
    return -1


def _is_whole(descriptor: int, at: int) -> bool:
    return all(part is not None for part in _member(descriptor, at))
