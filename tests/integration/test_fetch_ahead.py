"""What the Kafka client holds besides the buffers has a bound, however many partitions there are."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import aiokafka
import pytest
from aiokafka.admin import NewTopic

from streams.notifications import Priority
from streams.scheduling.scheduler import ClassSpec, Scheduler
from streams.transport.fetch_lane import FetchLane
from streams.transport.lane import FETCH_WAIT_MS
from streams.upstream.bulk_records import held_by
from tests.admin import PATIENT, create_topics
from tests.integration.worker_process import eventually
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

PARTITIONS = 16
RECORDS = 4  # in each of them
SIZE = 100_000
FETCH_BYTES = 2**16
#: What is left to be fetched ahead is at most this much, and then comes what a broker sends at once.
MOST_HELD = 2 * 4 * FETCH_BYTES + SIZE


async def fill(bootstrap: str, topic: str) -> None:
    await create_topics(bootstrap, NewTopic(topic, PARTITIONS, 1))
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, **PATIENT) as producer:
        for number in range(PARTITIONS * RECORDS):
            await producer.send_and_wait(topic, bytes(SIZE), partition=number % PARTITIONS)


class Reader:
    """A lane with a small buffer."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.scheduler: Scheduler[Priority, int, Any] = Scheduler([ClassSpec(Priority.DEBUG, 1.0, 0, SIZE)])
        self.failed: list[BaseException] = []
        self.lane = FetchLane(
            Priority.DEBUG,
            topic,
            self.scheduler,
            {"bootstrap_servers": bootstrap},
            fetch_bytes=FETCH_BYTES,
            on_records=lambda: None,
            on_failed=self.failed.append,
        )

    async def start(self) -> Any:
        """Begin with the first records, and return the Kafka client."""
        await self.lane.assign(dict.fromkeys(range(PARTITIONS), 0))
        return self.lane._consumer

    def take(self, taken: dict[int, list[int]]) -> None:
        """Take what there is, to where the offsets are noted."""
        while (dispatch := self.scheduler.next()) is not None:
            taken[dispatch.partition] += [record.offset for record in dispatch.records]
            self.scheduler.done(dispatch, 0.001)
        self.lane.has_room()


async def test_a_full_lane_holds_little_and_loses_nothing(kafka: LocalKafka, unique: str) -> None:
    await fill(kafka.bootstrap, unique)
    reader = Reader(kafka.bootstrap, unique)
    client = await reader.start()
    await eventually(
        "all is paused, and nothing on its way",
        lambda: len(client.paused()) == PARTITIONS and not client._fetcher._in_flight,
    )
    assert client._fetcher._fetch_max_wait_ms < FETCH_WAIT_MS
    assert held_by(client) <= MOST_HELD
    taken: dict[int, list[int]] = defaultdict(list)

    def all_taken() -> bool:
        assert held_by(client) <= MOST_HELD
        reader.take(taken)
        return sum(map(len, taken.values())) >= PARTITIONS * RECORDS

    await eventually("every record is taken", all_taken)
    await reader.lane.revoke()
    assert taken == {partition: list(range(RECORDS)) for partition in range(PARTITIONS)}
    assert reader.failed == []


async def test_a_lane_that_does_not_pause_holds_something_of_every_partition(
    kafka: LocalKafka, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    await fill(kafka.bootstrap, unique)
    monkeypatch.setattr(aiokafka.AIOKafkaConsumer, "pause", lambda _self, *_partitions: None)
    reader = Reader(kafka.bootstrap, unique)
    client = await reader.start()
    await eventually("more is held than may be", lambda: held_by(client) > MOST_HELD)
    await reader.lane.revoke()
