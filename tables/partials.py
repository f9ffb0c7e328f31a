"""Messages from ingest to combiners: cumulative counts of sources, cut by the slice of event types. Pure."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from tables.flushes import Emission
from tables.row_bodies import Counts, TypeTotal

#: Most entries of a message, so that it stays far below what a topic takes.
_MAX_ENTRIES: Final = 20_000
#: Event types whose slice is remembered, about.
_MOST_REMEMBERED: Final = 100_000


class BucketCounts(msgspec.Struct, array_like=True):
    """Counts of one bucket: ``resolution_s`` and start in seconds, and event type -> count."""

    resolution_s: int
    bucket: int
    counts: Counts


class Partial(msgspec.Struct, array_like=True):
    """Counts of one source for one combiner.

    Attributes:
        priority: of the source's topic.
        source: its name.
        buckets: those that changed.
        totals: event type -> total, of those that changed.
    """

    priority: str
    source: str
    buckets: list[BucketCounts]
    totals: dict[str, TypeTotal]


class _Message(msgspec.Struct):
    v: Literal[1]
    parts: list[Partial]


_encode_message = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(_Message).decode


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
        by_slice: defaultdict[int, Counts] = defaultdict(dict)
        for event_type, count in counts.items():
            by_slice[slice_of(event_type)][event_type] = count
        for partition, sliced in by_slice.items():
            parts[partition].buckets.append(BucketCounts(resolution, bucket, sliced))
    for event_type, total in emission.totals.items():
        parts[slice_of(event_type)].totals[event_type] = total
    return parts


def encode(parts: Iterable[Partial]) -> list[bytes]:
    """Messages that hold ``parts``; a large list of parts becomes several messages."""
    messages = []
    batch: list[Partial] = []
    entries = 0
    for part in parts:
        batch.append(part)
        entries += len(part.totals) + sum(len(each.counts) for each in part.buckets)
        if entries >= _MAX_ENTRIES:
            messages.append(_encode_message(_Message(1, batch)))
            batch, entries = [], 0
    if batch:
        messages.append(_encode_message(_Message(1, batch)))
    return messages


def decode(message: bytes) -> list[Partial]:
    """The parts in a message.

    Raises:
        ValueError: it is not such a message.
    """
    try:
        return _decode_message(message).parts
    except msgspec.DecodeError as error:
        raise ValueError(f"not a message of partial counts of version 1: {error}") from None
