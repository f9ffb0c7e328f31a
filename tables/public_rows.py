"""Rows of the public compacted topic ``event-counts``: keys and values. Pure.

Keys are ``<PRIORITY>/<resolution in seconds>/<bucket start>/<slice>`` and ``<PRIORITY>/total/<slice>``,
where a slice is a partition of the topic and holds some of the event types. A null value means that
the bucket is no longer kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from tables.row_bodies import Counts, TypeTotal


@dataclass(slots=True, frozen=True)
class PublicKey:
    """Which counts a row holds; ``resolution_s`` and ``bucket`` are None for totals."""

    priority: str
    resolution_s: int | None
    bucket: int | None
    slice: int


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


class PublicBody(msgspec.Struct):
    """What is read of a value beside what its key says; as in ``PublicRow``."""

    offset: int
    counts: Counts | None = None
    totals: dict[str, TypeTotal] | None = None


_encode_value = msgspec.json.Encoder().encode
_decode_body = msgspec.json.Decoder(PublicBody).decode


def encode_key(priority: str, resolution_s: int | None, bucket: int | None, partition: int) -> bytes:
    """Key of a row."""
    if resolution_s is None:
        return f"{priority}/total/{partition}".encode()
    return f"{priority}/{resolution_s}/{bucket}/{partition}".encode()


def decode_key(key: bytes) -> PublicKey:
    """What a key names.

    Raises:
        ValueError: it is not such a key.
    """
    parts = key.decode().split("/")
    if len(parts) == 3 and parts[1] == "total":
        return PublicKey(parts[0], None, None, int(parts[2]))
    priority, resolution, bucket, partition = parts
    return PublicKey(priority, int(resolution), int(bucket), int(partition))


def encode_value(row: PublicRow, as_of_ms: int) -> bytes:
    """Value of a row: JSON for readers in any language."""
    return _encode_value(
        _Value(row.priority, row.offset, as_of_ms, row.resolution_s, row.bucket, row.counts, row.totals)
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
