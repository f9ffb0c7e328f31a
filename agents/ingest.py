"""Ingest: decode, check, count and forward the records of one batch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

from agents.dead_letters import dead_letter, truncated
from agents.effects import Effects
from agents.forwarding import forwarded
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
from streams.settings import Settings
from streams.transport.batch import RecordBatch, UnreadableRecord
from tables.buckets import FINE, FUTURE_S
from tables.source_counter import DEAD_LETTERS, RESERVED, SourceCounter

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
        self._decode = make_decoder(
            Limits(settings.max_notification_bytes, settings.max_depth, settings.max_event_type_length)
        )
        self._forward = {p: settings.alert_topic(p.value) for p in settings.forward_priorities}
        self._dead_letter_topic = settings.dead_letter_topic
        self._lateness_ms = settings.lateness_s * 1000
        self.stats = IngestStats()

    async def handle(self, batch: RecordBatch, counter: SourceCounter) -> None:
        """Count every record of ``batch``, forward it where its priority asks for it, or dead-letter it."""
        priority = batch.priority
        forward_topic = self._forward.get(priority)
        decode, lateness_ms, future_ms = self._decode, self._lateness_ms, FUTURE_S * 1000
        tp = TP(batch.topic, batch.partition)
        stats = self.stats
        time_replaced = forwarded_now = 0
        records = batch.records
        for record in records:
            offset = record.offset
            if offset <= counter.processed:
                continue
            read = decode(record.value, priority)
            broker_ms = record.timestamp if record.timestamp is not None else -1
            if isinstance(read, Notification):
                event_ms, replaced = bucket_time_ms(read.event_time_ms, broker_ms, lateness_ms, future_ms)
                event_type = read.event_type
                if event_type[0] == "(" and event_type in RESERVED:
                    event_type += " as published"
                if replaced:
                    time_replaced += 1
                if read.repairs:
                    stats.repairs.update(read.repairs)
                if forward_topic is not None:
                    await self._send_forward(tp, forward_topic, read, record, counter.source, event_ms)
                    forwarded_now += 1
            else:
                event_ms, _ = bucket_time_ms(None, broker_ms, lateness_ms, future_ms)
                event_type = DEAD_LETTERS
                if isinstance(record, UnreadableRecord):
                    read = Rejection(
                        Reason.UNREADABLE_RECORD, f"The record cannot be read: {record.error[:120]}"
                    )
                await self._send_dead_letter(tp, record, counter.source, read)
            seconds = event_ms // 1000
            counter.add(offset, event_type, seconds - seconds % FINE, event_ms)
        if forward_topic is not None:
            stats.forwarded[priority] += forwarded_now
        stats.counted[priority] += len(records)
        stats.time_replaced += time_replaced
        newest = records[-1].timestamp
        if newest is not None and newest > counter.watermark_ms:
            counter.watermark_ms = newest

    async def _send_forward(
        self, tp: TP, topic: str, read: Notification, record: Any, source: str, event_ms: int
    ) -> None:
        await self._effects.send(
            tp,
            record.offset,
            forwarded(topic, read, record, source, event_ms),
            lambda: forwarded(topic, read, record, source, event_ms, body=False),
        )

    async def _send_dead_letter(self, tp: TP, record: Any, source: str, why: Rejection) -> None:
        letter = dead_letter(self._dead_letter_topic, record, source, why)
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
