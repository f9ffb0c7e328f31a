"""Ingest: decode, check, count and forward the records of one batch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from faust.types import TP

from agents.dead_letters import dead_letter, truncated
from agents.effects import Effects
from agents.forwarding import forwarded
from agents.probes import MOST_BODY_BYTES, answer_of, without_value
from agents.tally import Tally
from streams.notifications import (
    Limits,
    Notification,
    Priority,
    Reason,
    Rejection,
    Repair,
    bucket_time_ms,
    make_decoder,
)
from streams.records import UnreadableRecord
from streams.settings import Settings
from streams.transport.batch import RecordBatch
from tables.buckets import FINE, FUTURE_S, bucket_of
from tables.reserved_types import DEAD_LETTERS, PROBES, RESERVED
from tables.source_counter import SourceCounter

log = logging.getLogger(__name__)


@dataclass(slots=True)
class IngestStats:
    """What ingest did since the start of this process; repeats after a crash count again."""

    counted: Counter[Priority] = field(default_factory=Counter)
    forwarded: Counter[Priority] = field(default_factory=Counter)
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    repairs: Counter[Repair] = field(default_factory=Counter)
    #: Records whose stated time lies too far from the broker's.
    time_replaced: int = 0


class Ingest:
    """Handles batches; everything that a record causes is begun before the next record is read."""

    def __init__(self, settings: Settings, effects: Effects) -> None:
        self._effects = effects
        limits = Limits(settings.max_notification_bytes, settings.max_depth, settings.max_event_type_length)
        self._decode = make_decoder(limits)
        self._forward = {p: settings.alert_topic(p.value) for p in settings.forward_priorities}
        self._dead_letter_topic = settings.dead_letter_topic
        self._probe_topic = settings.internal_topic("probes")
        self._lateness_ms = settings.lateness_s * 1000
        # The same strings for all priorities: with very many event types they would not fit the caches.
        known: dict[str, str] = {}
        self._tallies = {
            priority: Tally(priority, limits, self._lateness_ms, known)
            for priority in settings.priorities
            if priority not in self._forward
        }
        self.stats = IngestStats()

    async def handle(self, batch: RecordBatch, counter: SourceCounter) -> None:
        """Count every record of ``batch``, forward it where its priority asks for it, or dead-letter it."""
        records = batch.records
        tally = self._tallies.get(batch.priority)
        index, singly_before = 0, 0
        while index < len(records) and records[index].offset <= counter.processed:
            index += 1
        while index < len(records):
            if tally is not None and index >= singly_before:
                run = tally.run(records, index)
                if run.end > index:
                    first, last = records[index].offset, records[run.end - 1].offset
                    if counter.add_run(first, last, run.types, run.seen):
                        self.stats.time_replaced += run.time_replaced
                        index = run.end
                    else:
                        singly_before = run.end
                if not run.stopped and index >= singly_before:
                    continue
            await self._handle_one(batch, records[index], counter, tally)
            index += 1
        self.stats.counted[batch.priority] += len(records)
        newest = records[-1].timestamp
        if newest is not None and newest > counter.watermark_ms:
            counter.watermark_ms = newest

    async def _handle_one(
        self, batch: RecordBatch, record: Any, counter: SourceCounter, tally: Tally | None
    ) -> None:
        """Decode one record in full; what it causes is begun before it is counted."""
        priority, tp = batch.priority, TP(batch.topic, batch.partition)
        read = self._decode(record.value, priority)
        broker_ms = record.timestamp if record.timestamp is not None else -1
        if isinstance(read, Notification):
            event_ms, replaced = bucket_time_ms(
                read.event_time_ms, broker_ms, self._lateness_ms, FUTURE_S * 1000
            )
            event_type = read.event_type
            if event_type[0] == "(" and event_type in RESERVED:
                event_type += " as published" if event_type != PROBES else ""
            elif tally is not None and not read.repairs:
                tally.learn(event_type)
            self.stats.time_replaced += replaced
            if read.repairs:
                self.stats.repairs.update(read.repairs)
            if tally is None and event_type == PROBES:
                await self._answer_probe(tp, read, record, counter.source, event_ms)
            elif tally is None:
                await self._send_forward(tp, self._forward[priority], read, record, counter.source, event_ms)
                self.stats.forwarded[priority] += 1
        else:
            event_ms, _ = bucket_time_ms(None, broker_ms, self._lateness_ms, FUTURE_S * 1000)
            event_type = DEAD_LETTERS
            if isinstance(record, UnreadableRecord):
                read = Rejection(Reason.UNREADABLE_RECORD, f"The record cannot be read: {record.error[:120]}")
            await self._send_dead_letter(tp, record, counter.source, read)
        counter.add(record.offset, event_type, bucket_of(event_ms, FINE), event_ms)

    async def _send_forward(
        self, tp: TP, topic: str, read: Notification, record: Any, source: str, event_ms: int
    ) -> None:
        await self._effects.send(
            tp,
            record.offset,
            forwarded(topic, tp, read, record, source, event_ms),
            lambda: forwarded(topic, tp, read, record, source, event_ms, body=False),
        )

    async def _answer_probe(
        self, tp: TP, read: Notification, record: Any, source: str, event_ms: int
    ) -> None:
        small = len(record.value) <= MOST_BODY_BYTES
        answer = answer_of(forwarded(self._probe_topic, tp, read, record, source, event_ms, body=small))
        await self._effects.send(tp, record.offset, answer, partial(without_value, answer))

    async def _send_dead_letter(self, tp: TP, record: Any, source: str, why: Rejection) -> None:
        letter = dead_letter(self._dead_letter_topic, tp, record, source, why)
        self.stats.dead_letters[why.reason] += 1
        await self._effects.send(tp, record.offset, letter, lambda: truncated(letter))


async def run_ingest(
    stream: Any,
    ingest: Ingest,
    counters: Callable[[str, int], SourceCounter | None],
    done: Callable[[RecordBatch, float], None],
    failed: Callable[[BaseException], None],
) -> None:
    """The body of the Faust agent of one priority.

    Args:
        stream: of record batches.
        ingest: handles them.
        counters: a function from (topic, partition) to the source's counter, or None when revoked.
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
            counter = counters(batch.topic, batch.partition)
            if counter is not None:
                await ingest.handle(batch, counter)
        except Exception as error:
            failed(error)
            raise
        finally:
            done(batch, time.perf_counter() - started)
