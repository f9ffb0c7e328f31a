"""Rows of counts: their names, their bytes, and which version of a row holds. Pure.

Each writer has a key of its own for a row, and the version as of the highest offset holds: see
``docs/exact-counts.md``. What rows say is in ``tables.row_bodies``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec

_OFFSET_BYTES = 8
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
    #: Keys of all versions that the store holds.
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


def _body_of(value: bytes) -> memoryview:
    return memoryview(value)[_OFFSET_BYTES:]


class VersionedRows:
    """Rows of one table partition as one writer sees and writes them.

    Whoever loads a row passes the function that reads its body, one of ``tables.row_bodies``.
    """

    def __init__(self, store: PartitionStore, writer: str) -> None:
        self._store = store
        self._suffix = _WRITER_MARK + writer.encode()

    def load(self, name: bytes, read: Callable[[Any], Body]) -> LoadedRow[Body] | None:
        """Return the version of ``name`` with the highest offset, or None when there is none."""
        found = self._scan(name)
        if not found:
            return None
        key, value = max(found, key=_offset)
        return LoadedRow(_offset((key, value)), read(_body_of(value)), [key for key, _ in found])

    def versions(self, name: bytes, read: Callable[[Any], Body]) -> list[Version[Body]]:
        """Return all versions of ``name``, the one with the highest offset first."""
        found = sorted(self._scan(name), key=_offset, reverse=True)
        return [Version(key, _offset((key, value)), read(_body_of(value))) for key, value in found]

    def _scan(self, name: bytes) -> list[tuple[bytes, bytes]]:
        return list(self._store.scan(name + _WRITER_MARK, name + b"A"))  # "A" follows "@"

    def encode(self, name: bytes, offset: int, body: object) -> tuple[bytes, bytes]:
        """Key and value that write ``body`` as of ``offset`` under this writer's own key."""
        return name + self._suffix, offset.to_bytes(_OFFSET_BYTES, "big", signed=True) + _encode(body)

    def expired(self, owner: str, resolution_s: int, before: int, limit: int) -> list[bytes]:
        """At most ``limit`` keys of the owner's buckets of ``resolution_s`` that start before ``before``."""
        keys = []
        for key, _ in self._store.scan(
            b"r/%s/%04d/" % (owner.encode(), resolution_s), bucket_name(owner, resolution_s, max(before, 0))
        ):
            keys.append(key)
            if len(keys) >= limit:
                break
        return keys

    def others(self, keys: Sequence[bytes]) -> list[bytes]:
        """Those of ``keys`` that other writers wrote: superseded once this writer's row is durable."""
        return [key for key in keys if not key.endswith(self._suffix)]
