"""``python -m tests.benchmarks.storm_outage``: memory in a storm, and with the broker gone for a minute.

All records are CRITICAL and forwarded. A third of the way the broker is killed, and started again a minute
later. What counts is the greatest resident memory of the worker, as the kernel noted it, until then and until
the end, and what the alert topic holds afterwards: an alert of every record, and no id that stands for two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.benchmarks import report
from tests.benchmarks.cluster import bench_cluster
from tests.benchmarks.processes import wait_until
from tests.benchmarks.storm import fill
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.trial import Trial, trial
from tests.benchmarks.usage import broker_pid
from tocsin.local_kafka.cluster import LocalKafka

#: Greatest resident memory of a worker, in MB.
MOST_MB = 192.0
_DONE_S = 600.0
_POLL_S = 0.02
#: Seconds without another record in which the end of a topic is taken to be reached.
_QUIET_MS = 5_000

#: What must not be, and how it is told.
_FAULTS = {
    "lost": "records without an alert",
    "ids_of_two": "ids of two records",
    "with_two_ids": "records with two ids",
}

#: Place of an input record: topic, partition and offset.
Place = tuple[str, int, int]


def judge(alerts: Iterable[tuple[str, Place]], records: int) -> dict[str, int]:
    """What became of the records, from the id and the place in each alert that lies in the topic."""
    places: dict[str, set[Place]] = {}
    copies: Counter[Place] = Counter()
    for identity, place in alerts:
        places.setdefault(identity, set()).add(place)
        copies[place] += 1
    ids = Counter(place for found in places.values() for place in found)
    return {
        "lost": records - len(copies),
        "repeated": copies.total() - len(copies),
        "ids_of_two": sum(len(found) > 1 for found in places.values()),
        "with_two_ids": sum(number > 1 for number in ids.values()),
    }


async def read_alerts(brokers: str, topic: str) -> list[tuple[str, Place]]:
    """Id and place in each alert of a topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=brokers, auto_offset_reset="earliest", max_partition_fetch_bytes=8 * 2**20
    )
    found: list[tuple[str, Place]] = []
    await consumer.start()
    try:
        partitions = (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic)
        consumer.assign([TopicPartition(topic, partition) for partition in partitions])
        while batches := await consumer.getmany(timeout_ms=_QUIET_MS):
            for records in batches.values():
                for record in records:
                    example = orjson.loads(record.value)["examples"][0]
                    place = example["topic"], example["partition"], example["offset"]
                    found.append((dict(record.headers)["ce_id"].decode(), place))
    finally:
        await consumer.stop()
    return found


def run_once(number: int, away_s: float, options: Any) -> dict[str, float]:
    """One storm; the broker is away for so many seconds, or stays for 0."""
    with bench_cluster() as (brokers, folder):
        fill(brokers, folder, "storm.", options.messages, 100, options)
        with trial(
            "tocsin",
            brokers,
            folder,
            f"outage-{number}",
            "storm.",
            partitions=options.partitions,
            target=options.messages,
            options={"forward": True, "unnumbered": True},
        ) as run:
            handled = run.progress.read
            wait_until(
                lambda: handled().handled >= options.messages // 3,
                _DONE_S,
                "a third of the records",
                run.child,
                poll_s=_POLL_S,
            )
            before_mb = run.peak_rss_mb()
            if away_s:
                _away(folder, run, away_s)
            run.wait_for_commit(options.messages, _DONE_S)
            peak_mb = run.peak_rss_mb()
        alerts = asyncio.run(read_alerts(brokers, f"{run.spec.alerts}critical"))
        return {"before_mb": before_mb, "peak_mb": peak_mb, **judge(alerts, options.messages)}


def _away(folder: Path, run: Trial, seconds: float) -> None:
    """Kill the broker, and start it again so many seconds later."""
    os.kill(broker_pid(folder), signal.SIGKILL)
    back_at = time.monotonic() + seconds
    wait_until(
        lambda: time.monotonic() >= back_at, seconds + 10, "the end of the outage", run.child, poll_s=1
    )
    LocalKafka(folder / "kafka", die_with_parent=True).start()


def targets(runs: Mapping[str, Mapping[str, float]]) -> list[Target]:
    """Memory under its bound, no alert lost, and no id of two records."""
    found = []
    for name, run in runs.items():
        found.append(Target("storm_outage", f"greatest memory, {name}", MOST_MB, run["peak_mb"], "MB", True))
        found += [
            Target("storm_outage", f"{words}, {name}", 0, run[what], "", True)
            for what, words in _FAULTS.items()
        ]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run both; 0 when all targets are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--away", type=float, default=60.0, help="seconds without the broker")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--event-types", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="a tenth of the records, and ten seconds")
    options = parser.parse_args(arguments)
    if options.quick:
        options.messages, options.away = options.messages // 10, 10.0
    before = report.machine()
    runs = {}
    for number, (name, away_s) in enumerate(
        {"a storm": 0.0, f"a storm, the broker gone for {options.away:.0f} s": options.away}.items()
    ):
        runs[name] = run = run_once(number, away_s, options)
        faults = ", ".join(f"{run[what]:,} {words}" for what, words in _FAULTS.items())
        print(
            f"{name}: {run['before_mb']:.0f} MB a third of the way, {run['peak_mb']:.0f} MB at most; of "
            f"{options.messages:,} records {run['repeated']:,} alerts sent again with their id, {faults}",
            flush=True,
        )
    reached = targets(runs)
    report.finish("storm_outage", before, reached, {"options": vars(options), "runs": runs})
    return 0 if all_met(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
