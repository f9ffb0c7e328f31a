"""Rows of the public compacted topic ``event-counts``: keys and values. Pure.

Keys are ``<PRIORITY>/<resolution in seconds>/<bucket start>/<slice>`` and ``<PRIORITY>/total/<slice>``,
where a slice is a partition of the topic and holds some of the event types. A null value means that
the bucket is no longer kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from tables.combined_counter import PublicRow


@dataclass(slots=True, frozen=True)
class PublicKey:
    """Which counts a row holds; ``resolution_s`` and ``bucket`` are None for totals."""

    priority: str
    resolution_s: int | None
    bucket: int | None
    slice: int


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
    body: dict[str, object] = {"priority": row.priority, "offset": row.offset, "as_of_ms": as_of_ms}
    if row.resolution_s is not None:
        body |= {"resolution_s": row.resolution_s, "bucket": row.bucket, "counts": row.counts}
    if row.totals is not None:
        body["totals"] = row.totals
    return orjson.dumps(body)
