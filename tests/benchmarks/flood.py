"""A publisher of a backlog that costs next to nothing, so that it takes no processor from what is measured.

It makes record batches once a second and sends the same bytes again and again: about 20 µs of its own for
500 records. ``python -m tests.benchmarks.flood '{…}'`` publishes a number of notifications, says that it is
ready, and from then on tops up what a worker has consumed, until it is stopped.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from tests.benchmarks.load import Load, notifications
from tests.benchmarks.progress import Progress
from tests.leash import die_with_parent

_MOST_RECORDS = 500
_VARIANTS = 8
_FRESH_S = 1.0
#: How often it looks at what was consumed, for a small and for a large backlog.
_POLL_S = (0.001, 0.005)
_SMALL = 10_000


@dataclass(frozen=True, slots=True)
class Flood:
    """What the publisher is told.

    Attributes:
        brokers: bootstrap addresses.
        topic: that it publishes to.
        partitions: of the topic.
        messages: to hold unconsumed, in all partitions together.
        progress: its own progress file: records that are confirmed.
        consumed: progress file of the worker.
        size: bytes of a message.
        event_types: how many distinct ones.
        priority: of all of them.
    """

    brokers: str
    topic: str
    partitions: int
    messages: int
    progress: str
    consumed: str
    size: int = 300
    event_types: int = 200
    priority: str = "DEBUG"

    @property
    def command(self) -> tuple[str, str]:
        """Module and argument of the publisher's process."""
        return "tests.benchmarks.flood", json.dumps(asdict(self))

    @property
    def batch(self) -> int:
        """Records of a batch: few for a small backlog, so that it is held evenly."""
        return max(1, min(_MOST_RECORDS, self.messages // (4 * self.partitions)))


class _Made:
    """A finished record batch in the place of aiokafka's builder."""

    def __init__(self, data: bytes, records: int) -> None:
        self._data = data
        self._records = records

    def append(self, **_: Any) -> None:
        """It is full."""

    def record_count(self) -> int:
        return self._records

    def size(self) -> int:
        return len(self._data)

    def closed(self) -> bool:
        return True

    def close(self) -> None:
        """It is closed."""

    def _build(self) -> bytes:
        return self._data


class _Batches:
    """Batches of ``records`` notifications each, made anew once a second for the sake of their times."""

    def __init__(self, producer: Any, flood: Flood, records: int) -> None:
        self._producer = producer
        self._records = records
        load = Load(
            "fill",
            flood.brokers,
            "",
            0,
            flood.progress,
            size=flood.size,
            mix={flood.priority.lower(): 1.0},
            event_types=flood.event_types,
        )
        self._values = [
            out.value for out in itertools.islice(notifications(load), max(records, _MOST_RECORDS))
        ]
        self._made: deque[tuple[bytes, int]] = deque()
        self._at = 0.0

    def next(self) -> _Made:
        now = time.monotonic()
        if now - self._at > _FRESH_S:
            self._made = deque(self._make(number) for number in range(_VARIANTS))
            self._at = now
        self._made.rotate()
        return _Made(*self._made[0])

    def _make(self, number: int) -> tuple[bytes, int]:
        builder = self._producer.create_batch()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()).encode()
        start = number * self._records % len(self._values)
        for value in itertools.islice(itertools.cycle(self._values), start, start + self._records):
            head, sep, rest = value.partition(b'"timestamp": "')
            builder.append(timestamp=None, key=None, value=head + sep + stamp + rest[len(stamp) :])
        return bytes(builder._build()), builder.record_count()


async def _run(flood: Flood) -> None:
    progress, consumed = Progress(flood.progress), Progress(flood.consumed)
    producer = AIOKafkaProducer(bootstrap_servers=flood.brokers, acks=1, linger_ms=0, max_batch_size=2**20)
    await producer.start()
    await producer.partitions_for(flood.topic)
    batches = _Batches(producer, flood, flood.batch)
    free = deque(range(flood.partitions))
    news = asyncio.Event()
    sending: set[asyncio.Task[None]] = set()
    sent = 0

    async def send(partition: int) -> None:
        made = batches.next()
        await (await producer.send_batch(made, flood.topic, partition=partition))
        progress.add(made.record_count())
        free.append(partition)
        news.set()

    poll_s = _POLL_S[flood.messages > _SMALL]
    while True:  # until it is stopped
        missing = flood.messages - (sent - consumed.read().flooded)
        while missing >= flood.batch and free:
            task = asyncio.create_task(send(free.popleft()))
            sending.add(task)
            task.add_done_callback(sending.discard)
            sent += flood.batch
            missing -= flood.batch
        if not progress.ready and missing < flood.batch and len(free) == flood.partitions:
            progress.set_ready()
        news.clear()
        if missing >= flood.batch:
            await asyncio.wait_for(news.wait(), 60)
        else:
            await asyncio.sleep(poll_s)


def main() -> None:
    """Run the publisher that the command line describes."""
    die_with_parent()
    import uvloop

    uvloop.run(_run(Flood(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
