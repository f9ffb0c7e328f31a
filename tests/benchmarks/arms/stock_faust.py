"""A stock faust-streaming app: five plain agents, default settings, counting into a dictionary or a table.

The option ``scheduler`` set to ``strict`` gives it a ``ConsumerScheduler`` that hands over CRITICAL first;
``settings`` are more arguments of ``faust.App``.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import faust
import orjson
from faust.transport.utils import DefaultSchedulingStrategy

from tests.benchmarks.cluster import create_topics, notification_topics
from tests.benchmarks.handled import HandledTimes
from tests.benchmarks.progress import Progress, burn
from tests.benchmarks.service import ServiceTimes, work_seconds
from tests.benchmarks.spec import RunSpec, from_command_line


def strictly_by(topics: list[str]) -> type[DefaultSchedulingStrategy]:
    """A scheduling strategy that hands over what was fetched topic by topic, in the order of ``topics``."""

    class Strict(DefaultSchedulingStrategy):  # type: ignore[misc]
        def iterate(self, records: Mapping[Any, list[Any]]) -> Iterator[tuple[Any, Any]]:
            index = self.map_from_records(records)
            rank = {topic: number for number, topic in enumerate(topics)}
            for topic in sorted(index, key=lambda name: rank.get(name, len(rank))):
                yield from iter(index[topic])

    return Strict


def make_app(spec: RunSpec) -> Any:
    """The app that a reader of Faust's documentation would write."""
    progress = Progress(spec.progress, spec.target)
    settings = dict(spec.option("settings") or {})
    if spec.option("scheduler") == "strict":
        by_rank = sorted(notification_topics(spec.prefix).items(), key=lambda item: item[0].rank)
        settings["ConsumerScheduler"] = strictly_by([topic for _, topic in by_rank])
    app = faust.App(
        spec.group,
        broker=f"kafka://{spec.brokers}",
        store="memory://",
        datadir=spec.folder,
        topic_partitions=spec.partitions,
        web_enabled=False,
        autodiscover=False,
        **settings,
    )
    counts: Any
    if spec.option("table"):
        counts = app.Table("counts", default=int, partitions=spec.partitions)
    else:
        counts = defaultdict(int)
    alerts = app.topic(spec.alerts + "critical", value_serializer="raw")
    service = ServiceTimes(spec.folder)
    handled = HandledTimes(spec.folder)
    numbered = not spec.option("unnumbered")

    def add_agent(name: str, topic: str) -> None:
        work_s = work_seconds(spec, name)
        debug = int(name == "DEBUG")
        forward = name == "CRITICAL" and spec.option("forward")

        async def handle(stream: Any) -> None:
            async for value in stream:
                progress.begin()
                began = time.perf_counter_ns()
                if forward and numbered:
                    handled.note(value)
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
    app = make_app(spec)
    # Faust makes them while its agents start already, and an agent whose record comes first crashes for good.
    changelogs = [table.changelog_topic_name for table in app.tables.values()]
    if changelogs:
        create_topics(spec.brokers, changelogs, spec.partitions, compacted=True)
    faust.Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
