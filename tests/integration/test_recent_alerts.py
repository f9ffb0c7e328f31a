"""The last alerts in the memory of workers, read from real alert topics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.broker.client_options import client_options
from streams.notifications.priority import Priority
from streams.settings import load_settings
from streams.upstream.topic_ids import fetch_topics
from tables.alerts_reader import AlertsReader
from tables.recent_alerts import Alert
from tests.admin import PATIENT, raise_partitions
from tests.integration.worker_process import eventually
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

PARTITIONS = 2
PATTERN = "disk.*"


class Topics:
    """The alert topics of one test, what lies in them, and readers of them."""

    def __init__(self, bootstrap: str, unique: str, producer: Any, admin: Any) -> None:
        self.topics = {f"{unique}.critical": Priority.CRITICAL, f"{unique}.error": Priority.ERROR}
        self.critical, self.error = self.topics
        self.layout = dict.fromkeys(self.topics, ("one", PARTITIONS))
        self._options = client_options(load_settings(brokers=bootstrap))
        self._producer = producer
        self._admin = admin

    async def create(self, *topics: str, partitions: int = PARTITIONS) -> None:
        """Create topics, as soon as none of them is there."""
        config = {"message.timestamp.type": "LogAppendTime"}
        wanted = [NewTopic(topic, partitions, 1, topic_configs=config) for topic in topics]

        async def created() -> bool:
            answer = await self._admin.create_topics(wanted)
            return all(error[1] == 0 for error in answer.topic_errors)

        await eventually("the topics are created", created)
        # Until the broker knows them, a reader does not find them, and a writer may write to former ones.
        await self._known(topics, there=True)

    async def delete(self, topic: str) -> None:
        """Delete a topic."""
        await self._admin.delete_topics([topic])
        await self._known([topic], there=False)

    async def _known(self, topics: Collection[str], *, there: bool) -> None:
        async def known() -> bool:
            found = await fetch_topics(self._admin, topics)
            return all((found[topic].error is None) == there for topic in topics)

        await eventually("the broker knows what is there", known)

    async def raise_partitions(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions; they are there, as the broker and the producer know."""
        await raise_partitions(self._admin, [topic], partitions)
        await self._producer.client.add_topic(topic)

        async def known() -> bool:
            await self._producer.client.force_metadata_update()
            return self._producer.client.cluster.partitions_for_topic(topic) == set(range(partitions))

        await eventually(f"the producer knows {partitions} partitions", known)

    async def write(self, topic: str, partition: int, names: Mapping[str, str], value: bytes = b"{}") -> None:
        """Write alerts, given as event types by id."""
        batch = self._producer.create_batch()
        for ce_id, event_type in names.items():
            headers = [("ce_id", ce_id.encode()), ("ce_subject", event_type.encode())]
            assert batch.append(timestamp=None, key=None, value=value, headers=headers) is not None
        await (await self._producer.send_batch(batch, topic, partition=partition))

    @asynccontextmanager
    async def reader(
        self,
        most: int = 20,
        steady: Callable[[], float] = time.monotonic,
        patterns: Sequence[str] = (PATTERN,),
    ) -> AsyncIterator[AlertsReader]:
        """A reader that has read what was there."""
        reader = AlertsReader(self.topics, self._options, most=most, patterns=patterns, steady=steady)
        reader.start()
        try:
            await eventually("the ends are read", lambda: reader.complete)
            yield reader
        finally:
            await reader.stop()


@pytest.fixture
async def topics(kafka: LocalKafka, unique: str) -> AsyncIterator[Topics]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap, **PATIENT)
    await admin.start()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_batch_size=2**20, **PATIENT)
    made = Topics(kafka.bootstrap, unique, producer, admin)
    await made.create(*made.topics)
    await producer.start()
    yield made
    await producer.stop()
    await admin.close()


def ids(alerts: list[Alert]) -> list[str]:
    return [alert.ce_id for alert in alerts]


async def answers(reader: AlertsReader) -> list[list[str]]:
    return [
        ids(await reader.newest(priority=priority, event_type=event_type))
        for priority in (None, Priority.CRITICAL, Priority.ERROR)
        for event_type in (None, PATTERN, "*")
    ]


async def test_a_new_worker_has_what_one_has_that_saw_all_come(topics: Topics) -> None:
    async with topics.reader() as long:
        assert await long.newest() == []
        await topics.write(topics.error, 0, {f"d{n}": "disk.full" for n in range(3)})
        for begun in range(0, 1000, 100):
            await topics.write(topics.error, 0, {f"s{n}": "storm" for n in range(begun, begun + 100)})
        await topics.write(topics.critical, 1, {"c": "fire"})
        await topics.write(topics.error, 1, {"last": "quiet"})

        async def both_seen() -> bool:
            seen = ids(await long.newest())
            return "c" in seen and "s999" in seen and "last" in seen

        await eventually("the alerts have come", both_seen)
        async with topics.reader() as new:
            assert await answers(long) == await answers(new)
            assert ids(await new.newest(event_type=PATTERN)) == ["d2", "d1", "d0"]
            assert ids(await new.newest(priority=Priority.CRITICAL)) == ["c"]
            assert len(await new.newest()) == 20
            for each in (long, new):
                assert each.missing == []
                [fire] = await each.newest(priority=Priority.CRITICAL)
                assert await each.at(fire.topic, fire.partition, fire.offset) is fire
                assert await each.at(topics.critical, 1, 99) is None
            await topics.write(topics.critical, 0, {"later": "fire"})
            for each in (long, new):

                async def came(reader: AlertsReader = each) -> bool:
                    return ids(await reader.newest(most=1)) == ["later"]

                await eventually("the next alert has come", came)
            assert await answers(long) == await answers(new)


async def test_it_says_up_to_when_all_are_in_it(topics: Topics) -> None:
    ahead_s = 0.0
    async with topics.reader(steady=lambda: time.monotonic() + ahead_s) as reader:
        first = reader.as_of
        assert 0 < first <= time.time()
        await eventually("time moves on though nothing comes", lambda: reader.as_of > first)
        await topics.write(topics.error, 0, {"new": "disk.full"})
        written = time.time()
        await eventually("all that was written is in it", lambda: reader.as_of > written)
        assert ids(await reader.newest()) == ["new"]
        # The control: for 11 s no broker answers, so the time stands still, and nothing is known to be there.
        ahead_s = 11.0
        assert reader.as_of < time.time() - 10
        assert sorted(reader.missing) == sorted((topic, n) for topic in topics.topics for n in range(2))
        await eventually("brokers have answered", lambda: not reader.missing)
        assert reader.as_of > time.time() - 10


async def test_while_a_partition_in_a_storm_rests_the_others_are_read_on(topics: Topics) -> None:
    now_s = 1000.0
    async with topics.reader(steady=lambda: now_s, patterns=()) as reader:
        await topics.write(topics.error, 0, {f"s{n}": "storm" for n in range(1000)})

        def rests() -> bool:
            return reader._consumer is not None and bool(reader._consumer.paused())

        async def fire_seen(name: str) -> bool:
            return name in ids(await reader.newest(priority=Priority.CRITICAL))

        async def end_seen() -> bool:
            return "s999" in ids(await reader.newest())

        await eventually("the partition rests", rests)
        for name in ("c0", "c1", "c2"):
            await topics.write(topics.critical, 0, {name: "fire"})
            await eventually("an alert of another topic is seen", partial(fire_seen, name))
        assert not await end_seen()
        now_s += 1.0
        await eventually("the end of the storm is seen", end_seen)


async def test_reading_back_large_alerts_ends_when_there_is_no_room(topics: Topics) -> None:
    value = b'{"x":"' + b"x" * 60_000 + b'"}'
    for begun in range(0, 150, 10):
        await topics.write(topics.error, 0, {f"{n}": "disk.full" for n in range(begun, begun + 10)}, value)
    async with topics.reader(most=5000) as reader:
        found = await reader.newest()
        assert ids(found) == [f"{149 - n}" for n in range(len(found))]
        assert 20 < len(found) < 40
        assert reader.changes < 100  # what came before was not even read


async def test_a_topic_that_was_made_again_is_read_anew(topics: Topics) -> None:
    await topics.write(topics.error, 0, {"old": "disk.full", "older": "disk.full"})
    await topics.write(topics.critical, 0, {"stays": "disk.full"})
    async with topics.reader() as reader:
        assert sorted(ids(await reader.newest())) == ["old", "older", "stays"]
        await topics.delete(topics.error)
        await topics.create(topics.error, partitions=1)
        await topics.write(topics.error, 0, {"new": "disk.full"})

        async def only_new() -> bool:
            return sorted(ids(await reader.newest())) == ["new", "stays"]

        await eventually("what is gone is forgotten, what is new is there", only_new)
        assert reader.complete


async def test_a_topic_that_is_gone_is_told_until_it_is_there_again(topics: Topics) -> None:
    async with topics.reader() as reader:
        await topics.write(topics.error, 0, {"a": "x"})
        await eventually("it has come", lambda: reader.changes > 1)
        await topics.delete(topics.critical)
        await eventually("it is told", lambda: reader.trouble is not None)
        assert reader.trouble is not None
        assert f"There is no topic {topics.critical}, so its alerts are not shown" in reader.trouble
        assert ids(await reader.newest()) == ["a"], "those of the other topic are there"
        await topics.create(topics.critical)
        await topics.write(topics.critical, 0, {"b": "x"})
        await eventually("it is read again", lambda: reader.trouble is None)

        async def both() -> bool:
            return set(ids(await reader.newest())) == {"a", "b"}

        await eventually("alerts of both topics are there", both)


async def test_new_partitions_are_read(topics: Topics) -> None:
    async with topics.reader() as reader:
        await topics.raise_partitions(topics.error, PARTITIONS + 1)
        await topics.write(topics.error, PARTITIONS, {"new": "disk.full"})

        async def came() -> bool:
            return ids(await reader.newest()) == ["new"]

        await eventually("the alert of the new partition has come", came)
