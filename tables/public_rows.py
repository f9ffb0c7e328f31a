"""Rows of the public compacted topic ``event-counts``: keys and values. Pure.

Keys are ``<PRIORITY>/<resolution in seconds>/<bucket start>/<slice>`` and ``<PRIORITY>/total/<slice>``,
where a slice is a partition of the topic and holds some of the event types. A null value means that
the bucket is no longer kept. A row that is larger than one record may be is continued in further ones,
whose keys end in ``/1``, ``/2`` and so on: of an event type in several of them the largest count holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import msgspec

from tables.row_bodies import Counts, TypeTotal
from tables.rows import LARGEST_BYTES
from tables.type_cap import json_bytes

_MOST_SLICES: Final = 2**20
#: Most bytes of an entry's numbers, and of what is around the entries.
_NUMBER_BYTES: Final = 80
_HEAD_BYTES: Final = 300


@dataclass(slots=True, frozen=True)
class PublicKey:
    """Which counts a row holds; ``resolution_s`` and ``bucket`` are None for totals."""

    priority: str
    resolution_s: int | None
    bucket: int | None
    slice: int
    #: 0, or more in the continuation of a row that is larger than one record.
    part: int = 0

    @property
    def place(self) -> int:
        """A number that no other row of the same bucket has: the slice, for the first part."""
        return self.slice + self.part * _MOST_SLICES


@dataclass(slots=True)
class PublicRow:
    """Sums for subscribers and web views: one bucket, or the totals, of one priority and slice."""

    priority: str
    #: Seconds, or None for the totals.
    resolution_s: int | None
    #: Start in seconds, or None for the totals.
    bucket: int | None
    #: Input offset that the row is as of; a row with a lower one is older.
    offset: int
    counts: Counts | None
    #: event type -> total; None where the row does not carry totals.
    totals: dict[str, TypeTotal] | None


class _Value(msgspec.Struct, omit_defaults=True):
    """Value of a row, as written; ``as_of_ms`` is when it was combined, in milliseconds since 1970."""

    priority: str
    offset: int
    as_of_ms: int
    resolution_s: int | None = None
    bucket: int | None = None
    counts: Counts | None = None
    totals: dict[str, TypeTotal] | None = None
    app: str = ""


class PublicBody(msgspec.Struct):
    """What is read of a value beside what its key says; as in ``PublicRow``."""

    offset: int
    counts: Counts | None = None
    totals: dict[str, TypeTotal] | None = None
    #: ``TOCSIN_APP_ID`` of the writer; empty in rows of versions that did not say it.
    app: str = ""


class _Writer(msgspec.Struct):
    """The part of a value that says who wrote it."""

    app: str = ""


_encode_value = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(PublicBody).decode
_decode_writer = msgspec.json.Decoder(_Writer).decode


def encode_key(
    priority: str, resolution_s: int | None, bucket: int | None, partition: int, part: int = 0
) -> bytes:
    """Key of a row, or of a later part of one."""
    which = "total" if resolution_s is None else f"{resolution_s}/{bucket}"
    return f"{priority}/{which}/{partition}{f'/{part}' if part else ''}".encode()


def decode_key(key: bytes) -> PublicKey:
    """What a key names.

    Raises:
        ValueError: it is not such a key.
    """
    priority, resolution, *rest = key.decode().split("/")
    if resolution == "total":
        partition, *part = map(int, rest)
        bucket = None
    else:
        bucket, partition, *part = map(int, rest)
    if len(part) > 1:
        raise ValueError(f"{key!r} names more than a row")
    return PublicKey(
        priority, None if bucket is None else int(resolution), bucket, partition, part[0] if part else 0
    )


def encode_value(row: PublicRow, as_of_ms: int, app: str = "") -> bytes:
    """Value of a row of the app ``app``: JSON for readers in any language."""
    return _encode_value(
        _Value(row.priority, row.offset, as_of_ms, row.resolution_s, row.bucket, row.counts, row.totals, app)
    )


def encode_row(
    row: PublicRow, partition: int, as_of_ms: int, largest_bytes: int = LARGEST_BYTES, *, app: str = ""
) -> list[tuple[bytes, bytes]]:
    """Keys and values of a row: more than one where a value would be larger than ``largest_bytes``."""
    value = encode_value(row, as_of_ms, app)
    if len(value) <= largest_bytes:
        return [(encode_key(row.priority, row.resolution_s, row.bucket, partition), value)]
    keys = (encode_key(row.priority, row.resolution_s, row.bucket, partition, part) for part in count())
    return [
        (key, encode_value(part, as_of_ms, app))
        for key, part in zip(keys, _parts(row, largest_bytes), strict=False)
    ]


def _parts(row: PublicRow, largest_bytes: int) -> Iterator[PublicRow]:
    """Parts in the order of the event types, so that a part stays as it is while the row grows."""
    names = list(row.counts if row.counts is not None else row.totals or ())
    begin, size = 0, _HEAD_BYTES
    for index, name in enumerate(names):
        entry = 2 * json_bytes(name) + _NUMBER_BYTES  # in the counts and in the totals
        if size + entry > largest_bytes and index > begin:
            yield _part(row, names[begin:index])
            begin, size = index, _HEAD_BYTES
        size += entry
    yield _part(row, names[begin:])


def _part(row: PublicRow, names: list[str]) -> PublicRow:
    counts, totals = row.counts, row.totals
    return replace(
        row,
        counts=None if counts is None else {name: counts[name] for name in names},
        totals=None if totals is None else {name: totals[name] for name in names if name in totals},
    )


def decode_value(value: bytes) -> PublicBody:
    """What a value says.

    Raises:
        ValueError: it is not such a value.
    """
    try:
        return _decode_body(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a row of counts: {error}") from None


def app_of(value: bytes | None) -> str:
    """The app that wrote a value; empty for a null value, or one that does not say it.

    Raises:
        ValueError: it is not such a value.
    """
    if value is None:
        return ""
    try:
        return _decode_writer(value).app
    except msgspec.DecodeError as error:
        raise ValueError(f"not a row of counts: {error}") from None
