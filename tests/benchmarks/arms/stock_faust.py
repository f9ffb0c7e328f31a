"""A stock faust-streaming app: five plain agents, default settings, counting into a dictionary or a table."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from typing import Any

import faust
import orjson

from tests.benchmarks.cluster import notification_topics
from tests.benchmarks.progress import Progress, burn
from tests.benchmarks.service import ServiceTimes, work_seconds
from tests.benchmarks.spec import RunSpec, from_command_line


def make_app(spec: RunSpec) -> Any:
    """The app that a reader of Faust's documentation would write."""
    progress = Progress(spec.progress, spec.target)
    app = faust.App(
        spec.group,
        broker=f"kafka://{spec.brokers}",
        store="memory://",
        datadir=spec.folder,
        topic_partitions=spec.partitions,
        web_enabled=False,
        autodiscover=False,
        **(spec.option("settings") or {}),
    )
    counts: Any
    if spec.option("table"):
        counts = app.Table("counts", default=int, partitions=spec.partitions)
    else:
        counts = defaultdict(int)
    alerts = app.topic(spec.alerts + "critical", value_serializer="raw")
    service = ServiceTimes(spec.folder)

    def add_agent(name: str, topic: str) -> None:
        work_s = work_seconds(spec, name)
        debug = int(name == "DEBUG")
        forward = name == "CRITICAL" and spec.option("forward")

        async def handle(stream: Any) -> None:
            async for value in stream:
                progress.begin()
                began = time.perf_counter_ns()
                if work_s:
                    burn(work_s)
                if forward:
                    await alerts.send(value=value)
                counts[f"{name}/{orjson.loads(value)['event_type']}"] += 1
                service.add(name, 1, time.perf_counter_ns() - began)
                progress.add(1, debug)

        app.agent(app.topic(topic, value_serializer="raw"), name=name.lower())(handle)

    for priority, topic in notification_topics(spec.prefix).items():
        add_agent(priority.value, topic)
    return app


def main() -> None:
    """Run a worker of the app."""
    spec = from_command_line()
    os.chdir(spec.folder)
    sys.argv = [sys.argv[0]]
    faust.Worker(make_app(spec), loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
