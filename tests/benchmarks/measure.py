"""A consumer of ``alerts.critical``: when did each CRITICAL notification become visible there?

As a module, it is the process that consumes; the functions say what came of it.
"""

from __future__ import annotations

import asyncio
import json
import math
import signal
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.benchmarks.handled import NUMBER
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec, from_command_line


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
    """Median, least and greatest; NaN of no values."""
    found = list(values)
    if not found:
        return math.nan, math.nan, math.nan
    return statistics.median(found), min(found), max(found)


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ratio of each of our runs to the run of a peer in the same repeat, which was close to it in time.

    A repeat in which the peer did not run, or of which nothing came (NaN, infinite or 0), has no ratio.
    """
    return [own / other for own, other in zip(ours, theirs, strict=False) if other and math.isfinite(other)]


def latencies(
    sent: Mapping[str, Sequence[int]],
    seen: Mapping[str, int],
    handled: Mapping[int, int],
    hops: Mapping[str, int] | None = None,
    hops_seen: Mapping[str, int] | None = None,
) -> dict[str, list[float]]:
    """Seconds from publishing to the agent, and to a consumer of the alert topic.

    Args:
        sent: by number, the monotonic time of publishing in ns, and something more.
        seen: by number, when the consumer saw it.
        handled: by number, when the agent began to handle it.
        hops: by number, when the same was published to a topic that the consumer reads itself.
        hops_seen: by number, when it saw that.

    Returns:
        ``agent``, ``visible``, and ``hop`` of what Kafka alone took; what was published and not seen there
        counts as infinite.
    """
    agent, visible = [], []
    for number, (sent_ns, *_) in sent.items():
        at = handled.get(int(number))
        agent.append(math.inf if at is None else (at - sent_ns) / 1e9)
        at = seen.get(number)
        visible.append(math.inf if at is None else (at - sent_ns) / 1e9)
    reached = hops_seen or {}
    hop = [
        math.inf if (at := reached.get(number)) is None else (at - sent_ns) / 1e9
        for number, sent_ns in (hops or {}).items()
    ]
    return {"agent": agent, "visible": visible, "hop": hop}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


async def _consume(spec: RunSpec) -> None:
    progress = Progress(spec.progress)
    topic = spec.alerts + "critical"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=spec.brokers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    hop = spec.option("hop")
    partitions = [
        TopicPartition(name, number)
        for name in (topic, *([hop] if hop else []))
        for number in range(spec.partitions)
    ]
    consumer.assign(partitions)
    for tp in partitions:
        await consumer.position(tp)
    progress.set_ready()
    seen: dict[str, int] = {}
    hops: dict[str, int] = {}
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
        for tp, records in fetching.result().items():
            found = hops if tp.topic == hop else seen
            for record in records:
                match = NUMBER.search(record.value)
                if match:
                    found.setdefault(match[1].decode(), now)
        progress.add(len(seen) - progress.handled)
    Path(spec.folder, "seen.json").write_text(json.dumps(seen))
    Path(spec.folder, "hops-seen.json").write_text(json.dumps(hops))
    await consumer.stop()


def main() -> None:
    """Consume until stopped, then write what was seen."""
    import uvloop

    uvloop.run(_consume(from_command_line()))


if __name__ == "__main__":
    main()
