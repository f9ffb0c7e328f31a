"""One run of `tocsin verify`: reads topics and counts in the order that makes them comparable.

The order matters while workers go on: first what the group has committed, then the public counts (once
everything that was committed is in them), then the ends of the topics. Rows are read per partition just
before its records, and tell by themselves which offset they are as of.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import click
from aiokafka import TopicPartition

from agents.ingest import Ingest
from streams.broker.admin import COMMAND_ATTEMPT_S, admin_client
from streams.broker.pools import group_names
from streams.broker.slices import kept_slices
from streams.broker.topic_plan import slices_topic
from streams.broker.topic_problems import topic_fault
from streams.notifications.priority import Priority
from streams.quantities import quantity, thousands
from streams.settings import ConfigurationError, Settings
from streams.transport.batch import RecordBatch
from streams.transport.topic_reader import TopicReader
from streams.upstream.slice_assignor import slice_of
from streams.upstream.topic_ids import fetch_topics, is_committed_of, never_read_of
from tables.buckets import FINE, FUTURE_S, retention_s
from tables.public_rows import app_of
from tables.replay_rules import RuleHistory
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter
from tables.source_name import source_name
from tables.verification import (
    Budget,
    ChangelogRows,
    PublicBounds,
    PublicCounts,
    PublicTotals,
    SourceRecount,
    Span,
    TooManyCountsError,
    covered_from_s,
)
from tocsin.cli.common.reading import partition_reader
from tocsin.cli.verify.corrupt_records import CorruptRecords
from tocsin.cli.verify.findings import Findings

_POLL_S: Final = 0.3
_SAY_S: Final = 5.0
_NO_END: Final = 2**53


class Verification:
    """One run.

    Args:
        settings: of the workers, limits and lateness included.
        span: which buckets to compare.
        wait_s: seconds to wait for the combiners.
        most_counts: different counts held in memory at most.
        most_records: all records are read, and not only those of the span, where they are at most so many.
        say: tells a person how far it is.
    """

    def __init__(
        self,
        settings: Settings,
        span: Span,
        wait_s: float,
        most_counts: int,
        most_records: int,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._span = span
        self._wait_s = wait_s
        self._say = say
        self._said_at = time.monotonic()
        self._budget = Budget(most_counts)
        self._found = Findings(span)
        self._ids: dict[str, str] = {}
        self._known_ids: set[str] = set()
        self._partitions: dict[str, int] = {}
        self._slices = 0
        self._read = 0
        self._corrupt = CorruptRecords(settings, self._ids, self._found, say)
        self._most_records = most_records
        self._all = False

    async def run(self) -> Findings:
        """Read, compare, and return what was found.

        Raises:
            ConfigurationError: brokers, topics or rights are missing.
            ReadingFailedError: reading failed.
            click.ClickException: memory would not do.
        """
        settings, found = self._settings, self._found
        async with (
            admin_client(settings, attempt_s=COMMAND_ATTEMPT_S) as admin,
            partition_reader(settings) as reader,
        ):
            await self._find_topics(admin)
            sources = {
                priority: [TopicPartition(topic, number) for number in range(self._partitions[topic])]
                for priority in settings.priorities
                if (topic := settings.notification_topic(priority))
            }
            found.partitions = sum(map(len, sources.values()))
            names = settings.event_counts_topic, settings.internal_topic("partial-counts-changelog")
            state = [TopicPartition(name, number) for name in names for number in range(self._slices)]
            reader.open([*state, *(tp for some in sources.values() for tp in some)])
            committed = await self._committed(admin)
            await self._never_read(admin, reader, sources)
            await self._wait_for_combiners(admin, reader)
            try:
                public = PublicCounts(self._span, self._budget)
                totals = PublicTotals(self._budget)
                await self._read_public(reader, public, totals)
                ends = await reader.ends(tp for some in sources.values() for tp in some)
                beginnings = await reader.beginnings(ends)
                found.behind = sum(
                    max(0, end - max(committed.get(tp, 0), beginnings[tp])) for tp, end in ends.items()
                )
                self._all = sum(ends[tp] - beginnings[tp] for tp in ends) <= self._most_records
                sums = {priority: PublicBounds() for priority in sources}
                for number in range(self._slices):
                    tps = {
                        tp: priority
                        for priority, some in sources.items()
                        for tp in some
                        if slice_of(tp.partition, self._slices) == number
                    }
                    await self._compare_partition(reader, number, tps, committed, ends, sums)
            except TooManyCountsError as error:
                raise click.ClickException(str(error)) from None
            for priority, each in sums.items():
                for difference in public.differences(
                    priority.value,
                    settings.event_counts_topic,
                    each,
                    lower=not found.waiting,
                    upper=not found.strange and not found.ended,
                ):
                    found.add(difference, public=True)
                for difference in totals.differences(
                    priority.value,
                    settings.event_counts_topic,
                    each,
                    lower=not found.waiting,
                    upper=not found.gone,
                ):
                    found.add(difference, public=True)
                (found.totals if each.whole and not found.gone else found.totals_at_least).append(priority)
            found.unreadable_rows = sorted(
                f"{tp.topic}/{tp.partition}/{first} to {end - 1}"
                for (tp, end), first in reader.corrupt.items()
                if tp.topic in names
            )
        return found

    # ---------------------------------------------------------------- what there is

    async def _find_topics(self, admin: Any) -> None:
        settings = self._settings
        wanted = [settings.notification_topic(priority) for priority in settings.priorities]
        wanted += [
            settings.internal_topic("partials"),
            settings.internal_topic("partial-counts-changelog"),
            settings.event_counts_topic,
        ]
        others = [settings.notification_topic(priority) for priority in Priority]
        topics = await fetch_topics(admin, [*wanted, *others, slices_topic(settings)])
        for name in wanted:
            if (fault := topic_fault(topics[name], reads=True)) is not None:
                raise ConfigurationError(fault)
        self._partitions = {name: topic.partitions for name, topic in topics.items() if topic.error is None}
        kept = await kept_slices(admin, settings, topics)
        # Before a worker of this version has started, there are as many as partitions.
        self._slices = kept or self._partitions[settings.internal_topic("partial-counts-changelog")]
        self._ids.update({name: topics[name].topic_id for name in wanted})
        self._known_ids = {topic.topic_id for topic in topics.values() if topic.error is None}

    async def _committed(self, admin: Any) -> dict[Any, int]:
        committed: dict[Any, int] = {}
        for group in await group_names(admin, self._settings):
            for tp, found in (await admin.list_consumer_group_offsets(group)).items():
                if found.offset >= 0 and is_committed_of(found.metadata, self._ids.get(tp.topic, "")):
                    committed[tp] = max(committed.get(tp, 0), found.offset)
        return committed

    async def _never_read(
        self, admin: Any, reader: TopicReader, sources: Mapping[Priority, list[TopicPartition]]
    ) -> None:
        """Records that were deleted before any worker had read them: passed by, and not reached yet."""
        priorities = {tp: priority for priority, some in sources.items() for tp in some}
        furthest: dict[Any, int] = {}
        for group in await group_names(admin, self._settings):
            for tp, found in (await admin.list_consumer_group_offsets(group)).items():
                if tp in priorities and is_committed_of(found.metadata, self._ids[tp.topic]):
                    furthest[tp] = max(furthest.get(tp, 0), found.offset)
                    # A pool that went on from where another was knows of its own only.
                    self._found.never_read[priorities[tp]] += never_read_of(found.metadata)
        beginnings = await reader.beginnings(furthest)
        for tp, offset in furthest.items():
            self._found.never_read[priorities[tp]] += max(0, beginnings[tp] - max(0, offset))

    async def _wait_for_combiners(self, admin: Any, reader: TopicReader) -> None:
        """Wait until what was committed by now has been combined and published."""
        name = self._settings.internal_topic("partials")
        ends = await reader.ends(TopicPartition(name, number) for number in range(self._slices))
        until = time.monotonic() + self._wait_s
        while True:
            committed = await self._committed(admin)
            waiting = sum(max(0, end - committed.get(tp, 0)) for tp, end in ends.items())
            if not waiting or time.monotonic() > until:
                break
            await asyncio.sleep(_POLL_S)
        self._found.waiting = waiting

    async def _read_public(self, reader: TopicReader, public: PublicCounts, totals: PublicTotals) -> None:
        topic = self._settings.event_counts_topic
        partitions = [TopicPartition(topic, number) for number in range(self._slices)]
        beginnings, ends = await reader.beginnings(partitions), await reader.ends(partitions)
        for tp in partitions:
            async for records in reader.records(tp, beginnings[tp], ends[tp]):
                for record in records:
                    if (app := _writer(record.value)) not in ("", self._settings.app_id):
                        self._found.foreign[app] += 1
                        continue
                    public.apply(record.key, record.value)
                    totals.apply(record.key, record.value)
                self._tell(f"reading {topic}, partition {tp.partition} of {self._slices}")

    # ---------------------------------------------------------------- one partition of all topics

    async def _compare_partition(
        self,
        reader: TopicReader,
        number: int,
        tps: dict[TopicPartition, Priority],
        committed: dict[Any, int],
        ends: dict[Any, int],
        sums: dict[Priority, PublicBounds],
    ) -> None:
        names = {tp: source_name(self._ids[tp.topic], tp.partition) for tp in tps}
        most = max(self._partitions.values())
        known = (source_name(each, n) for each in self._known_ids for n in range(number, most, self._slices))
        # Rows that are about to expire may be gone when their records have been read.
        kept_s = time.time() - retention_s(FINE, self._settings.lateness_s)
        rows = ChangelogRows(names.values(), known, self._span, self._budget)
        changelog = TopicPartition(self._settings.internal_topic("partial-counts-changelog"), number)
        start, end = (
            (await reader.beginnings([changelog]))[changelog],
            (await reader.ends([changelog]))[changelog],
        )
        async for records in reader.records(changelog, start, end):
            for record in records:
                rows.apply(record.key, record.value)
            self._tell(f"reading {changelog.topic}, partition {number} of {self._slices}")
        lives = {tp: rows.life(name) for tp, name in names.items()}
        self._found.strange |= rows.strange
        self._found.ended |= rows.ended
        self._found.gone |= rows.gone
        for tp, priority in tps.items():
            life = lives[tp]
            name = source_name(self._ids[tp.topic], tp.partition, life.name)
            tally = SourceRecount(
                rows.of(name),
                committed.get(tp, 0),
                ends[tp],
                self._span,
                sums[priority],
                self._budget,
            )
            if tp not in committed and ends[tp]:
                self._found.uncommitted.append(f"{tp.topic}/{number}")
            if life.earlier:
                tally.not_whole()
            spans = rows.rules_of(name)
            history = RuleHistory(spans, spans[-1].rules, -1) if spans else None
            covered_s = await self._count_again(reader, priority, tp, tally, history, life.begin)
            sums[priority].covered_from_s = max(sums[priority].covered_from_s, covered_s)
            for difference in tally.differences(
                priority.value, f"{tp.topic}/{number}", kept_from_s=kept_s, covered_from_s=covered_s
            ):
                self._found.add(difference, public=False)
            self._found.buckets += tally.buckets
            self._found.records += tally.records
            self._found.dead_letters += tally.dead_letters
            tally.close()
        rows.close()

    async def _count_again(
        self,
        reader: TopicReader,
        priority: Priority,
        tp: TopicPartition,
        tally: SourceRecount,
        history: RuleHistory | None,
        begin: int,
    ) -> float:
        """Count the records of one source with the workers' own code; return from when on it is covered.

        Those before offset ``begin`` belong to an earlier life of it, of which some are gone.
        """
        beginning = max(begin, (await reader.beginnings([tp]))[tp])
        end = min(tally.end, (await reader.ends([tp]))[tp])
        first = await reader.first(tp, beginning, end)
        brokers_clock = first is not None and getattr(first, "timestamp_type", 0) == 1
        covered_s = covered_from_s(
            beginning,
            end,
            None if first is None else first.timestamp,
            brokers_clock=brokers_clock,
            future_s=FUTURE_S,
        )
        if first is not None:
            window = max(beginning, await self._start(reader, tp, end) if brokers_clock else beginning)
            start = beginning if self._all else window
            if start or self._span.end_s < time.time():
                tally.not_whole()
            await self._count(reader, priority, tp, tally, start, end, brokers_clock, history)
            if (now := (await reader.beginnings([tp]))[tp]) > start:
                tally.not_whole()  # retention deleted some of them meanwhile
            if now > window:
                covered_s = math.inf
        elif beginning:
            tally.not_whole()
            covered_s = covered_s if tally.rows else 0.0
        elif not tally.rows:
            covered_s = 0.0  # nothing there, and nothing counted
        if covered_s > self._span.start_s:
            self._found.trimmed[f"{tp.topic}/{tp.partition}"] = covered_s
        if f"{tp.topic}/{tp.partition}" in self._found.unreadable:
            tally.not_whole()
            return math.inf  # whatever is counted beyond what can be read may be of what cannot
        return covered_s

    async def _start(self, reader: TopicReader, tp: TopicPartition, end: int) -> int:
        # A notification's own time may be ahead of the broker's by so much.
        found = await reader.offset_at(tp, max(0, (self._span.start_s - FUTURE_S) * 1000))
        return end if found is None else found

    async def _count(
        self,
        reader: TopicReader,
        priority: Priority,
        tp: TopicPartition,
        tally: SourceRecount,
        start: int,
        end: int,
        brokers_clock: bool,
        history: RuleHistory | None,
    ) -> None:
        settings = self._settings
        ingest = Ingest(settings, _Nowhere())  # type: ignore[arg-type]
        counter = SourceCounter(
            "verify", VersionedRows(_NoRows(), ""), max_event_types=_NO_END, lateness_s=settings.lateness_s
        )
        counter.processed = start - 1
        lateness_s = settings.lateness_s
        if history is not None:
            counter.count_by(history)
            lateness_s = max(lateness_s, history.lateness_s)
        last_ms = (self._span.end_s + lateness_s) * 1000
        async for fetched in reader.records(tp, start, end):
            records = await self._corrupt.known(tp, fetched)
            index = 0
            while index < len(records):
                cut = tally.cut(records[index].offset)
                stop = index
                while stop < len(records) and records[stop].offset < cut:
                    stop += 1
                some = records[index:stop]
                await ingest.handle(RecordBatch(priority, tp.topic, tp.partition, some, None), counter)
                counter.last_seen.take()  # nobody asks
                tally.add(counter.take_pending(), some[-1].offset)
                self._read += len(some)
                index = stop
            read = quantity(self._read, "record", show=thousands)
            self._tell(
                f"{read} read, now {tp.topic}, partition {tp.partition} of {self._partitions[tp.topic]}"
            )
            if brokers_clock and records and (records[-1].timestamp or 0) > last_ms:
                return  # no later record can lie in these buckets

    def _tell(self, sentence: str) -> None:
        now = time.monotonic()
        if now - self._said_at > _SAY_S:
            self._said_at = now
            self._say(sentence)


def _writer(value: bytes | None) -> str:
    try:
        return app_of(value)
    except ValueError:
        return ""


class _Nowhere:
    """Takes alerts and dead letters, which workers have sent already."""

    def of(self, _: Any) -> _Nowhere:
        """Take those of any partition."""
        return self

    def send_now(self, *_: Any) -> bool:
        """Send nothing, at once."""
        return True

    async def send(self, *_: Any) -> None:
        """Send nothing."""

    async def send_all(self, *_: Any) -> None:
        """Send nothing."""


class _NoRows:
    """The table of a worker that has counted nothing yet."""

    def scan(self, _start: bytes, _end: bytes) -> list[tuple[bytes, bytes]]:
        """Find nothing."""
        return []
