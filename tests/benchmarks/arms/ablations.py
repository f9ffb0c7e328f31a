"""Tocsin without one of its mechanisms, to see what it brings. Made here, in the benchmark's process: the
product has no such switches.

Each of ``ABLATIONS`` takes one mechanism out of a worker that has not been built yet, and raises
``AttributeError`` when what it takes out is no longer there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import aiokafka
from aiokafka import TopicPartition

from streams.transport import fetch_lane
from streams.transport.fetch_lane import FetchLane
from streams.upstream import bulk_records


def replace(owner: Any, name: str, value: Any) -> None:
    """Put ``value`` in the place of an attribute that must be there."""
    getattr(owner, name)
    setattr(owner, name, value)


def no_turns() -> None:
    """No turns of the event loop between batches, and between pieces of a flush."""
    import streams.transport.turns as turns

    replace(turns, "TURNS_BETWEEN", 0)


def one_lane() -> None:
    """One consumer for all priorities, as usual, in the place of a lane for each."""
    import streams.transport.traffic as traffic

    replace(traffic, "FetchLane", SharedLane)


def first_in_first_out() -> None:
    """The class whose next record is oldest goes first, in the place of the fair queue."""
    from streams.scheduling.scheduler import Scheduler

    make = Scheduler.__init__

    def made(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        replace(self, "_order", FirstInFirstOut(self._queue, self._lanes))

    replace(Scheduler, "__init__", made)


def fixed_batches() -> None:
    """Batches of up to 2,000 records, whatever they take, in the place of batches cut to 2 ms."""
    import streams.scheduling.scheduler as scheduler

    replace(scheduler, "BatchSize", FixedBatchSize)


def no_interruptions() -> None:
    """CRITICAL waits for the end of the batch in service."""
    from streams.transport.interruptions import Interruptions

    replace(Interruptions, "due", lambda *_: None)


def no_uvloop() -> None:
    """The event loop of asyncio."""
    import tocsin.cli.worker as worker

    replace(worker, "install_event_loop", lambda: None)


def no_gc_tuning() -> None:
    """The interpreter's own thresholds of garbage collection."""
    import tocsin.cli.worker as worker

    replace(worker, "tune_garbage_collection", lambda: None)


def one_producer() -> None:
    """Alerts and counts over one producer, so that a full batch of changelog records goes before an alert."""
    import tocsin.worker as worker
    from streams.broker.producers.confirmed import ConfirmedProducer

    class Shared(ConfirmedProducer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._starting = asyncio.Lock()

        async def start(self, *arguments: Any, **options: Any) -> bool:
            # It is started as either of the two that it stands for, at the same time.
            async with self._starting:
                return not self.closed or await super().start(*arguments, **options)

    made: list[Shared] = []

    def make(_name: str, options: dict[str, Any], **given: Any) -> Shared:
        if not made:
            made.append(Shared("everything", options, **given))
        return made[0]

    replace(worker, "ConfirmedProducer", make)


ABLATIONS: Mapping[str, tuple[str, Callable[[], None]]] = {
    "turns": ("without turns of the event loop between batches", no_turns),
    "lanes": ("one consumer for all priorities", one_lane),
    "fair-queue": ("first in, first out", first_in_first_out),
    "timed-batches": ("batches of up to 2,000 records", fixed_batches),
    "interruptions": ("CRITICAL interrupts no batch", no_interruptions),
    "producers": ("alerts and counts over one producer", one_producer),
    "uvloop": ("without uvloop", no_uvloop),
    "gc": ("without tuned garbage collection", no_gc_tuning),
}


class FixedBatchSize:
    """Stands for ``BatchSize``."""

    def __init__(self, target_seconds: float, max_records: int) -> None:
        self.limit = max_records
        self.seconds_per_record = target_seconds / max_records

    def learn(self, records: int, seconds: float) -> None:
        """It knows all it needs."""


class FirstInFirstOut:
    """An order of the scheduler: by the time of the records."""

    def __init__(self, queue: Any, lanes: Mapping[Any, Any]) -> None:
        self._queue = queue
        self._lanes = lanes
        self.finish = queue.finish

    def pick(self) -> Any:
        """The ready class with the oldest record."""
        ready = [
            (min(record.timestamp for record in heads), number, key)
            for number, (key, lane) in enumerate(self._lanes.items())
            if self._queue.is_ready(key) and (heads := lane.buffer.heads())
        ]
        if not ready:
            return None
        key = min(ready)[2]
        self._queue.dispatch(key, in_turn=False)
        return key

    def goes_before(self, _key: Any) -> bool:
        """Nobody does."""
        return False


class _Hub:
    """What the lanes of a worker share: one of them, the last to be assigned, fetches for all."""

    def __init__(self) -> None:
        self.lanes: dict[str, SharedLane] = {}
        self.assigned: dict[str, Mapping[int, int | None]] = {}
        self.fetching: SharedLane | None = None
        self.room = asyncio.Event()

    async def assign(self, lane: SharedLane, offsets: Mapping[int, int | None]) -> None:
        self.assigned[lane.topic] = offsets
        if len(self.assigned) == len(self.lanes) and any(self.assigned.values()):
            self.fetching = lane
            await lane.fetch_for_all(
                {
                    TopicPartition(topic, partition): offset
                    for topic, offsets in self.assigned.items()
                    for partition, offset in offsets.items()
                }
            )

    async def revoke(self) -> None:
        self.assigned = {}
        lane, self.fetching = self.fetching, None
        if lane is not None:
            await lane.end_fetching()


_HUB = _Hub()


class SharedLane(FetchLane):
    """Stands for ``FetchLane``; all of them fetch over one connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _HUB.lanes[self.topic] = self

    async def assign(
        self,
        offsets: Mapping[int, int | None],
        topic_id: str | None = None,
        epochs: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Fetch these partitions, once all lanes know theirs."""
        self._scheduler.assign(self.priority, offsets)
        self.positions = {partition: offset or 0 for partition, offset in offsets.items()}
        await _HUB.assign(self, offsets)

    async def revoke(self) -> None:
        """Stop fetching."""
        await _HUB.revoke()
        self._scheduler.revoke(self.priority, list(self.positions))
        self.positions = {}

    def has_room(self) -> None:
        """The buffer may have room again."""
        _HUB.room.set()

    def end_offset(self, partition: int) -> int | None:
        """As of the last fetch."""
        consumer = None if _HUB.fetching is None else _HUB.fetching._consumer
        if consumer is None or partition not in self.positions:
            return None
        end: int | None = consumer.highwater(TopicPartition(self.topic, partition))
        return end

    async def fetch_for_all(self, places: Mapping[TopicPartition, int | None]) -> None:
        """Connect, and fetch these partitions of all lanes."""
        await self.end_fetching()
        bulk_records.install_bulk_records(self._largest)
        consumer = await self._connect({}, None)
        consumer.assign(list(places))
        for tp, offset in places.items():
            if offset is not None:
                consumer.seek(tp, offset)
        self._start(self._fetch_shared(consumer, len(places)))

    async def end_fetching(self) -> None:
        """Stop what ``fetch_for_all`` started."""
        await self._disconnect()

    async def _fetch_shared(self, consumer: aiokafka.AIOKafkaConsumer, every: int) -> None:
        while True:
            wanted = [
                TopicPartition(lane.topic, partition)
                for lane in _HUB.lanes.values()
                for partition in lane._scheduler.wanted(lane.priority)
            ]
            if not wanted:
                _HUB.room.clear()
                await _HUB.room.wait()
                continue
            fetched = await consumer.getmany(
                *wanted,
                timeout_ms=fetch_lane._IDLE_WAIT_MS if len(wanted) == every else fetch_lane._BUSY_WAIT_MS,
                max_records=fetch_lane._MAX_RECORDS,
            )
            for tp, records in fetched.items():
                _HUB.lanes[tp.topic].take_over_all(tp.partition, records)
            if fetched:
                await asyncio.sleep(0)

    def take_over_all(self, partition: int, records: list[Any]) -> None:
        """Records that were fetched for this lane."""
        self._take_over(partition, records, bulk_records.size_of(records), records[-1].offset + 1)
