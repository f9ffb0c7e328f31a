"""Ingest: decode, check, count and forward the records of one batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from faust.types import TP

from agents.dead_letters import dead_letter, truncated
from agents.effects import Effects, Smaller
from agents.forwarding import AlertLabels, Forwarding, without_body
from agents.probes import MOST_BODY_BYTES, answer_of, without_value
from agents.tally import Run, RunTally
from agents.unreadable import UnreadableAlerts, as_it_is
from streams.notifications import (
    Decoder,
    Limits,
    Notification,
    Priority,
    Reason,
    Rejection,
    Repair,
    bucket_time_ms,
)
from streams.notifications.masking import Masker
from streams.records import UnreadableRecord
from streams.settings import Settings
from streams.transport.batch import RecordBatch
from tables.buckets import FINE, FUTURE_S, bucket_of
from tables.reserved_types import DEAD_LETTERS, PROBES, RESERVED
from tables.source_counter import SourceCounter

_FUTURE_MS: Final = FUTURE_S * 1000
_TIMESTAMP: Final[Callable[[Any], int]] = attrgetter("timestamp")
#: Alerts that are made before the first of them is sent.
_MOST_MADE: Final = 100


@dataclass(slots=True)
class IngestStats:
    """What ingest did since the start of this process; repeats after a crash count again."""

    counted: Counter[Priority] = field(default_factory=Counter)
    forwarded: Counter[Priority] = field(default_factory=Counter)
    dead_letters: Counter[tuple[Priority, Reason]] = field(default_factory=Counter)
    repairs: Counter[Repair] = field(default_factory=Counter)
    #: Records whose stated time lies too far from the broker's.
    time_replaced: int = 0


class Ingest:
    """Handles batches; everything that a record causes is begun before the next record is read."""

    def __init__(self, settings: Settings, effects: Effects) -> None:
        self._effects = effects
        limits = Limits(settings.max_notification_bytes, settings.max_depth, settings.max_event_type_length)
        self._decode = Decoder(limits).decode
        self._alert_topics = {p: settings.alert_topic(p.value) for p in settings.forward_priorities}
        self._masker = Masker(settings.masked_keys)
        self._labels = {priority: AlertLabels(priority) for priority in self._alert_topics}
        #: Source -> what makes its alerts, and its answers to probes.
        self._forwardings: dict[str, tuple[Forwarding, Forwarding]] = {}
        #: Source -> what makes the alerts of what cannot be read in it.
        self._unreadable: dict[str, UnreadableAlerts] = {}
        self._dead_letter_topic = settings.dead_letter_topic
        self._probe_topic = settings.internal_topic("probes")
        self._lateness_ms = settings.lateness_s * 1000
        # The same strings for all priorities: with very many event types they would not fit the caches.
        known: dict[str, str] = {}
        self._tallies = {
            priority: RunTally(
                priority, limits, self._lateness_ms, known, keep=priority in self._alert_topics
            )
            for priority in settings.priorities
        }
        self.stats = IngestStats()

    async def handle(self, batch: RecordBatch, counter: SourceCounter) -> None:
        """Count every record of ``batch``, forward it where its priority asks for it, or dead-letter it.

        Runs of tidy records are handled together; every other record is read by itself.
        """
        records = batch.records
        start = 0
        while start < len(records) and records[start].offset <= counter.processed:
            start += 1
        # By the time of each record, so that whoever reads them again in other batches decides the same.
        if _newest_ms(records) >= counter.due_ms:
            for index in range(start, len(records)):
                time_ms = records[index].timestamp or 0
                if time_ms >= counter.due_ms:
                    await self._handle(batch, counter, start, index)
                    counter.reach(time_ms)
                    start = index
        await self._handle(batch, counter, start, len(records))
        self.stats.counted[batch.priority] += len(records)
        newest = records[-1].timestamp
        if newest is not None and newest > counter.watermark_ms:
            counter.watermark_ms = newest

    async def _handle(self, batch: RecordBatch, counter: SourceCounter, index: int, end: int) -> None:
        """Handle the records from number ``index`` to before ``end``."""
        records, tp = batch.records, batch.tp
        if end < len(records):
            records = records[:end]
        tally, forwards = self._tallies[batch.priority], batch.priority in self._alert_topics
        singly_before = 0
        while index < end:
            if index >= singly_before:
                run = tally.run(records, index)
                if run.end > index:
                    taken = records[index : run.end]
                    if forwards:
                        await self._forward_run(run, taken, batch, counter)
                        index = run.end
                    elif counter.add_run(taken[0].offset, taken[-1].offset, run.types, run.seen):
                        self.stats.time_replaced += run.time_replaced
                        index = run.end
                    else:
                        singly_before = run.end
                if not run.stopped and index >= singly_before:
                    continue
            record = records[index]
            read = self._decoded(record, batch.priority)
            if isinstance(read, Rejection):
                await self._reject(read, record, batch, counter)
            elif forwards:
                await self._forward(read, record, tp, counter, tally)
            else:
                self._count(read, record, counter, tally)
            index += 1

    # ---------------------------------------------------------------- what becomes of one record

    async def _reject(self, why: Rejection, record: Any, batch: RecordBatch, counter: SourceCounter) -> None:
        """Dead-letter a record that cannot be read, ring for it where its priority does, and count it."""
        tp, priority = batch.tp, batch.priority
        event_ms, _ = self._event_time(None, record)
        letter = dead_letter(self._dead_letter_topic, tp, record, counter.source, why)
        self.stats.dead_letters[priority, why.reason] += 1
        await self._effects.send(tp, record.offset, letter, truncated)
        if priority in self._alert_topics:
            alerts = self._unreadable_of(tp, priority, counter.source)
            made = alerts.alert(record.offset, record.value, event_ms, why.reason)
            self.stats.forwarded[priority] += 1
            await self._effects.send(tp, record.offset, made, as_it_is)
        counter.add(record.offset, DEAD_LETTERS, bucket_of(event_ms, FINE), event_ms)

    def _count(self, read: Notification, record: Any, counter: SourceCounter, tally: RunTally) -> None:
        """Count a notification that is not forwarded; the tally takes the next of its type."""
        event_type = _learnt(read, tally)
        event_ms = self._noted(read, record)
        counter.add(record.offset, event_type, bucket_of(event_ms, FINE), event_ms)

    async def _forward_run(
        self, run: Run, taken: Sequence[Any], batch: RecordBatch, counter: SourceCounter
    ) -> None:
        """Send tidy notifications on as alerts; then count them."""
        alerts, _ = self._forwardings_of(batch.tp, batch.priority, counter.source)
        for first in range(0, len(taken), _MOST_MADE):
            part = slice(first, first + _MOST_MADE)
            made = alerts.alerts(taken[part], run.times_ms[part], run.read[part])
            offsets = [record.offset for record in taken[part]]
            await self._effects.send_all(batch.tp, offsets, made, without_body)
        self.stats.forwarded[batch.priority] += len(taken)
        self.stats.time_replaced += run.time_replaced
        # Only now: no record is counted, and none's offset committed, whose alert has not been begun.
        if not counter.add_run(taken[0].offset, taken[-1].offset, run.types, run.seen):
            for record, read, event_ms in zip(taken, run.read, run.times_ms, strict=True):
                counter.add(record.offset, read.event_type, bucket_of(event_ms, FINE), event_ms)

    async def _forward(
        self, read: Notification, record: Any, tp: TP, counter: SourceCounter, tally: RunTally
    ) -> None:
        """Send a notification on as an alert, or answer it when it is a probe; then count it."""
        event_type = _learnt(read, tally)
        event_ms = self._noted(read, record)
        alerts, answers = self._forwardings_of(tp, read.priority, counter.source)
        smaller: Smaller
        if event_type == PROBES:
            small = len(record.value) <= MOST_BODY_BYTES
            made = answer_of(answers.alert(record.offset, record.value, event_ms, read, body=small))
            smaller = without_value
        else:
            made = alerts.alert(record.offset, record.value, event_ms, read)
            smaller = without_body
            self.stats.forwarded[read.priority] += 1
        if not self._effects.send_now(tp, record.offset, made, smaller):
            await self._effects.send(tp, record.offset, made, smaller)
        counter.add(record.offset, event_type, bucket_of(event_ms, FINE), event_ms)

    # ---------------------------------------------------------------- steps of it

    def _decoded(self, record: Any, priority: Priority) -> Notification | Rejection:
        """Read a record, whatever it holds."""
        read = self._decode(record.value, priority)
        if isinstance(read, Rejection) and isinstance(record, UnreadableRecord):
            return Rejection(Reason.UNREADABLE_RECORD, f"The record cannot be read: {record.error[:120]}")
        return read

    def _noted(self, read: Notification, record: Any) -> int:
        """Note for the metrics what was repaired; returns the event time to count under, in milliseconds."""
        event_ms, replaced = self._event_time(read.event_time_ms, record)
        self.stats.time_replaced += replaced
        if read.repairs:
            self.stats.repairs.update(read.repairs)
        return event_ms

    def _event_time(self, stated_ms: int | None, record: Any) -> tuple[int, bool]:
        """The event time to count under, in milliseconds, and whether it replaces the stated one."""
        broker_ms = record.timestamp if record.timestamp is not None else -1
        return bucket_time_ms(stated_ms, broker_ms, self._lateness_ms, _FUTURE_MS)

    def _forwardings_of(self, tp: TP, priority: Priority, source: str) -> tuple[Forwarding, Forwarding]:
        found = self._forwardings.get(source)
        if found is None:
            labels, masker = self._labels[priority], self._masker
            found = self._forwardings[source] = (
                Forwarding(self._alert_topics[priority], tp, source, labels, masker),
                Forwarding(self._probe_topic, tp, source, labels, masker),
            )
        return found

    def _unreadable_of(self, tp: TP, priority: Priority, source: str) -> UnreadableAlerts:
        found = self._unreadable.get(source)
        if found is None:
            found = self._unreadable[source] = UnreadableAlerts(
                self._alert_topics[priority], tp, source, priority, self._dead_letter_topic
            )
        return found


def _learnt(read: Notification, tally: RunTally) -> str:
    """The event type to count under; the tally takes the next of its type."""
    event_type = _counted_as(read.event_type)
    if not read.repairs and read.event_type not in RESERVED:
        tally.learn(event_type)
    return event_type


def _newest_ms(records: Sequence[Any]) -> int:
    """The latest broker's time of the records, in milliseconds; some may have none."""
    try:
        return max(map(_TIMESTAMP, records))  # in C
    except TypeError:
        return max(record.timestamp or 0 for record in records)


def _counted_as(event_type: str) -> str:
    """The event type to count under: a publisher cannot use a reserved one, but for that of probes."""
    if event_type[0] == "(" and event_type in RESERVED and event_type != PROBES:
        return f"{event_type} as published"
    return event_type


async def run_ingest(
    stream: Any,
    ingest: Ingest,
    counters: Callable[[TP], SourceCounter | None],
    done: Callable[[RecordBatch, float], None],
    failed: Callable[[BaseException], None],
) -> None:
    """The body of the Faust agent of one priority.

    Args:
        stream: of record batches.
        ingest: handles them.
        counters: a function from partition to the source's counter, or None when revoked.
        done: called with the batch and the seconds that it took.
        failed: called with an error that is no fault of a record. Faust would go on with the next
            batch, and records of this one would be lost when a later offset is committed.
    """
    async for batch in stream:
        if batch.dropped:
            # Its partition was given away, or will be read again from where it was committed.
            continue
        batch.taken = True
        started = time.perf_counter()
        try:
            counter = counters(batch.tp)
            if counter is not None:
                await ingest.handle(batch, counter)
        except Exception as error:
            failed(error)
            raise
        finally:
            done(batch, time.perf_counter() - started)
