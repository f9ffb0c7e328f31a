"""State as a worker leaves it after hours or weeks, made in seconds and written where a worker recovers from.

The counters are pure and are told the time, so weeks pass as fast as they compute. All that is counted is *as
of* offset 0: the first record of every source then looks like a repeat, and the rest is new.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from streams.settings import Settings
from tables.buckets import FINE, HOUR, MINUTE, retention_s
from tables.combined_counter import CombinedCounter
from tables.partials import cut, make_slicer
from tables.public_rows import encode_key, encode_value
from tables.rows import Change, VersionedRows
from tables.source_counter import SourceCounter

_WRITER = "benchmark"
_BATCH_BYTES = 2**18
#: Event types that one source counts in one bucket.
_TYPES_A_BUCKET = 5


class MemoryStore:
    """Keys and values in order; implements ``PartitionStore``."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def scan(self, start: bytes, end: bytes) -> Iterable[tuple[bytes, bytes]]:
        """Keys and values with ``start <= key < end``."""
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end)
        return [(key, self.values[key]) for key in self._keys[first:last]]

    def apply(self, changes: Iterable[Change]) -> None:
        """Take over changes of a table."""
        for key, value in changes:
            if value is not None:
                if key not in self.values:
                    insort(self._keys, key)
                self.values[key] = value
            elif key in self.values:
                del self.values[key]
                del self._keys[bisect_left(self._keys, key)]


@dataclass(slots=True)
class AgedState:
    """Rows by partition, as the changelogs of both tables and the public topic hold them."""

    partial_counts: dict[int, MemoryStore] = field(default_factory=dict)
    combined_counts: dict[int, MemoryStore] = field(default_factory=dict)
    event_counts: dict[int, MemoryStore] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of everything."""
        stores = (self.partial_counts, self.combined_counts, self.event_counts)
        return sum(len(store.values) for each in stores for store in each.values())


def moments(span_s: int, now_s: int, lateness_s: int) -> Iterator[int]:
    """Starts of fine buckets that something happens in, so that every kept bucket of the span has a row."""
    fine_from = now_s - min(span_s, retention_s(FINE, lateness_s))
    minutes_from = now_s - min(span_s, retention_s(MINUTE, lateness_s))
    yield from range((now_s - span_s) // HOUR * HOUR, minutes_from, HOUR)
    yield from range(minutes_from // MINUTE * MINUTE, fine_from, MINUTE)
    yield from range(fine_from // FINE * FINE, now_s // FINE * FINE, FINE)


def make_state(
    sources: dict[str, tuple[str, int]], *, partitions: int, event_types: list[str], span_s: int, now_s: int
) -> AgedState:
    """Count a few event types in every kept bucket of the last ``span_s`` seconds.

    Args:
        sources: name of every source -> its priority and its partition.
        partitions: of every topic.
        event_types: names to choose from.
        span_s: age of the oldest record in seconds.
        now_s: the present, in seconds since 1970.
    """
    lateness_s: int = Settings.model_fields["lateness_s"].default
    state = AgedState(*({p: MemoryStore() for p in range(partitions)} for _ in range(3)))
    counters = [
        (priority, partition, _counter(name, state.partial_counts[partition], lateness_s))
        for name, (priority, partition) in sources.items()
    ]
    combiners = {
        partition: CombinedCounter(VersionedRows(store, _WRITER), lateness_s=lateness_s)
        for partition, store in state.combined_counts.items()
    }
    slice_of = make_slicer(partitions)
    chosen = random.Random(span_s)
    for moment in moments(span_s, now_s, lateness_s):
        for priority, partition, counter in counters:
            for event_type in chosen.sample(event_types, min(_TYPES_A_BUCKET, len(event_types))):
                counter.add(0, event_type, moment, moment * 1000)
            counter.watermark_ms = moment * 1000
            flush = counter.flush(float(moment + FINE))
            if flush is None:
                continue
            for changes in (flush.first, flush.then, flush.cleanup):
                state.partial_counts[partition].apply(changes)
            counter.flushed(flush)
            for target, part in cut(priority, counter.source, flush.emission, slice_of).items():
                combiners[target].reach((moment + FINE) * 1000)
                combiners[target].merge(
                    0, priority, part.source, part.buckets, part.totals, float(moment + FINE)
                )
        for partition, combiner in combiners.items():
            _combine(combiner, state, partition, float(moment + FINE))
    return state


def _counter(name: str, store: MemoryStore, lateness_s: int) -> SourceCounter:
    most: int = Settings.model_fields["max_event_types"].default
    return SourceCounter(name, VersionedRows(store, _WRITER), max_event_types=most, lateness_s=lateness_s)


def _combine(combiner: CombinedCounter, state: AgedState, partition: int, now_s: float) -> None:
    flush = combiner.flush(now_s)
    if flush is None:
        return
    for changes in (flush.first, flush.then, flush.cleanup):
        state.combined_counts[partition].apply(changes)
    public = state.event_counts[partition]
    for row in flush.public:
        key = encode_key(row.priority, row.resolution_s, row.bucket, partition)
        public.apply([(key, encode_value(row, int(now_s * 1000)))])
    for priority, resolution, bucket, part in flush.expired_public:
        public.apply([(encode_key(priority, resolution, bucket, partition, part), None)])
    combiner.flushed(flush, now_s)


def write_state(state: AgedState, settings: Settings) -> None:
    """Write the rows to the topics of ``settings``, which are there and empty."""
    topics = {
        settings.internal_topic("partial-counts-changelog"): state.partial_counts,
        settings.internal_topic("combined-counts-changelog"): state.combined_counts,
        settings.event_counts_topic: state.event_counts,
    }

    async def write() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.brokers, acks="all", max_batch_size=_BATCH_BYTES
        )
        await producer.start()
        try:
            for topic, stores in topics.items():
                for partition, store in stores.items():
                    await _send(producer, topic, partition, store)
        finally:
            await producer.stop()

    asyncio.run(write())


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, store: MemoryStore) -> None:
    left = list(store.values.items())
    place = 0
    while place < len(left):
        batch = producer.create_batch()
        while place < len(left):
            key, value = left[place]
            if batch.append(key=key, value=value, timestamp=None) is None:
                break
            place += 1
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))
