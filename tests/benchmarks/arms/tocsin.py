"""Tocsin's own worker. The benchmark wraps how a batch is handled, to burn work and to tell the progress."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.arms.ablations import ABLATIONS
from tests.benchmarks.handled import HandledTimes
from tests.benchmarks.produce_requests import count_produce_requests
from tests.benchmarks.progress import Progress, burn
from tests.benchmarks.service import PRIORITIES, Gate, ServiceTimes, work_seconds
from tests.benchmarks.spec import RunSpec, from_command_line


def install(spec: RunSpec) -> None:
    """Let the worker be made with an Ingest that burns the extra work and tells what it has done.

    The option ``tune`` is for trials: ``turns_between``, turns of the event loop between two batches;
    ``turns``, more of them after each batch;
    ``switch_us``, the interpreter's switch interval; ``prefetch_backoff_s`` of aiokafka; ``gc``, thresholds
    of the garbage collector, which then leaves alone what is there at the first record; ``settings`` of
    the worker; ``without``, names of mechanisms that are taken out (see ``ablations``).
    """
    import streams.transport.turns
    import tocsin.worker
    from agents.ingest import Ingest
    from streams.notifications.priority import Priority

    progress = Progress(spec.progress, spec.target)
    count_produce_requests(spec.folder, spec.alerts)
    service = ServiceTimes(spec.folder)
    handled = HandledTimes(spec.folder)
    flood = spec.option("flood") or Priority.DEBUG.value
    numbered = not spec.option("unnumbered")
    gate = Gate(spec)
    work_s = {priority: work_seconds(spec, priority) for priority in PRIORITIES}
    tune = spec.option("tune") or {}
    turns = tune.get("turns", 0)
    if "turns_between" in tune:
        vars(streams.transport.turns)["TURNS_BETWEEN"] = tune["turns_between"]
    if "switch_us" in tune:
        sys.setswitchinterval(tune["switch_us"] / 1e6)
    for name in tune.get("without", ()):
        ABLATIONS[name][1]()

    if "prefetch_backoff_s" in tune:
        from aiokafka.consumer.fetcher import Fetcher

        make = Fetcher.__init__

        def made(self: Any, *arguments: Any, **options: Any) -> None:
            make(self, *arguments, **options | {"prefetch_backoff": tune["prefetch_backoff_s"]})

        Fetcher.__init__ = made

    class BenchIngest(Ingest):
        async def handle(self, batch: Any, counter: Any) -> None:
            if not progress.first_ns and "gc" in tune:
                gc.collect()
                gc.freeze()
                gc.set_threshold(*tune["gc"])
            await gate.opened()
            progress.begin()
            began = time.perf_counter_ns()
            records = len(batch.records)
            work = work_s[batch.priority.value]
            if batch.priority is Priority.CRITICAL and (numbered or work):
                for record in batch.records:
                    if numbered:
                        handled.note(record.value or b"")
                    if work:
                        burn(work)
            elif work:
                burn(records * work)
            await super().handle(batch, counter)
            service.add(batch.priority.value, records, time.perf_counter_ns() - began)
            progress.add(records, records if batch.priority.value == flood else 0)
            for _ in range(turns):
                await asyncio.sleep(0)

    vars(tocsin.worker)["Ingest"] = BenchIngest


def main() -> None:
    """Run a worker with the default settings, but for names and addresses."""
    spec = from_command_line()
    os.chdir(spec.folder)
    from streams.settings import load_settings
    from tocsin.cli.worker import run_worker

    install(spec)
    trial = (spec.option("tune") or {}).get("settings", {})
    if not spec.option("forward"):
        trial = {"forward_priorities": "none"} | trial
    settings = load_settings(
        brokers=spec.brokers,
        app_id=spec.group,
        partitions=spec.partitions,
        notification_topic_prefix=spec.prefix,
        alert_topic_prefix=spec.alerts,
        dead_letter_topic=f"{spec.group}-dead-letters",
        event_counts_topic=f"{spec.group}-event-counts",
        data_dir=Path(spec.folder) / "state",
        **({"web_port": 0} | trial),
    )
    run_worker(settings)


if __name__ == "__main__":
    main()
