"""A lane sees that its broker has sent something before the event loop has read it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiokafka.admin import NewTopic
from confluent_kafka import Producer

from streams.notifications import Priority
from streams.scheduling.scheduler import ClassSpec, Scheduler
from streams.transport.fetch_lane import FetchLane
from tests.admin import create_topics
from tests.integration.worker_process import eventually
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

#: Longer than any answer of a broker takes.
_WITHIN_S = 60.0


async def test_what_a_broker_has_sent_is_seen_within_a_turn_of_the_loop(
    kafka: LocalKafka, unique: str
) -> None:
    await create_topics(kafka.bootstrap, NewTopic(unique, 1, 1))
    scheduler: Scheduler[Priority, int, Any] = Scheduler([ClassSpec(Priority.CRITICAL, 1.0, 0, 10**6)])
    failed: list[BaseException] = []
    lane = FetchLane(
        Priority.CRITICAL,
        unique,
        scheduler,
        {"bootstrap_servers": kafka.bootstrap},
        fetch_bytes=2**16,
        on_records=lambda: None,
        on_failed=failed.append,
    )
    assert not lane.has_arrivals()
    await lane.assign({0: 0})
    consumer = lane._consumer

    def asked() -> bool:
        return any(each._requests for each in consumer._client._conns.values()) and not lane.has_arrivals()

    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    until = time.monotonic() + _WITHIN_S
    seen = False
    # The broker may just have answered that there is nothing.
    while not seen:
        assert time.monotonic() < until, "nothing is seen"
        await eventually("a fetch is under way, and not answered", asked)
        before = len(scheduler)
        producer.produce(unique, b"{}")
        assert producer.flush(_WITHIN_S) == 0
        # Nothing here gives the loop a turn: it cannot have read anything.
        within = time.monotonic() + 2.0
        while not (seen := lane.has_arrivals()) and time.monotonic() < within:
            pass
        assert len(scheduler) == before
        await eventually("it is in the buffer", lambda least=before: len(scheduler) > least)  # type: ignore[misc]
    await lane.revoke()
    assert not lane.has_arrivals()
    assert not failed
