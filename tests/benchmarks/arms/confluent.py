"""A loop around confluent-kafka's consumer (librdkafka): parses with orjson, counts into a dictionary."""

from __future__ import annotations

import signal
import time
from collections import defaultdict

import orjson
from confluent_kafka import Consumer, KafkaException, Producer

from tests.benchmarks.arms.topics import priorities_by_topic
from tests.benchmarks.handled import HandledTimes
from tests.benchmarks.progress import Progress, burn
from tests.benchmarks.spec import RunSpec, from_command_line

_COMMIT_S = 1.0
#: Records of one call. It waits for so many, or for the time, so that neither may be large.
_RECORDS = 500
_WAIT_S = 0.05


def run(spec: RunSpec) -> None:
    """Consume until stopped; commit every second. With the option ``forward``, send CRITICAL on."""
    progress = Progress(spec.progress, spec.target)
    handled = HandledTimes(spec.folder)
    numbered = not spec.option("unnumbered")
    topics = priorities_by_topic(spec.prefix)
    consumer = Consumer(
        {
            "bootstrap.servers": spec.brokers,
            "group.id": spec.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            # By default it pauses for a second when it has enough in memory, and then runs out.
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe(list(topics))
    producer = Producer(
        {
            "bootstrap.servers": spec.brokers,
            "linger.ms": spec.option("linger_ms") or 0,
            "acks": spec.option("acks") or "all",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    alerts = spec.alerts + "critical"
    forward = bool(spec.option("forward"))
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    work_s = spec.work_us / 1e6
    committed_at, new = time.monotonic(), False
    while not stopped:
        records = consumer.consume(_RECORDS, _WAIT_S)
        if records:
            progress.begin()
            new = True
        debug = 0
        for record in records:
            if (error := record.error()) is not None:
                raise KafkaException(error)
            value = record.value()
            priority = topics[record.topic()]
            if priority == "DEBUG":
                debug += 1
            elif forward and priority == "CRITICAL":
                if numbered:
                    handled.note(value)
                producer.produce(alerts, value)
            counts[priority, orjson.loads(value)["event_type"]] += 1
            if work_s:
                burn(work_s)
        progress.add(len(records), debug)
        producer.poll(0)
        if new and time.monotonic() - committed_at > _COMMIT_S:
            consumer.commit(asynchronous=False)
            committed_at, new = time.monotonic(), False
    producer.flush(5.0)
    if new:
        consumer.commit(asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    run(from_command_line())
