"""The least that a consumer can do: an aiokafka loop that parses with orjson and counts into a dictionary."""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.benchmarks.cluster import notification_topics
from tests.benchmarks.handled import HandledTimes
from tests.benchmarks.produce_requests import count_produce_requests
from tests.benchmarks.progress import Progress, burn
from tests.benchmarks.spec import RunSpec, from_command_line

_COMMIT_S = 1.0


async def run(spec: RunSpec) -> None:
    """Consume until stopped; commit every second. With the option ``forward``, send CRITICAL on.

    Then ``linger_ms`` and ``acks`` are the producer's; 0 and 1 by default.
    """
    progress = Progress(spec.progress, spec.target)
    topics = {topic: priority.value for priority, topic in notification_topics(spec.prefix).items()}
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=spec.brokers,
        group_id=spec.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    producer = None
    if spec.option("forward"):
        count_produce_requests(spec.folder, spec.alerts)
        producer = AIOKafkaProducer(
            bootstrap_servers=spec.brokers,
            linger_ms=spec.option("linger_ms") or 0,
            acks=spec.option("acks") or 1,
        )
        await producer.start()
    handled = HandledTimes(spec.folder)
    numbered = not spec.option("unnumbered")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    work_s = spec.work_us / 1e6
    committed_at = loop.time()
    while not stop.is_set():
        fetched = await consumer.getmany(timeout_ms=100)
        if fetched:
            progress.begin()
        for tp, records in fetched.items():
            priority = topics[tp.topic]
            if producer is not None and priority == "CRITICAL":
                for record in records:
                    if numbered:
                        handled.note(record.value)
                    await producer.send(spec.alerts + "critical", record.value)
            for record in records:
                counts[priority, orjson.loads(record.value)["event_type"]] += 1
                if work_s:
                    burn(work_s)
            progress.add(len(records), len(records) if priority == "DEBUG" else 0)
        if loop.time() - committed_at > _COMMIT_S:
            await consumer.commit()
            committed_at = loop.time()
    await consumer.stop()
    if producer is not None:
        await producer.stop()


if __name__ == "__main__":
    uvloop.run(run(from_command_line()))
