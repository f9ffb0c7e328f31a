"""Rows of counts: their names, their bytes, and which version of a row holds. Pure.

Each writer has a key of its own for a row, and the version as of the highest offset holds: see
``docs/exact-counts.md``. What rows say is in ``tables.row_bodies``.

A row that is larger than one record may be is written in *parts*, and last the record of its key, which names
them. Parts are never overwritten: the next version has parts of its own. So a row is either there as it was,
or as it was written, whenever a writer stops between two records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

#: Most bytes of the value of a record, in the tables and on the topics of counts; far below what topics take.
LARGEST_BYTES: Final = 2 * 2**20
_OFFSET_BYTES = 8
#: Before the number of parts and how the version is numbered; a row in one record has JSON there.
_PARTS_MARK = b"\0"
_PART_MARK = b"+"
_WRITER_MARK = b"@"

#: A change to a table: key, and value or None to delete.
Change = tuple[bytes, bytes | None]


class PartitionStore(Protocol):
    """The local copy of one partition of a table."""

    def scan(self, start: bytes, end: bytes) -> Iterable[tuple[bytes, bytes]]:
        """Keys and values with ``start <= key < end``, in order. Raises when the store is damaged."""


Body = TypeVar("Body")
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Version(Generic[Body]):
    """A row as one writer wrote it."""

    key: bytes
    offset: int
    body: Body


@dataclass(slots=True)
class LoadedRow(Generic[Body]):
    """The version of a row that holds."""

    offset: int
    body: Body
    #: Keys of all versions that the store holds, and of their parts.
    keys: list[bytes] = field(default_factory=list)


def bucket_name(owner: str, resolution_s: int, bucket: int) -> bytes:
    """Name of the row of one bucket; names sort by owner, resolution and time."""
    return b"r/%s/%04d/%012d" % (owner.encode(), resolution_s, bucket)


def bucket_in(key: bytes) -> int:
    """Start of the bucket that a key of a bucket's row names."""
    return int(key.split(b"/")[3].partition(_WRITER_MARK)[0])


def base_name(owner: str) -> bytes:
    """Name of the row that holds what outlives buckets: the totals."""
    return b"b/%s" % owner.encode()


def _offset(entry: tuple[bytes, bytes]) -> int:
    return int.from_bytes(entry[1][:_OFFSET_BYTES], "big", signed=True)


def is_part(key: bytes) -> bool:
    """Whether a key is that of a part of a row that is larger than one record."""
    return _PART_MARK in key and _PART_MARK in key.rpartition(_WRITER_MARK)[2]


class VersionedRows:
    """Rows of one table partition as one writer sees and writes them.

    Whoever loads a row passes the function that reads its body, one of ``tables.row_bodies``.
    """

    def __init__(self, store: PartitionStore, writer: str, *, largest_bytes: int = LARGEST_BYTES) -> None:
        self._store = store
        self._suffix = _WRITER_MARK + writer.encode()
        self._largest_bytes = largest_bytes
        #: Name of a row -> keys of the parts that this writer wrote last.
        self._parts: dict[bytes, list[bytes]] = {}
        self._superseded: list[bytes] = []
        #: Of the versions in parts, so that no two have the same keys.
        self._number = 0

    def load(self, name: bytes, read: Callable[[Any], Body]) -> LoadedRow[Body] | None:
        """Return the version of ``name`` with the highest offset, or None when there is none."""
        found = self._scan(name)
        if not found:
            return None
        if any(is_part(key) for key, _ in found):
            values = dict(found)
            for each in self._heads(found):
                if (whole := self._body(each, values)) is not None:
                    return LoadedRow(_offset(each), read(whole), [key for key, _ in found])
            # Of a writer that stopped in the middle: nothing that it wrote was sent on.
            return None
        key, value = max(found, key=_offset)
        if value.startswith(_PARTS_MARK, _OFFSET_BYTES):
            return None  # its parts are gone: another writer has superseded them
        body = read(memoryview(value)[_OFFSET_BYTES:])
        return LoadedRow(_offset((key, value)), body, [key for key, _ in found])

    def versions(self, name: bytes, read: Callable[[Any], Body]) -> list[Version[Body]]:
        """Return all versions of ``name``, the one with the highest offset first."""
        found = self._scan(name)
        values = dict(found)
        versions = []
        for each in self._heads(found):
            body = self._body(each, values)
            if body is not None:
                versions.append(Version(each[0], _offset(each), read(body)))
        return versions

    def keys(self, name: bytes) -> list[bytes]:
        """Keys of all versions of ``name``, and of their parts, also of those that are not whole."""
        return [key for key, _ in self._scan(name)]

    def _heads(self, found: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Without parts, the one with the highest offset first."""
        return sorted((each for each in found if not is_part(each[0])), key=_offset, reverse=True)

    def _body(self, head: tuple[bytes, bytes], values: Mapping[bytes, bytes]) -> bytes | memoryview | None:
        """The JSON of a version; None where parts are missing."""
        value = head[1]
        if not value.startswith(_PARTS_MARK, _OFFSET_BYTES):
            return memoryview(value)[_OFFSET_BYTES:]
        keys = _part_keys(head[0], *_numbers_in(value))
        if not all(key in values for key in keys):
            return None
        return b"".join(map(values.__getitem__, keys))

    def _scan(self, name: bytes) -> list[tuple[bytes, bytes]]:
        return list(self._store.scan(name + _WRITER_MARK, name + b"A"))  # "A" follows "@"

    def encode(self, name: bytes, offset: int, body: object) -> tuple[bytes, bytes]:
        """Key and value that write ``body`` as of ``offset`` under this writer's own key."""
        return name + self._suffix, offset.to_bytes(_OFFSET_BYTES, "big", signed=True) + _encode(body)

    def changes(self, name: bytes, offset: int, body: object) -> list[Change]:
        """What to write, in this order, so that ``body`` is there as of ``offset``; no record is too large.

        What it supersedes of this writer's own is to be deleted when all is durable: ``take_superseded``.
        """
        key, value = self.encode(name, offset, body)
        if name in self._parts:
            self._superseded += self._parts.pop(name)
        size = self._largest_bytes
        if len(value) <= size:
            return [(key, value)]
        self._number += 1
        pieces = [value[start : start + size] for start in range(_OFFSET_BYTES, len(value), size)]
        keys = self._parts[name] = _part_keys(key, self._number, len(pieces))
        head = value[:_OFFSET_BYTES] + _PARTS_MARK + b"%d %d" % (self._number, len(pieces))
        return [*zip(keys, pieces, strict=True), (key, head)]

    def take_superseded(self) -> list[bytes]:
        """Keys of parts of this writer that later versions took the place of; they are then forgotten."""
        taken, self._superseded = self._superseded, []
        return taken

    def expired(self, owner: str, resolution_s: int, before: int, limit: int) -> list[bytes]:
        """At most ``limit`` keys, to be deleted, of the owner's buckets that start before ``before``."""
        keys = []
        for key, _ in self._store.scan(
            b"r/%s/%04d/" % (owner.encode(), resolution_s), bucket_name(owner, resolution_s, max(before, 0))
        ):
            keys.append(key)
            self._parts.pop(key.rpartition(_WRITER_MARK)[0], None)
            if len(keys) >= limit:
                break
        return keys

    def others(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those of ``keys`` that other writers wrote: superseded once this writer's row is durable."""
        own_part = self._suffix + _PART_MARK
        return [key for key in keys if not key.endswith(self._suffix) and own_part not in key]


def _part_keys(key: bytes, number: int, parts: int) -> list[bytes]:
    return [b"%s%s%d/%06d" % (key, _PART_MARK, number, part) for part in range(parts)]


def _numbers_in(head: bytes) -> tuple[int, int]:
    """How the version is numbered, and how many parts it has."""
    number, parts = head[_OFFSET_BYTES + 1 :].split()
    return int(number), int(parts)
