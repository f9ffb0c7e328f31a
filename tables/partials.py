"""Messages from ingest to combiners: cumulative counts of sources, cut by the slice of event types. Pure."""

from __future__ import annotations

import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from tables.again import VERSION
from tables.flushes import Emission
from tables.row_bodies import Counts, ForgottenTotal, TypeTotal, epoch_name
from tables.rows import LARGEST_BYTES
from tables.type_cap import json_bytes

#: Most bytes of an entry's numbers; of what is around the entries of a bucket; and around a part.
_NUMBER_BYTES: Final = 50
_BUCKET_BYTES: Final = 60
_PART_BYTES: Final = 200
#: Bytes of an entry whose name is plain.
_TYPICAL_BYTES: Final = 70
#: Event types whose slice is remembered, about, and most of their bytes.
_MOST_REMEMBERED: Final = 100_000
_MOST_REMEMBERED_BYTES: Final = 16 * 2**20


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


class LaterPartial(Partial):
    """A partial of a source that has forgotten event types; any partial can be read as one.

    Attributes:
        forgotten: how often it had.
        gone: those that it forgot when it had done so so often: event type -> total.
    """

    forgotten: int = 0
    gone: dict[str, ForgottenTotal] | None = None


class _Message(msgspec.Struct):
    v: Literal[1]  # as in ``tables.again``
    parts: list[LaterPartial]


class _Written(msgspec.Struct):
    v: Literal[1]
    parts: list[Partial]


_encode_message = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(_Message).decode


class _Slices(dict[str, int]):
    """Event type -> partition; remembers the latest event types."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._bytes = 0

    def __missing__(self, event_type: str) -> int:
        if len(self) > _MOST_REMEMBERED or self._bytes > _MOST_REMEMBERED_BYTES:
            self.clear()
            self._bytes = 0
        self._bytes += sys.getsizeof(event_type)
        found = self[event_type] = zlib.crc32(event_type.encode("utf-8", "surrogatepass")) % self._partitions
        return found


def make_slicer(partitions: int) -> Callable[[str], int]:
    """A function from event type to the partition whose combiner owns it; remembers the latest types."""
    return _Slices(partitions).__getitem__


def cut(priority: str, source: str, emission: Emission, slice_of: Callable[[str], int]) -> dict[int, Partial]:
    """Cut what one source sends out into one part per combiner."""
    parts: defaultdict[int, Partial] = defaultdict(lambda: _empty(priority, source, emission.forgotten))
    for (resolution, bucket), counts in emission.buckets.items():
        by_slice: defaultdict[int, Counts] = defaultdict(dict)
        for event_type, count in counts.items():
            by_slice[slice_of(event_type)][event_type] = count
        for partition, sliced in by_slice.items():
            parts[partition].buckets.append(BucketCounts(resolution, bucket, sliced))
    for event_type, total in emission.totals.items():
        if event_type not in emission.epochs:
            parts[slice_of(event_type)].totals[event_type] = total
    return parts


def cut_forgetting(
    priority: str, source: str, emission: Emission, slice_of: Callable[[str], int]
) -> Iterator[tuple[int, Partial]]:
    """What remains to be said of a source that forgets event types, after what `cut` cut.

    Yields:
        Slice and part: totals of event types that came to be named later, under the name of their epoch, for
        combiners of any version; then, for each time that some were forgotten, their last totals, which may
        never have been sent, and that they are forgotten, in a part of its own.
    """
    later: dict[tuple[int, int], Partial] = {}
    for event_type, total in emission.totals.items():
        if (epoch := emission.epochs.get(event_type, 0)) != 0:
            key = slice_of(event_type), epoch
            if key not in later:
                later[key] = _empty(priority, epoch_name(source, epoch), emission.forgotten)
            later[key].totals[event_type] = total
    for (partition, _), part in later.items():
        yield partition, part
    for forgotten, totals in sorted(emission.gone.items()):
        gone: defaultdict[int, dict[str, ForgottenTotal]] = defaultdict(dict)
        last_totals: dict[tuple[int, int], Partial] = {}
        for event_type, last in totals.items():
            gone[slice_of(event_type)][event_type] = last
            name = slice_of(event_type), last.epoch
            if name not in last_totals:
                last_totals[name] = _empty(priority, epoch_name(source, last.epoch), forgotten - 1)
            last_totals[name].totals[event_type] = TypeTotal(last.total, last.last_seen_ms)
        for (partition, _), part in last_totals.items():
            yield partition, part
        for partition, some in gone.items():
            yield partition, LaterPartial(priority, source, [], {}, forgotten, some)


def _empty(priority: str, source: str, forgotten: int) -> Partial:
    return (
        LaterPartial(priority, source, [], {}, forgotten) if forgotten else Partial(priority, source, [], {})
    )


def encode(parts: Iterable[Partial], largest_bytes: int = LARGEST_BYTES) -> list[bytes]:
    """Messages that hold ``parts``, none larger than ``largest_bytes``; a part may lie in several of them."""
    messages: list[bytes] = []
    batch: list[Partial] = []
    size = 0
    for part in parts:
        more = _bytes_of(part)
        if size + more > largest_bytes and batch:
            messages += _messages(batch, largest_bytes)
            batch, size = [], 0
        batch.append(part)
        size += more
    if batch:
        messages += _messages(batch, largest_bytes)
    return messages


def _bytes_of(part: Partial) -> int:
    """About how large a part is, where names are plain; `_messages` looks how large it is."""
    entries = len(part.totals) + sum(len(each.counts) for each in part.buckets)
    return _PART_BYTES + _BUCKET_BYTES * len(part.buckets) + _TYPICAL_BYTES * entries


def _messages(batch: list[Partial], largest_bytes: int) -> Iterator[bytes]:
    message = _encode_message(_Written(VERSION, batch))
    if len(message) <= largest_bytes:
        yield message
    elif len(batch) > 1:
        # Each by itself, in order.
        for part in batch:
            yield from _messages([part], largest_bytes)
    elif isinstance(batch[0], LaterPartial) and batch[0].gone is not None:
        yield message  # said at once, or not at all; what is forgotten at once has a bound of its own
    else:
        for part in _pieces(batch[0], largest_bytes):
            yield _encode_message(_Written(VERSION, [part]))


def _pieces(part: Partial, largest_bytes: int) -> Iterator[Partial]:
    """A part in pieces that are small enough; each says less, and together they say the same."""
    forgotten = part.forgotten if isinstance(part, LaterPartial) else 0
    piece = _empty(part.priority, part.source, forgotten)
    size = _PART_BYTES
    for bucket in [*part.buckets, None]:
        entries: Mapping[str, Any] = part.totals if bucket is None else bucket.counts
        held: dict[str, Any] | None = None
        for name, entry in entries.items():
            more = json_bytes(name) + _NUMBER_BYTES
            if size + more + _BUCKET_BYTES > largest_bytes and size > _PART_BYTES:
                yield piece
                piece, size, held = _empty(part.priority, part.source, forgotten), _PART_BYTES, None
            if held is None:
                if bucket is None:
                    held = piece.totals
                else:
                    held = {}
                    piece.buckets.append(BucketCounts(bucket.resolution_s, bucket.bucket, held))
                    size += _BUCKET_BYTES
            held[name] = entry
            size += more
    yield piece


def decode(message: bytes) -> list[LaterPartial]:
    """The parts in a message.

    Raises:
        ValueError: it is not such a message.
    """
    try:
        return _decode_message(message).parts
    except msgspec.DecodeError as error:
        raise ValueError(f"not a message of partial counts of version 1: {error}") from None
