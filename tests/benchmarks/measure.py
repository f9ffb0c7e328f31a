"""A consumer of ``alerts.critical``: when did each CRITICAL notification become visible there?

As a module, it is the process that consumes; ``Latencies`` holds what came of it.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import signal
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec, from_command_line

_NUMBER = re.compile(rb'"bench_number": ?(\d+)')


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that ``share`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def summary(values: Sequence[float]) -> dict[str, float]:
    """p50, p99, max and number of samples; infinite ones included."""
    return {
        "samples": len(values),
        "undelivered": sum(math.isinf(value) for value in values),
        "p50": percentile(values, 0.50),
        "p99": percentile(values, 0.99),
        "max": max(values, default=math.nan),
    }


def median_and_spread(values: Iterable[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    found = list(values)
    return statistics.median(found), min(found), max(found)


def latencies(sent_file: Path, seen_file: Path, until_ns: int) -> dict[str, list[float]]:
    """Seconds from publishing to the worker's forwarding and to the consumer's sight of it.

    What was published and never seen counts as infinite, what was published after ``until_ns`` not at all.
    """
    sent: dict[str, tuple[int, int]] = json.loads(sent_file.read_text())
    seen: dict[str, tuple[int, int]] = json.loads(seen_file.read_text())
    forwarded, visible = [], []
    for number, (sent_ns, sent_ms) in sent.items():
        if sent_ns > until_ns:
            continue
        if number in seen:
            seen_ns, forwarded_ms = seen[number]
            visible.append((seen_ns - sent_ns) / 1e9)
            forwarded.append(max(0, forwarded_ms - sent_ms) / 1e3)
        else:
            visible.append(math.inf)
            forwarded.append(math.inf)
    return {"forwarded": forwarded, "visible": visible}


async def _consume(spec: RunSpec) -> None:
    progress = Progress(spec.progress)
    topic = spec.alerts + "critical"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=spec.brokers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    partitions = [TopicPartition(topic, number) for number in range(spec.partitions)]
    consumer.assign(partitions)
    for tp in partitions:
        await consumer.position(tp)
    progress.set_ready()
    seen: dict[str, tuple[int, int]] = {}
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        fetching = asyncio.create_task(consumer.getmany(timeout_ms=500))
        await asyncio.wait((fetching, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not fetching.done():
            fetching.cancel()
            break
        now = time.monotonic_ns()
        for records in fetching.result().values():
            for record in records:
                match = _NUMBER.search(record.value)
                if match:
                    seen.setdefault(match[1].decode(), (now, record.timestamp))
        progress.add(len(seen) - progress.handled)
    Path(spec.folder, "seen.json").write_text(json.dumps(seen))
    await consumer.stop()


def main() -> None:
    """Consume until stopped, then write what was seen."""
    import uvloop

    uvloop.run(_consume(from_command_line()))


if __name__ == "__main__":
    main()
