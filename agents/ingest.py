"""Ingest: decode, check, count and forward the records of one batch."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from faust.types import TP

from agents.alert_labels import AlertLabels
from agents.effects_by_priority import EffectsByPriority
from agents.forwarding import Forwarding, without_body
from agents.latencies import ClassLatencies
from agents.parcels import Published, Smaller
from agents.probes import MOST_BODY_BYTES, answer_of, without_value
from agents.skew import LATE_S, RecentSkew
from agents.tally import Run, RunTally
from agents.unreadable import UnreadableAlerts, as_it_is
from streams.dead_letters.letters import dead_letter, truncated
from streams.notifications import (
    Decoder,
    Limits,
    Notification,
    Priority,
    Reason,
    RecordTime,
    Rejection,
    Repair,
    bucket_time_ms,
    record_time,
)
from streams.notifications.masking import Masker
from streams.records import UnreadableRecord
from streams.settings import Settings
from streams.transport.batch import RecordBatch
from streams.upstream.stores import PartitionGoneError
from tables.buckets import FINE, FUTURE_S, bucket_of
from tables.replay_rules import Rules
from tables.reserved_types import DEAD_LETTERS, PROBES, RESERVED
from tables.source_counter import SourceCounter

log = logging.getLogger(__name__)

_FUTURE_MS: Final = FUTURE_S * 1000
#: Alerts that are made before the first of them is sent; and where something more urgent may come meanwhile,
#: about half a millisecond of work.
_MOST_MADE: Final = 500
_MOST_MADE_BETWEEN_LOOKS: Final = 128
#: Records after which it pays to look whether something more urgent has come, which takes some microseconds.
_FEWEST_BETWEEN_LOOKS: Final = 32

#: What is to be awaited in the middle of a batch, when something more urgent has come; most often None.
Interruption = Callable[[RecordBatch], Awaitable[None] | None]


@dataclass(slots=True)
class IngestStats:
    """What ingest did since the start of this process; repeats after a crash count again."""

    counted: Counter[Priority] = field(default_factory=Counter)
    forwarded: Counter[Priority] = field(default_factory=Counter)
    dead_letters: Counter[tuple[Priority, Reason]] = field(default_factory=Counter)
    #: Bytes of the values of these.
    dead_letter_bytes: Counter[tuple[Priority, Reason]] = field(default_factory=Counter)
    repairs: Counter[Repair] = field(default_factory=Counter)
    #: Records whose stated time lies too far from the broker's.
    time_replaced: int = 0
    #: What became of record times that are not the brokers'.
    record_times: Counter[tuple[Priority, RecordTime]] = field(default_factory=Counter)
    #: Records that are dated long before the time of their record, and how far the two lie apart.
    late: Counter[Priority] = field(default_factory=Counter)
    skew: RecentSkew = field(default_factory=RecentSkew)


def rules_of(settings: Settings) -> Rules:
    """The settings that decide what a record is counted as."""
    return Rules(
        settings.lateness_s,
        settings.max_event_types,
        settings.max_notification_bytes,
        settings.max_depth,
        settings.max_event_type_length,
    )


class _Reading:
    """How records are read under some rules."""

    def __init__(self, rules: Rules) -> None:
        self.limits = Limits(rules.max_notification_bytes, rules.max_depth, rules.max_event_type_length)
        self.decode = Decoder(self.limits).decode
        self._lateness_ms = rules.lateness_s * 1000

    def event_time(self, stated_ms: int | None, broker_ms: int) -> tuple[int, bool]:
        """The event time to count under, in milliseconds, and whether it replaces the stated one."""
        return bucket_time_ms(stated_ms, broker_ms, self._lateness_ms, _FUTURE_MS)


class Ingest:
    """Handles batches; everything that a record causes is begun before the next record is read."""

    def __init__(
        self,
        settings: Settings,
        effects: EffectsByPriority,
        latencies: ClassLatencies | None = None,
        interruption: Interruption = lambda _: None,
    ) -> None:
        self._effects = effects
        self._interruption = interruption
        self._most_urgent = min(settings.priorities, key=attrgetter("rank"))
        self._latencies = latencies
        rules = rules_of(settings)
        self._now = _Reading(rules)
        #: Of records that were first counted under other settings.
        self._earlier: dict[Rules, _Reading] = {}
        self._alert_topics = {p: settings.alert_topic(p.value) for p in settings.forward_priorities}
        self._masker = Masker(settings.masked_keys)
        self._labels = {priority: AlertLabels(priority) for priority in self._alert_topics}
        #: Source -> what makes its alerts, and its answers to probes.
        self._forwardings: dict[str, tuple[Forwarding, Forwarding]] = {}
        #: Source -> what makes the alerts of what cannot be read in it.
        self._unreadable: dict[str, UnreadableAlerts] = {}
        self._dead_letter_topic = settings.dead_letter_topic
        self._probe_topic = settings.internal_topic("probes")
        # The same strings for all priorities: with very many event types they would not fit the caches.
        known: dict[str, str] = {}
        self._tallies = {
            priority: RunTally(
                priority,
                self._now.limits,
                settings.lateness_s * 1000,
                known,
                keep=priority in self._alert_topics,
            )
            for priority in settings.priorities
        }
        self.stats = IngestStats()

    async def handle(self, batch: RecordBatch, counter: SourceCounter) -> None:
        """Count every record of ``batch``, forward it where its priority asks for it, or dead-letter it.

        Runs of tidy records are handled together; every other record is read by itself.
        """
        records, tp = batch.records, batch.tp
        tally, forwards = self._tallies[batch.priority], batch.priority in self._alert_topics
        index, singly_before, ruled_until = 0, 0, counter.ruled_until
        while index < len(records) and records[index].offset <= counter.processed:
            index += 1
        first = looked = index
        # By the time of each record, so that whoever reads them again in other batches decides the same.
        due = len(records)
        while index < len(records):
            if index >= singly_before and records[index].offset > ruled_until:
                if index >= due:
                    due = len(records)
                run = tally.run(records if due == len(records) else records[:due], index)
                if run.end > index:
                    if run.latest_ms >= counter.due_ms:
                        due = _first_due(records, index, run.end, counter.due_ms)
                        if due == index:
                            counter.reach(_broker_ms(records[index]))
                        if due < run.end:
                            continue
                    taken = records[index : run.end]
                    if forwards:
                        if len(taken) > _FEWEST_BETWEEN_LOOKS:
                            await self._give_way(batch)
                        await self._forward_run(run, taken, batch, counter)
                        index = run.end
                    elif counter.add_run(taken[0].offset, taken[-1].offset, run.types, run.seen):
                        self._note_times(run, batch.priority)
                        index = run.end
                    else:
                        singly_before = run.end
                if not run.stopped and index >= singly_before:
                    continue
            if index - looked > _FEWEST_BETWEEN_LOOKS:
                looked = index
                await self._give_way(batch)
            record = records[index]
            if (broker_ms := _broker_ms(record)) >= counter.due_ms:
                counter.reach(broker_ms)
            reading = self._now if record.offset > ruled_until else self._reading_of(counter, record.offset)
            read = _decoded(reading, record, batch.priority)
            if isinstance(read, Rejection):
                await self._reject(reading, read, record, batch, counter)
            elif forwards:
                await self._forward(reading, read, record, tp, counter, tally)
            else:
                self._count(reading, read, record, batch.priority, counter, tally)
            index += 1
        self.stats.counted[batch.priority] += len(records)
        last_ms = _broker_ms(records[-1])
        counter.watermark_ms = max(counter.watermark_ms, last_ms)
        if self._latencies is not None and first < len(records):
            first_ms = _broker_ms(records[first])
            self._latencies.note_counted(batch.priority, first_ms, last_ms, len(records) - first)

    async def _give_way(self, batch: RecordBatch) -> None:
        """Wait while something more urgent is served, if it has come.

        Raises:
            PartitionGoneError: the assignment ended meanwhile.
        """
        if (interruption := self._interruption(batch)) is not None:
            await interruption
            if batch.dropped:
                raise PartitionGoneError(f"{batch.topic}, partition {batch.partition}")

    # ---------------------------------------------------------------- what becomes of one record

    async def _reject(
        self, reading: _Reading, why: Rejection, record: Any, batch: RecordBatch, counter: SourceCounter
    ) -> None:
        """Dead-letter a record that cannot be read, ring for it where its priority does, and count it."""
        tp, priority = batch.tp, batch.priority
        event_ms, _ = self._event_time(reading, None, record, priority)
        letter = dead_letter(self._dead_letter_topic, tp, record, counter.source, why)
        self.stats.dead_letters[priority, why.reason] += 1
        self.stats.dead_letter_bytes[priority, why.reason] += len(record.value or b"")
        effects = self._effects.of(tp)
        await effects.send(tp, record.offset, letter, truncated)
        if priority in self._alert_topics:
            alerts = self._unreadable_of(tp, priority, counter.source)
            made = alerts.alert(record.offset, record.value, event_ms, why.reason)
            self.stats.forwarded[priority] += 1
            published = (broker_ms := _broker_ms(record)), broker_ms
            await effects.send(tp, record.offset, made, as_it_is, published)
        counter.add(record.offset, DEAD_LETTERS, bucket_of(event_ms, FINE), event_ms)

    def _count(
        self,
        reading: _Reading,
        read: Notification,
        record: Any,
        priority: Priority,
        counter: SourceCounter,
        tally: RunTally,
    ) -> None:
        """Count a notification that is not forwarded; the tally takes the next of its type."""
        event_type = self._learnt(reading, read, tally)
        event_ms = self._noted(reading, read, record, priority)
        counter.add(record.offset, event_type, bucket_of(event_ms, FINE), event_ms)

    async def _forward_run(
        self, run: Run, taken: Sequence[Any], batch: RecordBatch, counter: SourceCounter
    ) -> None:
        """Send tidy notifications on as alerts; then count them."""
        alerts, _ = self._forwardings_of(batch.tp, batch.priority, counter.source)
        effects = self._effects.of(batch.tp)
        most = _MOST_MADE if batch.priority is self._most_urgent else _MOST_MADE_BETWEEN_LOOKS
        for first in range(0, len(taken), most):
            if first:
                await self._give_way(batch)
            part = slice(first, first + most)
            made = alerts.alerts(taken[part], run.times_ms[part], run.read[part])
            offsets = [record.offset for record in taken[part]]
            published = _broker_ms(taken[first]), _broker_ms(taken[first + len(offsets) - 1])
            await effects.send_all(batch.tp, offsets, made, without_body, published)
        self.stats.forwarded[batch.priority] += len(taken)
        self._note_times(run, batch.priority)
        # Only now: no record is counted, and none's offset committed, whose alert has not been begun.
        if not counter.add_run(taken[0].offset, taken[-1].offset, run.types, run.seen):
            for record, read, event_ms in zip(taken, run.read, run.times_ms, strict=True):
                counter.add(record.offset, read.event_type, bucket_of(event_ms, FINE), event_ms)

    async def _forward(
        self,
        reading: _Reading,
        read: Notification,
        record: Any,
        tp: TP,
        counter: SourceCounter,
        tally: RunTally,
    ) -> None:
        """Send a notification on as an alert, or answer it when it is a probe; then count it."""
        event_type = self._learnt(reading, read, tally)
        event_ms = self._noted(reading, read, record, read.priority)
        alerts, answers = self._forwardings_of(tp, read.priority, counter.source)
        smaller: Smaller
        published: Published | None = None
        if event_type == PROBES:
            small = len(record.value) <= MOST_BODY_BYTES
            headers = record.headers
            made = answer_of(
                answers.alert(record.offset, record.value, event_ms, read, headers=headers, body=small)
            )
            smaller = without_value
        else:
            made = alerts.alert(record.offset, record.value, event_ms, read, headers=record.headers)
            smaller = without_body
            published = (broker_ms := _broker_ms(record)), broker_ms
            self.stats.forwarded[read.priority] += 1
        effects = self._effects.of(tp)
        if not effects.send_now(tp, record.offset, made, smaller, published):
            await effects.send(tp, record.offset, made, smaller, published)
        counter.add(record.offset, event_type, bucket_of(event_ms, FINE), event_ms)

    # ---------------------------------------------------------------- steps of it

    def _reading_of(self, counter: SourceCounter, offset: int) -> _Reading:
        """How a record is read that may have been counted before, by its offset."""
        rules = counter.rules_at(offset)
        if rules is None:
            return self._now
        if rules not in self._earlier:
            self._earlier[rules] = _Reading(rules)
        return self._earlier[rules]

    def _note_times(self, run: Run, priority: Priority) -> None:
        """Note for the metrics what became of the times of a run."""
        stats = self.stats
        stats.time_replaced += run.time_replaced
        stats.late[priority] += run.late
        stats.skew.note(priority, run.skew.behind_s, run.skew.ahead_s)
        for whose, number in run.record_times.items():
            stats.record_times[priority, whose] += number

    def _learnt(self, reading: _Reading, read: Notification, tally: RunTally) -> str:
        """The event type to count under; the tally takes the next of its type, if settings are these."""
        event_type = _counted_as(read.event_type)
        if not read.repairs and read.event_type not in RESERVED and reading is self._now:
            tally.learn(event_type)
        return event_type

    def _noted(self, reading: _Reading, read: Notification, record: Any, priority: Priority) -> int:
        """Note for the metrics what was repaired; returns the event time to count under, in milliseconds."""
        event_ms, replaced = self._event_time(reading, read.event_time_ms, record, priority)
        self.stats.time_replaced += replaced
        if read.repairs:
            self.stats.repairs.update(read.repairs)
        return event_ms

    def _event_time(
        self, reading: _Reading, stated_ms: int | None, record: Any, priority: Priority
    ) -> tuple[int, bool]:
        """The event time to count under, in milliseconds, and whether it replaces the stated one."""
        broker_ms, whose = record_time(record.timestamp, record.timestamp_type)
        if whose is not None:
            self.stats.record_times[priority, whose] += 1
        event_ms, replaced = reading.event_time(stated_ms, broker_ms)
        # Most are within a second, which nobody asks about.
        if broker_ms >= 0 and not -1000 <= broker_ms - event_ms <= 1000:
            behind_s = (broker_ms - event_ms) / 1000
            self.stats.late[priority] += behind_s > LATE_S
            self.stats.skew.note(priority, max(0.0, behind_s), max(0.0, -behind_s))
        return event_ms, replaced

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


def _decoded(reading: _Reading, record: Any, priority: Priority) -> Notification | Rejection:
    """Read a record, whatever it holds."""
    read = reading.decode(record.value, priority)
    if isinstance(read, Rejection) and isinstance(record, UnreadableRecord):
        reason = Reason.CORRUPT_BATCH if record.corrupt else Reason.UNREADABLE_RECORD
        return Rejection(reason, f"The record cannot be read: {record.error[:120]}")
    return read


def _broker_ms(record: Any) -> int:
    """The broker's time of a record, in milliseconds; negative when it has none that can be believed."""
    time_ms, _ = record_time(record.timestamp, record.timestamp_type)
    return time_ms


def _first_due(records: Sequence[Any], first: int, end: int, due_ms: int) -> int:
    """The first record from ``first`` to before ``end`` of this broker's time or later; else ``end``."""
    return next((index for index in range(first, end) if _broker_ms(records[index]) >= due_ms), end)


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
        done: called with the batch and the seconds that it took, but for those that it was parked.
        failed: called with an error that is no fault of a record. Faust would go on with the next
            batch, and records of this one would be lost when a later offset is committed.
    """
    async for batch in stream:
        if batch.dropped:
            # Its partition was given away, or will be read again from where it was committed.
            continue
        batch.taken = True
        started = time.perf_counter()
        counter = counters(batch.tp)
        try:
            if counter is not None:
                await ingest.handle(batch, counter)
        except PartitionGoneError as error:
            if counter is None or counters(batch.tp) is counter:
                failed(error)
                raise
            # The assignment ended while this waited for alerts to be confirmed: the records are read again.
            log.info("The rest of a batch was given up, %s.", error)
        except Exception as error:
            failed(error)
            raise
        finally:
            done(batch, max(0.0, time.perf_counter() - started - batch.parked_s))
