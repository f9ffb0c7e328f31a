"""What lies in topics: read whole, without a consumer group, and without Tocsin's own readers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams.settings import Settings
from tables.reserved_types import DEAD_LETTERS
from tables.totals import Totals
from tests.admin import PATIENT, admin_of
from tests.integration.worker_process import BOUND_S, Worker, eventually
from tests.window_counts import counts_in

Name = TypeVar("Name", bound=tuple[Any, ...])
#: (priority, event type) -> number of notifications
Counts = Counter[tuple[str, str]]
#: Stops of a worker: that two of them meet the end of a minute is luck, that four do is a fault.
_MOST_STOPS = 4


@asynccontextmanager
async def _consumer(bootstrap: str, topics: Sequence[str]) -> AsyncIterator[Any]:
    # Without a group it takes all partitions itself.
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **PATIENT,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_all(bootstrap: str, *topics: str) -> list[Any]:
    """Every record that the topics hold now, in the order of offsets within a partition."""
    async with _consumer(bootstrap, topics) as consumer:
        places = list(consumer.assignment())
        ends = await consumer.end_offsets(places)
        found: list[Any] = []

        async def to_the_end() -> bool:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(records)
            return all([await consumer.position(place) >= ends[place] for place in places])

        await eventually(f"{', '.join(topics)} read to the end", to_the_end)
        return found


async def end_offsets(bootstrap: str, *topics: str) -> dict[TopicPartition, int]:
    """The offset after the last record, of every partition of the topics."""
    async with _consumer(bootstrap, topics) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(consumer.assignment()))
        return ends


async def committed_offsets(settings: Settings) -> dict[TopicPartition, int]:
    """What the group of the workers has committed."""
    async with admin_of(settings.brokers) as admin:
        found = await admin.list_consumer_group_offsets(settings.app_id)
        return {place: each.offset for place, each in found.items()}


def notification_topics(settings: Settings) -> list[str]:
    """The notification topics of the workers."""
    return [settings.notification_topic(priority) for priority in settings.priorities]


async def all_committed(settings: Settings) -> bool:
    """Whether the group has committed the end of every notification topic."""
    return await _ends_committed(settings, *notification_topics(settings))


async def all_combined(settings: Settings) -> bool:
    """Whether all that workers have sent to the combiners is in the public counts."""
    return await _ends_committed(settings, settings.internal_topic("partials"))


async def _ends_committed(settings: Settings, *topics: str) -> bool:
    ends = await end_offsets(settings.brokers, *topics)
    try:
        committed = await committed_offsets(settings)
    except GroupCoordinatorNotAvailableError:
        return False  # a fresh broker, or one that was just given up and taken back
    # Where nothing lies, nothing needs to be committed.
    return all(committed.get(place, 0) == end for place, end in ends.items())


async def stop_combined(worker: Worker, settings: Settings) -> None:
    """Stop the only worker, with all that it has sent to the combiners combined.

    A minute may be over just when it is told to stop: what it sends of that the next worker combines, and
    until then `tocsin verify` can compare nothing.
    """
    for _ in range(_MOST_STOPS):
        await worker.stop()
        if await all_combined(settings):
            return
        await worker.start().ready()
        await eventually("all is combined", lambda: all_combined(settings))
    raise AssertionError(f"{_MOST_STOPS} times a worker that stopped left something to combine")


class PublicCounts:
    """The public topic of counts, followed from its beginning."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.totals = Totals()

    async def refresh(self) -> Counts:
        """Take in what has come, and return the totals of every priority and event type."""
        for records in (await self._consumer.getmany(timeout_ms=50)).values():
            for record in records:
                self.totals.apply(record.key, record.value)
        return self.now()

    def now(self, window: str = "total") -> Counts:
        """The counts as last taken in."""
        counts = counts_in(self.totals, window, time.time())
        return Counter({(each.priority, each.event_type): each.count for each in counts})

    def by_bucket(
        self, names: Iterable[tuple[str, str]], start_s: int, end_s: int
    ) -> Counter[tuple[str, str, int]]:
        """Priority, event type and 10 s bucket, from ``start_s`` to before ``end_s``."""
        return +Counter(
            {
                (priority, event_type, bucket): count
                for priority, event_type in names
                for bucket, count in self.totals.series(event_type, priority, 10, start_s, end_s)
            }
        )

    async def reach(self, expected: Counts, *, deadline_s: float = BOUND_S) -> None:
        """Wait until as many are counted as ``expected``, then until every count is the expected one."""

        async def enough() -> bool:
            return (await self.refresh()).total() >= expected.total()

        try:
            await eventually(f"{expected.total()} counted", enough, deadline_s=deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; {difference(self.now(), expected)}") from None
        assert self.now() == expected, difference(self.now(), expected)


@asynccontextmanager
async def public_counts(settings: Settings) -> AsyncIterator[PublicCounts]:
    """Follow the public topic of counts; the workers must have created it."""
    async with _consumer(settings.brokers, [settings.event_counts_topic]) as consumer:
        yield PublicCounts(consumer)


async def counts_at_rest(settings: Settings) -> PublicCounts:
    """The public topic of counts as it is now, once no worker writes to it any more."""
    counts = PublicCounts(None)
    for record in await read_all(settings.brokers, settings.event_counts_topic):
        counts.totals.apply(record.key, record.value)
    return counts


async def published_by_bucket(settings: Settings) -> Counter[tuple[str, str, int]]:
    """Priority, event type and 10 s bucket of all that lies in the notification topics, by stated times.

    Only for records in the seed's form, whose priority is that of the topic and whose time is believed.
    """
    found: Counter[tuple[str, str, int]] = Counter()
    for record in await read_all(settings.brokers, *notification_topics(settings)):
        message = orjson.loads(record.value)
        moment = datetime.fromisoformat(message["timestamp"]).replace(tzinfo=UTC)
        bucket = int(moment.timestamp()) // 10 * 10
        found[message["priority"], message["event_type"], bucket] += 1
    return found


async def check_counts_at_rest(settings: Settings, published: Counts) -> None:
    """Once all workers are gone: every count is exact, in the totals and in the windows."""
    at_rest = await counts_at_rest(settings)
    assert at_rest.now() == published, difference(at_rest.now(), published)
    expected = await published_by_bucket(settings)
    buckets = [bucket for _, _, bucket in expected]
    found = at_rest.by_bucket(published, min(buckets), max(buckets) + 10)
    assert found == expected, difference(found, expected)


def difference(found: Counter[Name], expected: Counter[Name]) -> str:
    """In which counts two differ, for people."""
    names = sorted(name for name in found | expected if found[name] != expected[name])
    shown = ", ".join(f"{name}: {found[name]} for {expected[name]}" for name in names[:20])
    return f"{found.total()} counted for {expected.total()}; {shown or 'no difference'}"


def without_dead_letters(counts: Counts) -> Counts:
    """The counts of what could be read."""
    return Counter({name: count for name, count in counts.items() if name[1] != DEAD_LETTERS})


def dead_letters_in(counts: Counts) -> int:
    """How many are counted as dead letters."""
    return sum(count for (_, event_type), count in counts.items() if event_type == DEAD_LETTERS)
