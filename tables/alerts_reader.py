"""Reads the ends of the alert topics into memory, on every worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from streams.log_lines import BOUNDED
from streams.notifications.masking import Masker
from streams.notifications.priority import Priority
from streams.records import PlacedRecord
from streams.retries import Backoff
from streams.settings import Settings
from streams.transport.turns import let_others_pass
from streams.upstream.clients import know_topics
from streams.upstream.corrupt_batches import Corrupt
from streams.upstream.fetch_progress import FetchProgress
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, fetch_topics
from tables.following import SILENT_S, Follower, follower_options
from tables.recent_alerts import Alert, AlertMemory, Place

log = logging.getLogger(__name__)

#: The longest is what pages may be late by after an outage of the brokers.
_RETRY: Final = Backoff(1.0, factor=2, most_s=5.0)
#: Seconds that the event loop is held at a time.
_PIECE_S: Final = 0.0005
#: Records taken at a time, and the seconds of rest after each time: what a storm of alerts may cost. What it
#: has more lies out of reach soon.
_MOST_RECORDS: Final = 100
_REST_S: Final = 0.02
#: The rest of all partitions together to which more comes than is kept: what is taken now is soon forgotten,
#: and the worker has other work. The others, where one alert may be what somebody waits for, are read on.
_STORM_REST_S: Final = 0.2
#: Bytes asked for per partition and per fetch.
_PARTITION_BYTES: Final = 128 * 2**10
_FETCH_BYTES: Final = 512 * 2**10
#: Bytes that reading back asks for at a time in one partition, about, and offsets of the first time.
_CHUNK_BYTES: Final = 256 * 2**10
_FIRST_CHUNK: Final = 16
_LARGEST_CHUNK: Final = 500
#: Bytes that are read back at most.
_MOST_READ_BACK: Final = 256 * 2**20
#: Seconds between looks at what the topics are and where their partitions begin.
_LOOK_INTERVAL_S: Final = 10.0

_Found = TypeVar("_Found")

#: Topic -> its id and how many partitions it has, of those that are there.
_Layout = Mapping[str, tuple[str, int]]


class _ChangedError(Exception):
    """The topics are not what they were: all is to be read again."""


class _DeniedError(Exception):
    """A topic may not be read."""


class AlertsReader(Follower):
    """Follows the ends of all partitions of the alert topics, without a consumer group.

    Args:
        topics: alert topic -> its priority.
        options: of the aiokafka client.
        most: alerts of a feed; 0 to read nothing.
        patterns: of event types for which alerts are kept of their own.
        masked_keys: words that name a secret, besides the built-in ones, in what is shown of alerts.
        clock: the time in seconds since 1970.
        steady: seconds, only for differences.
    """

    def __init__(
        self,
        topics: Mapping[str, Priority],
        options: dict[str, Any],
        *,
        most: int,
        patterns: Sequence[str] = (),
        masked_keys: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        usual = follower_options(
            options,
            self._left_out,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_PARTITION_BYTES,
            fetch_max_bytes=_FETCH_BYTES,
        )
        super().__init__(usual, _RETRY, steady)
        self._topics = topics
        self._most = most
        self.patterns = tuple(patterns)
        self._clock = clock
        #: Topic -> partition -> when it had been seen to its end, by the steady clock; of all in memory.
        self._seen: dict[str, dict[int, float]] = {}
        self._masker = Masker(masked_keys)
        self._memory = AlertMemory(topics, {}, most, patterns, self._masker)
        self._changes_before = 0
        #: Whether the ends of all partitions were read once.
        self.complete = False
        #: Why nothing can be read, or not all of it, one sentence; None while it can.
        self.trouble: str | None = None
        #: Set anew whenever there are other alerts.
        self._changed = asyncio.Event()

    @classmethod
    def of(cls, settings: Settings, options: dict[str, Any]) -> AlertsReader:
        """A reader of the topics of forwarded alerts."""
        return cls(
            {settings.alert_topic(each): each for each in settings.forward_priorities},
            options,
            most=settings.feed_entries,
            patterns=settings.feed_patterns,
            masked_keys=settings.web_masked_keys,
        )

    @property
    def most(self) -> int:
        """Alerts of a feed."""
        return self._most

    @property
    def changes(self) -> int:
        """Grows whenever other alerts are found than before."""
        return self._changes_before + self._memory.changes

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which every alert is taken in; 0 before all were.

        It stands still while a broker does not answer, and while this process is behind.
        """
        if not self.complete:
            return 0.0
        now = self._steady()
        seen = min((self._seen[topic][number] for topic, number in self._memory.places), default=now)
        return self._clock() - (now - seen)

    @property
    def missing(self) -> list[Place]:
        """Partitions that were not seen to their end in the last 10 s."""
        since = self._steady() - SILENT_S
        return [
            (topic, number) for topic, number in self._memory.places if self._seen[topic][number] <= since
        ]

    async def changed(self) -> None:
        """Wait until there are other alerts than now."""
        await self._changed.wait()

    async def newest(
        self, *, priority: Priority | None = None, event_type: str | None = None, most: int | None = None
    ) -> list[Alert]:
        """Alerts, newest first, each id once, the same ones on every worker.

        Args:
            priority: only those of it; None for all.
            event_type: a pattern with ``*`` and ``?``; None for all.
            most: how many; the number that is kept of a feed when None.
        """
        return await _result(self._memory.newest(priority=priority, event_type=event_type, most=most))

    async def at(self, topic: str, partition: int, offset: int) -> Alert | None:
        """The alert at one place of its topic; None where it is not kept."""
        return await _result(self._memory.at((topic, partition), offset))

    def start(self) -> None:
        """Start reading in the background."""
        if self._most and self._topics:
            self._begin("alerts-reader")
        else:
            self.complete = True

    def _ended(self, error: Exception) -> bool:
        if isinstance(error, _ChangedError):
            return True
        if isinstance(error, (_DeniedError, TopicAuthorizationFailedError)):
            topic = error.args[0]
            if self.trouble is None:
                log.warning("Feeds of alerts need what alerts do not: grant Read on %s.", topic)
            # It may have been read before: what came since is missing.
            self.trouble, self.complete = f"This worker may not read {topic}: grant Read on it.", False
        else:
            log.warning("Reading alerts failed (%r); trying again.", error)
        return False

    async def _layout(self, consumer: aiokafka.AIOKafkaConsumer, before: _Layout) -> _Layout:
        found = await fetch_topics(consumer, self._topics)
        layout: dict[str, tuple[str, int]] = {}
        for name, topic in found.items():
            if topic.error == NOT_AUTHORISED or (topic.error is None and not topic.may_read):
                raise _DeniedError(name)
            if topic.error is None:
                layout[name] = topic.topic_id, topic.partitions
            elif topic.error != UNKNOWN_TOPIC and name in before:
                layout[name] = before[name]  # it says nothing new
        return layout

    async def _read(self, consumer: aiokafka.AIOKafkaConsumer) -> NoReturn:
        layout = await self._layout(consumer, {})
        numbers = {topic: number for topic, (_, number) in layout.items()}
        memory = AlertMemory(self._topics, numbers, self._most, self.patterns, self._masker)
        places = [TopicPartition(*place) for place in memory.places]
        asked_at = self._steady()
        await know_topics(consumer, numbers)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(places)
        consumer.assign(places)
        for tp in places:
            consumer.seek(tp, ends[tp])
        consumer.pause(*places)
        left = _MOST_READ_BACK
        for tp in places:
            left -= await self._read_back(consumer, memory, tp, begins[tp], ends[tp], left)
        for tp in places:
            consumer.seek(tp, ends[tp])
        consumer.resume(*places)
        self._changes_before += self._memory.changes + 1
        self._seen = {topic: dict.fromkeys(range(number), asked_at) for topic, number in numbers.items()}
        progress = {
            topic: FetchProgress(consumer, self._seen[topic], self._steady, topic) for topic in numbers
        }
        self._memory, self.complete = memory, True
        self.trouble = _of_missing([topic for topic in self._topics if topic not in layout])
        self._tell()
        look_at = self._steady() + _LOOK_INTERVAL_S
        resting: dict[TopicPartition, float] = {}
        while True:
            rested = [tp for tp, until in resting.items() if until <= self._steady()]
            for tp in rested:
                del resting[tp]
            consumer.resume(*rested)
            timeout_ms = int(_STORM_REST_S * 1000) if resting else 1000
            fetched = await consumer.getmany(timeout_ms=timeout_ms, max_records=_MOST_RECORDS)
            for tp, records in fetched.items():
                if await self._take(consumer, memory, tp, records):
                    consumer.pause(tp)
                    resting[tp] = self._steady() + _STORM_REST_S * (1 + len(resting))
                progress[tp.topic].taken(tp.partition, records[-1].offset + 1)
            if fetched:
                self._tell()
                await asyncio.sleep(_REST_S)
            if self._steady() > look_at:
                look_at = self._steady() + _LOOK_INTERVAL_S
                if await self._layout(consumer, layout) != layout:
                    raise _ChangedError
                for tp, begin in (await consumer.beginning_offsets(places)).items():
                    memory.forget((tp.topic, tp.partition), begin)

    async def _take(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        memory: AlertMemory,
        tp: TopicPartition,
        records: Sequence[PlacedRecord],
    ) -> bool:
        """Take records in; return whether more has come than is kept, of which the rest was passed over."""
        place = (tp.topic, tp.partition)
        await _in_pieces(memory.take(place, records))
        position = records[-1].offset + 1
        known_end = max(position, consumer.highwater(tp) or 0)
        memory.forget(place, known_end - memory.reach)
        is_storm = position < known_end - memory.reach
        if is_storm:
            consumer.seek(tp, known_end - memory.reach)
        return is_storm

    async def _read_back(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        memory: AlertMemory,
        tp: TopicPartition,
        begin: int,
        known_end: int,
        most_bytes: int,
    ) -> int:
        """Take in what lies before the end of a partition, from there back; return how many bytes came."""
        place = (tp.topic, tp.partition)
        begin, upper, chunk, nbytes = max(begin, known_end - memory.reach), known_end, _FIRST_CHUNK, 0
        while upper > begin and nbytes < most_bytes and not memory.is_full(place):
            lower = max(begin, upper - chunk)
            records: list[PlacedRecord] = []
            consumer.seek(tp, lower)
            consumer.resume(tp)
            position = lower
            while position < upper:
                fetched = await consumer.getmany(tp, timeout_ms=1000, max_records=_MOST_RECORDS)
                records += [each for each in fetched.get(tp, ()) if each.offset < upper]
                position = await consumer.position(tp)
                await let_others_pass()
            consumer.pause(tp)
            size = sum(len(each.value or b"") for each in records)
            nbytes += size
            await _in_pieces(memory.take_older(place, records))
            upper = lower
            mean = max(1, size // max(1, len(records)))
            chunk = max(_FIRST_CHUNK, min(_LARGEST_CHUNK, _CHUNK_BYTES // mean))
        return nbytes

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _left_out(self, tp: TopicPartition, corrupt: Corrupt) -> None:
        log.error("%s. Feeds leave out the alerts that lay there.", corrupt.sentence(tp), extra=BOUNDED)


def _of_missing(topics: Sequence[str]) -> str | None:
    """The sentence for alert topics that are not there."""
    if not topics:
        return None
    which = f"topic {topics[0]}" if len(topics) == 1 else f"topics {', '.join(topics)}"
    these = "its" if len(topics) == 1 else "their"
    return f"There is no {which}, so {these} alerts are not shown: make it with `tocsin topics apply`."


async def _result(steps: Generator[None, None, _Found]) -> _Found:
    """Run all of ``steps``, giving way in between, and return what they end in."""
    since = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            found: _Found = ended.value
            return found
        if time.perf_counter() - since > _PIECE_S:
            await let_others_pass()
            since = time.perf_counter()


async def _in_pieces(steps: Iterator[Alert]) -> None:
    """Run all of ``steps``, giving way in between."""
    since = time.perf_counter()
    for _ in steps:
        if time.perf_counter() - since > _PIECE_S:
            await let_others_pass()
            since = time.perf_counter()
