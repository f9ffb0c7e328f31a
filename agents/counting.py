"""Counting: the state of an assignment, and the cycle that makes it durable.

One flush goes: rows of all sources to the table, then their counts to the combiners, then the rows of
the combiners to their table and to the public topic. What is committed never passes what is durable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from agents.again import AskedAgain, OutdatedRows
from agents.effects_by_priority import EffectsByPriority
from agents.flush_pace import FlushPace
from agents.ingest import rules_of
from agents.source_lives import SourceLives
from streams.broker.clock_check import ClockCheck
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.cancellation import end
from streams.log_lines import BOUNDED
from streams.outgoing import Outgoing
from streams.quantities import either, quantity
from streams.settings import Settings
from streams.transport.committable import CommittableOffsets
from streams.transport.turns import let_others_pass
from streams.upstream.store_faults import LocalStateError
from streams.upstream.stores import DamagedStoreError, PartitionGoneError
from tables.again import encode_question
from tables.combined_counter import CombinedCounter, CombinedFlush
from tables.durable_table import DurableTable
from tables.flushes import Flush
from tables.partials import Partial, cut, cut_forgetting, encode, make_slicer
from tables.public_rows import encode_key, encode_row
from tables.restoring import Restored
from tables.rows import Change, VersionedRows
from tables.source_counter import SourceCounter

log = logging.getLogger(__name__)

#: Looks for whether counts have reached the combiners of this worker, and the seconds between two of them: a
#: flush does not wait longer, and combines them with the next one.
_MOST_LOOKS = 25
_LOOK_S = 0.02


@dataclass(slots=True)
class Topics:
    """What counting needs to know of topics, as found at start."""

    partials: str
    event_counts: str
    slices: int


class Counting:
    """Counters of the assigned partitions. Implements ``streams.transport.traffic.Work``.

    Args:
        settings: topics, limits, lateness.
        topics: as found at start.
        partial_counts: rows of the sources.
        combined_counts: rows of the combiners; None in a pool that combines nothing.
        producer: sends counts to the combiners, and public rows.
        effects: sends what records caused besides counts.
        offsets: where it is noted up to where counts are durable.
        pace: decides how often counts are made durable.
        outdated: public rows to publish again.
        lives: the sources of an assignment, settled before it is opened.
        asked: what the sources are asked to send again.
        clock: compares this worker's clock with the brokers', and tells the time.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        partial_counts: DurableTable,
        combined_counts: DurableTable | None,
        producer: ConfirmedProducer,
        effects: EffectsByPriority,
        offsets: CommittableOffsets,
        pace: FlushPace,
        outdated: OutdatedRows,
        lives: SourceLives,
        asked: AskedAgain | None = None,
        clock: ClockCheck | None = None,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._priorities = {settings.notification_topic(p): p for p in settings.priorities}
        self._partial_counts = partial_counts
        self._combined_counts = combined_counts
        self._producer = producer
        self._effects = effects
        self._offsets = offsets
        self._pace = pace
        self._clock = ClockCheck() if clock is None else clock
        self._slice_of = make_slicer(topics.slices)
        self._sources: dict[TP, SourceCounter] = {}
        self._combined: dict[int, CombinedCounter] = {}
        self._outdated = outdated
        self._asked = AskedAgain() if asked is None else asked
        self._lives = lives
        #: Earlier lives of sources: they get no records, and their open minutes and hours are to be closed.
        self._ending: list[tuple[TP, SourceCounter]] = []
        self._epoch = 0
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        #: Seconds of the last flush, and number of flushes, for the metrics.
        self.last_flush_s = 0.0
        self._flush_started: float | None = None
        #: The assignment or the worker is ending: all that could be made durable is.
        self._finished = False
        self._drained = False
        #: `_processed` as of the last flush.
        self._flushed = 0
        self.flushes = 0

    # ---------------------------------------------------------------- Work

    def open(
        self,
        assigned: set[TP],
        committed: Mapping[TP, int | None],
        topic_ids: Mapping[str, str],  # noqa: ARG002 - settled before
    ) -> None:
        """Load the counters of the assigned partitions, after the last assignment was closed.

        Args:
            assigned: the partitions.
            committed: next offset to read, of the topics with these ids.
            topic_ids: id of each topic, by name.
        """
        self._finished = self._drained = False
        counted_as_then = 0
        for tp in sorted(assigned):
            if (source := self._lives.sources.get(tp)) is not None:
                self._ending += [
                    (tp, counter)
                    for name in source.earlier()
                    if not (counter := self._counter(name, source.rows, None)).is_closed
                ]
                counter = self._counter(source.name, source.rows, source.restored)
                counted_as_then += counter.ruled_until >= (committed.get(tp) or 0)
                # Records below the committed offset are not read again.
                counter.processed = (committed.get(tp) or 0) - 1
                self._sources[tp] = counter
            elif tp.topic == self._topics.partials and self._combined_counts is not None:
                combiner = CombinedCounter(
                    self._combined_counts.rows(tp.partition), lateness_s=self._settings.lateness_s
                )
                combiner.processed = (committed.get(tp) or 0) - 1
                self._combined[tp.partition] = combiner
        if counted_as_then:
            log.info(
                "Settings for counting were changed: in %s, records that may have been counted already are "
                "counted by the old ones.",
                quantity(counted_as_then, "partition"),
            )

    def _counter(self, name: str, rows: VersionedRows, restored: Restored | None) -> SourceCounter:
        return SourceCounter(
            name,
            rows,
            max_event_types=self._settings.max_event_types,
            lateness_s=self._settings.lateness_s,
            rules=rules_of(self._settings),
            restored=restored,
            forget_s=self._settings.forget_event_types_s,
        )

    def close(self) -> None:
        """Forget the state of the assignment."""
        self._epoch += 1
        self._sources = {}
        self._ending = []
        self._combined = {}
        self._offsets.forget()
        self._effects.close()

    def source(self, tp: TP) -> SourceCounter | None:
        """The counter of a source; None when it is not assigned, or is about to be given away."""
        return None if self._drained else self._sources.get(tp)

    def combiner(self, partition: int) -> CombinedCounter | None:
        """The combiner of a slice; None when it is not assigned."""
        return self._combined.get(partition)

    def missed(self, topic: str, partition: int, number: int) -> None:
        """Messages to a combiner were deleted before it had read them."""
        log.warning(
            "%s of %s, partition %d, %s combined: the sources are asked to send all again, and until they "
            "have some counts are too low.",
            quantity(number, "message"),
            topic,
            partition,
            either(number, "was deleted before it was", "were deleted before they were"),
            extra=BOUNDED,
        )
        if (combiner := self._combined.get(partition)) is not None:
            combiner.missed()

    async def finish(self, deadline_s: float) -> None:
        """Make everything durable that can be within the deadline; once in an assignment."""
        if self._drained:
            return  # Faust drains when it is told to stop, and again when it leaves the group
        try:
            async with asyncio.timeout(deadline_s):
                await self.flush()
                await self._effects.wait(deadline_s)
        except TimeoutError:
            log.warning(
                "Not all counts were durable within %.0f s; those records will be read again.", deadline_s
            )
        finally:
            # What follows is the end of the assignment, and Faust closes the tables before it says so.
            self._finished = self._drained = True

    # ---------------------------------------------------------------- the flush cycle

    def start(
        self, failed: Callable[[BaseException], None], flushed: Callable[[], Awaitable[object]]
    ) -> None:
        """Start flushing at the configured interval.

        Args:
            failed: called with an error after which the worker cannot go on.
            flushed: awaited after each flush, to commit what is durable now.
        """
        self._task = asyncio.create_task(self._run(failed, flushed), name="flush")

    async def stop(self) -> None:
        """Stop flushing."""
        await end(self._task)

    async def _run(
        self, failed: Callable[[BaseException], None], flushed: Callable[[], Awaitable[object]]
    ) -> None:
        self._pace.begin(time.monotonic(), self._flushed)
        while True:
            if left_s := self._pace.left_s(time.monotonic(), self._processed()):
                await asyncio.sleep(left_s)
                continue
            try:
                await self.flush(combined_at_once=True)
                self._clock.look()
                await flushed()
                self._pace.begin(time.monotonic(), self._flushed)
            except Exception as error:
                # A disk that refuses is said in one sentence by whoever is told.
                if not isinstance(error, LocalStateError | DamagedStoreError):
                    log.exception("Flushing counts failed.")
                self._finished = True  # it would fail again while the worker ends
                failed(error)
                return

    def _processed(self) -> int:
        """Sum of the offsets up to which the assigned sources have counted."""
        return sum(counter.processed for counter in self._sources.values())

    async def flush(self, *, combined_at_once: bool = False) -> None:
        """Make everything counted so far durable, and send it on.

        Args:
            combined_at_once: wait a little until what was sent on has come back to the combiners here.
        """
        async with self._lock:
            if self._finished:
                return
            started = self._flush_started = time.monotonic()
            self._flushed = self._processed()
            epoch = self._epoch
            try:
                sent = await self._flush_sources(epoch)
                if combined_at_once:
                    await self._arrival(sent)
                await self._flush_combined(epoch)
            except PartitionGoneError as error:
                if epoch == self._epoch:
                    raise
                log.info("A flush was given up, %s.", error)
                return
            finally:
                self._flush_started = None
            self.last_flush_s = time.monotonic() - started
            self.flushes += 1

    async def _arrival(self, sent: Mapping[int, int]) -> None:
        """Wait until counts that were sent on have reached the combiners, of those that are here.

        Args:
            sent: partition -> offset of the last message.
        """
        for _ in range(_MOST_LOOKS):
            if all(
                combiner is None or combiner.processed >= offset
                for combiner, offset in ((self._combined.get(each), offset) for each, offset in sent.items())
            ):
                return
            await asyncio.sleep(_LOOK_S)

    async def _flush_sources(self, epoch: int) -> dict[int, int]:
        """Make the counts of the sources durable and send them on.

        Returns:
            Partition of the combiners -> offset of the last message that was sent there.
        """
        now_s = self._clock.now_s()
        flushes: list[tuple[TP, SourceCounter, Flush]] = []
        for tp, counter in [*self._sources.items(), *self._ending]:
            with self._pace:
                if self._asked.questions:
                    counter.ask(self._asked.questions, now_s)
                flush = counter.flush(now_s)
            if flush is not None:
                flushes.append((tp, counter, flush))
                await let_others_pass()
                if epoch != self._epoch:
                    return {}
        if not flushes:
            return {}
        table = self._partial_counts
        await self._write(table, ((self._lives.home(tp), flush.first) for tp, _, flush in flushes))
        await self._write(table, ((self._lives.home(tp), flush.then) for tp, _, flush in flushes))
        messages, sent_at = self._messages(flushes), self._clock.steady_now()
        confirmed = await self._send(messages)
        self._clock.confirmed(sent_at, confirmed)
        if epoch != self._epoch:
            return {}
        for tp, counter, flush in flushes:
            counter.flushed(flush)
            if flush.offset >= 0 and counter is self._sources.get(tp):
                self._offsets.counted(tp, flush.offset + 1)
        self._ending = [each for each in self._ending if not each[1].is_closed]
        await self._write(table, ((self._lives.home(tp), flush.cleanup) for tp, _, flush in flushes))
        return {each.partition: each.offset for each in confirmed}

    def _messages(self, flushes: Iterable[tuple[TP, SourceCounter, Flush]]) -> list[Outgoing]:
        """To the combiners: what the sources send out, cut by the slice of event types."""
        with self._pace:
            parts: dict[int, list[Partial]] = defaultdict(list)
            for tp, counter, flush in flushes:
                sent = cut(self._priorities[tp.topic].value, counter.source, flush.emission, self._slice_of)
                for partition, part in sent.items():
                    parts[partition].append(part)
                if flush.emission.forgotten:
                    forgetting = cut_forgetting(
                        self._priorities[tp.topic].value, counter.source, flush.emission, self._slice_of
                    )
                    for partition, part in forgetting:
                        parts[partition].append(part)
            return [
                Outgoing(self._topics.partials, message, None, partition)
                for partition, slices in parts.items()
                for message in encode(slices)
            ]

    async def _flush_combined(self, epoch: int) -> None:
        if epoch != self._epoch:
            return  # the combiners are others by now: what they are asked for here nobody would write
        now_s = self._clock.now_s()
        for old in self._outdated.take(self._combined):
            self._combined[old.slice].publish_again(old.priority, old.resolution_s, old.bucket)
        flushes: list[tuple[int, CombinedCounter, CombinedFlush]] = []
        for partition, counter in list(self._combined.items()):
            with self._pace:
                flush = counter.flush(now_s)
            if flush is not None:
                flushes.append((partition, counter, flush))
                await let_others_pass()
                if epoch != self._epoch:
                    return
        table = self._combined_counts
        if not flushes or table is None:
            return
        await self._write(table, ((partition, flush.first) for partition, _, flush in flushes))
        await self._write(table, ((partition, flush.then) for partition, _, flush in flushes))
        await self._send(self._public_rows(flushes, int(now_s * 1000)))
        if epoch != self._epoch:
            return
        for partition, counter, flush in flushes:
            counter.flushed(flush, now_s)
            if flush.processed >= 0:
                self._offsets.counted(TP(self._topics.partials, partition), flush.processed + 1)
        await self._write(table, ((partition, flush.cleanup) for partition, _, flush in flushes))

    def _public_rows(
        self, flushes: Iterable[tuple[int, CombinedCounter, CombinedFlush]], as_of_ms: int
    ) -> list[Outgoing]:
        topic = self._topics.event_counts
        rows = []
        with self._pace:
            for partition, _, flush in flushes:
                for row in flush.public:
                    for key, value in encode_row(row, partition, as_of_ms, app=self._settings.app_id):
                        rows.append(Outgoing(topic, value, key, partition))
                if flush.question is not None:
                    key, value = encode_question(partition, flush.question)
                    rows.append(Outgoing(topic, value, key, partition))
                for priority, resolution, bucket, part in flush.expired_public:
                    key = encode_key(priority, resolution, bucket, partition, part)
                    rows.append(Outgoing(topic, None, key, partition))
        return rows

    async def _send(self, records: list[Outgoing]) -> list[Any]:
        self._pace.sent(len(records))
        return await self._producer.send(records)

    async def _write(self, table: DurableTable, changes: Iterable[tuple[int, list[Change]]]) -> None:
        by_partition: dict[int, list[Change]] = defaultdict(list)
        for partition, some in changes:
            by_partition[partition] += some
        self._pace.sent(sum(map(len, by_partition.values())))
        await asyncio.gather(
            *(table.write(partition, some) for partition, some in by_partition.items() if some)
        )

    def unconfirmed_s(self) -> float:
        """Seconds that the flush under way has been waiting; 0 when none is."""
        return 0.0 if self._flush_started is None else time.monotonic() - self._flush_started

    def sources(self) -> Mapping[TP, SourceCounter]:
        """The counters of the assigned sources."""
        return self._sources

    def event_types(self) -> int:
        """Event types that are combined here."""
        return sum(len(types) for combiner in self._combined.values() for types in combiner.totals.values())
