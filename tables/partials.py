"""Messages from ingest to combiners: cumulative counts of sources, cut by the slice of event types. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tables.flushes import Emission

#: Most entries of a message, so that it stays far below what a topic takes.
_MAX_ENTRIES: Final = 20_000


@dataclass(slots=True)
class Partial:
    """Counts of one source for one combiner."""

    priority: str
    source: str
    #: (resolution, bucket, event type -> count)
    buckets: list[tuple[int, int, dict[str, int]]]
    #: event type -> [total, last seen (ms)]
    totals: dict[str, list[int]]


def make_slicer(partitions: int) -> Callable[[str], int]:
    """A function from event type to the partition whose combiner owns it; remembers the latest types."""
    known: dict[str, int] = {}

    def slice_of(event_type: str) -> int:
        partition = known.get(event_type)
        if partition is None:
            if len(known) > 100_000:
                known.clear()
            partition = known[event_type] = (
                zlib.crc32(event_type.encode("utf-8", "surrogatepass")) % partitions
            )
        return partition

    return slice_of


def cut(priority: str, source: str, emission: Emission, slice_of: Callable[[str], int]) -> dict[int, Partial]:
    """Cut what one source sends out into one part per combiner."""
    parts: dict[int, Partial] = {}

    def part(partition: int) -> Partial:
        found = parts.get(partition)
        if found is None:
            found = parts[partition] = Partial(priority, source, [], {})
        return found

    for (resolution, bucket), counts in emission.buckets.items():
        by_slice: dict[int, dict[str, int]] = {}
        for event_type, count in counts.items():
            by_slice.setdefault(slice_of(event_type), {})[event_type] = count
        for partition, sliced in by_slice.items():
            part(partition).buckets.append((resolution, bucket, sliced))
    for event_type, total in emission.totals.items():
        part(slice_of(event_type)).totals[event_type] = total
    return parts


def encode(parts: Iterable[Partial]) -> list[bytes]:
    """Messages that hold ``parts``; a large list of parts becomes several messages."""
    messages = []
    batch: list[Any] = []
    entries = 0
    for part in parts:
        batch.append([part.priority, part.source, part.buckets, part.totals])
        entries += len(part.totals) + sum(len(counts) for _, _, counts in part.buckets)
        if entries >= _MAX_ENTRIES:
            messages.append(orjson.dumps({"v": 1, "parts": batch}))
            batch, entries = [], 0
    if batch:
        messages.append(orjson.dumps({"v": 1, "parts": batch}))
    return messages


def decode(message: bytes) -> list[Partial]:
    """The parts in a message.

    Raises:
        ValueError: it is not such a message.
    """
    body = orjson.loads(message)
    if not isinstance(body, dict) or body.get("v") != 1:
        raise ValueError("not a partial count message of version 1")
    return [
        Partial(priority, source, [(r, b, counts) for r, b, counts in buckets], totals)
        for priority, source, buckets, totals in body["parts"]
    ]
