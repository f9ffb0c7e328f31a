"""Messages from ingest to combiners: cumulative counts of sources, cut by the slice of event types. Pure."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tables.flushes import Emission

#: Most entries of a message, so that it stays far below what a topic takes.
_MAX_ENTRIES: Final = 20_000
#: Event types whose slice is remembered, about.
_MOST_REMEMBERED: Final = 100_000


@dataclass(slots=True)
class Partial:
    """Counts of one source for one combiner."""

    priority: str
    source: str
    #: (resolution, bucket, event type -> count)
    buckets: list[tuple[int, int, dict[str, int]]]
    #: event type -> total, last seen (ms)
    totals: dict[str, Sequence[int]]


class _Slices(dict[str, int]):
    """Event type -> partition; remembers the latest event types."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def __missing__(self, event_type: str) -> int:
        if len(self) > _MOST_REMEMBERED:
            self.clear()
        found = self[event_type] = zlib.crc32(event_type.encode("utf-8", "surrogatepass")) % self._partitions
        return found


def make_slicer(partitions: int) -> Callable[[str], int]:
    """A function from event type to the partition whose combiner owns it; remembers the latest types."""
    return _Slices(partitions).__getitem__


def cut(priority: str, source: str, emission: Emission, slice_of: Callable[[str], int]) -> dict[int, Partial]:
    """Cut what one source sends out into one part per combiner."""
    parts: defaultdict[int, Partial] = defaultdict(lambda: Partial(priority, source, [], {}))
    for (resolution, bucket), counts in emission.buckets.items():
        by_slice: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for event_type, count in counts.items():
            by_slice[slice_of(event_type)][event_type] = count
        for partition, sliced in by_slice.items():
            parts[partition].buckets.append((resolution, bucket, sliced))
    for event_type, total in emission.totals.items():
        parts[slice_of(event_type)].totals[event_type] = total
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
