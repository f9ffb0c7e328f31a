"""Publishers, in processes of their own.

``python -m tests.benchmarks.load '{"kind": "fill", ...}'`` publishes a number of notifications and ends;
``"keep"`` goes on and tops up what a worker has consumed; ``"steady"`` publishes CRITICAL at a fixed rate,
each with the time it was published at.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer

from streams.broker.producers.batches import BatchSender
from streams.outgoing import Outgoing
from tests.benchmarks.processes import BenchmarkError, Child
from tests.benchmarks.progress import Progress
from tests.leash import die_with_parent

_AHEAD_BYTES = 16 * 2**20
_CHUNK = 500
_KEEP_POLL_S = 0.02

#: Shares of a mixed load. More CRITICAL and ERROR than a healthy fleet has, so that every class shows.
MIX = {"debug": 0.55, "info": 0.30, "warn": 0.10, "error": 0.04, "critical": 0.01}


@dataclass(frozen=True, slots=True)
class Load:
    """What a publisher is told.

    Attributes:
        kind: fill, keep or steady.
        brokers: bootstrap addresses.
        prefix: of the notification topics.
        messages: how many to publish; for keep, how many to hold unconsumed.
        size: bytes of a message.
        mix: share of each priority.
        event_types: how many distinct ones.
        rate: messages a second, for steady.
        consumed: progress file of the worker, for keep.
        progress: progress file of the publisher.
        result: file for the times of publishing, for steady.
        seed: of the random choices.
        hop: topic that gets the same between two messages, for steady: what Kafka alone takes.
    """

    kind: str
    brokers: str
    prefix: str
    messages: int
    progress: str
    size: int = 300
    mix: dict[str, float] = field(default_factory=lambda: dict(MIX))
    event_types: int = 200
    rate: float = 0.0
    consumed: str = ""
    result: str = ""
    seed: int = 1
    hop: str = ""

    @property
    def command(self) -> tuple[str, str]:
        """Module and argument of the publisher's process."""
        return "tests.benchmarks.load", json.dumps(asdict(self))

    def run(self, log: Path, timeout_s: float = 600.0) -> None:
        """Run the publisher to its end."""
        Child(*self.command, log=log).wait(timeout_s)
        if Progress(self.progress).handled != self.messages:
            raise BenchmarkError(f"Only {Progress(self.progress).handled} of {self.messages} were published.")


def notifications(load: Load) -> Iterator[Outgoing]:
    """Notifications in the seed's flat form, without end. The time is that of the making, to a chunk."""
    chosen = random.Random(load.seed)
    priorities = list(load.mix)
    weights = list(load.mix.values())
    types = [f"compute.instance.operation_{number:04d}.end" for number in range(load.event_types)]
    topics = {priority: load.prefix + priority for priority in priorities}
    number = 0
    while True:
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        for priority in chosen.choices(priorities, weights, k=_CHUNK):
            number += 1
            head = (
                f'{{"message_id": "{number:032x}", "publisher_id": "compute.host{number % 40:02d}", '
                f'"timestamp": "{stamp}", "priority": "{priority.upper()}", '
                f'"event_type": "{types[int(chosen.random() * load.event_types)]}", '
                f'"payload": {{"instance_id": {number}, "state": "'
            )
            yield Outgoing(topics[priority], (head + "x" * (load.size - len(head) - 3) + '"}}').encode())


async def _fill(load: Load) -> None:
    progress = Progress(load.progress)

    def settled(messages: list[Outgoing], error: Exception | None) -> None:
        if error is not None:
            raise error
        progress.add(len(messages))

    sender = BatchSender({"bootstrap_servers": load.brokers}, settled, batch_bytes=2**18, linger_s=0.05)
    await sender.start()
    made = notifications(load)

    async def publish(count: int) -> None:
        for message in itertools.islice(made, count):
            sender.add(message)
            if sender.pending_bytes >= _AHEAD_BYTES:
                await sender.room(_AHEAD_BYTES // 2)

    await publish(load.messages)
    await sender.flush(60.0)
    if load.kind == "keep":
        progress.set_ready()
        consumed = Progress(load.consumed)
        sent = load.messages
        only_debug = list(load.mix) == ["debug"]
        while True:  # until it is stopped
            consumed.read()
            gone = consumed.flooded if only_debug else consumed.handled
            missing = load.messages - (sent - gone)
            if missing > 0:
                await publish(missing)
                sent += missing
            await asyncio.sleep(_KEEP_POLL_S)
    await sender.close(60.0)


async def _steady(load: Load) -> None:
    """Publish at fixed times, whether or not earlier messages are confirmed (an open loop)."""
    progress = Progress(load.progress)
    producer = AIOKafkaProducer(bootstrap_servers=load.brokers, acks=1, linger_ms=0)
    await producer.start()
    topic = load.prefix + "critical"
    for known in (topic, *([load.hop] if load.hop else [])):
        await producer.partitions_for(known)
    sent: dict[int, tuple[int, int]] = {}
    hops: dict[int, int] = {}
    lost: list[int] = []
    loop = asyncio.get_running_loop()
    begin = loop.time() + 0.1
    waiting = set()
    for number in range(load.messages):
        await asyncio.sleep(max(0.0, begin + number / load.rate - loop.time()))
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        sent_ns, sent_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
        value = json.dumps(
            {
                "message_id": f"{number:032x}",
                "publisher_id": f"compute.host{number % 40:02d}",
                "timestamp": stamp,
                "priority": "CRITICAL",
                "event_type": "compute.host.down",
                "payload": {"bench_number": number, "bench_sent_ns": sent_ns},
            }
        ).encode()
        sent[number] = sent_ns, sent_ms
        future = await producer.send(topic, value)
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        future.add_done_callback(lambda done, n=number: lost.append(n) if done.exception() else None)
        progress.add(1)
        if load.hop:
            await asyncio.sleep(max(0.0, begin + (number + 0.5) / load.rate - loop.time()))
            hops[number] = time.monotonic_ns()
            await producer.send(load.hop, value)
    if waiting:
        await asyncio.wait(waiting)
    await producer.stop()
    for number in lost:
        del sent[number]  # never published: not a sample
    Path(load.result).write_text(json.dumps({str(n): times for n, times in sent.items()}))
    if load.hop:
        Path(load.result).with_name("hops.json").write_text(json.dumps(hops))


def main() -> None:
    """Run the publisher that the command line describes."""
    die_with_parent()
    load = Load(**json.loads(sys.argv[1]))
    import uvloop

    uvloop.run(_steady(load) if load.kind == "steady" else _fill(load))


if __name__ == "__main__":
    main()
