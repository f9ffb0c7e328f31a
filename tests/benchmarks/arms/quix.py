"""A Quix Streams application as its documentation writes it: one streaming dataframe a topic.

It counts into a dictionary; with the option ``state``, into Quix Streams' own state, which RocksDB keeps and
changelog topics make durable. Such a state is one of a partition and of a message key, and notifications have
none, so that each partition has its own counts. With ``group_by`` besides, records go through topics that are
partitioned by event type, as Quix Streams' documentation has it, so that there is one count of each.
Runs in the environment of the peers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from quixstreams import Application, State

from tests.benchmarks.arms.topics import priorities_by_topic
from tests.benchmarks.handled import HandledTimes
from tests.benchmarks.progress import Progress, burn
from tests.benchmarks.spec import RunSpec, from_command_line


def make_app(spec: RunSpec) -> Application:
    """The application with everything that it is to do."""
    progress = Progress(spec.progress, spec.target)
    handled = HandledTimes(spec.folder)
    forward = bool(spec.option("forward"))
    app = Application(
        broker_address=spec.brokers,
        consumer_group=spec.group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=Path(spec.folder) / "state",
        # An alert is not to wait for others; a changelog gains by waiting, as is the default.
        producer_extra_config={"linger.ms": spec.option("linger_ms") or 0} if forward else {},
        loglevel="WARNING",
    )
    alerts = app.topic(spec.alerts + "critical", value_serializer="bytes") if forward else None
    for topic, priority in priorities_by_topic(spec.prefix).items():
        sends = alerts is not None and priority == "CRITICAL"
        frame = app.dataframe(app.topic(topic, value_deserializer="bytes" if sends else "json"))
        if sends:
            # As it came, so that it can be sent on as it came.
            frame = frame if spec.option("unnumbered") else frame.update(handled.note)
            frame = frame.to_topic(alerts).apply(orjson.loads)
        if spec.option("group_by"):
            frame = frame[["event_type"]].group_by("event_type")  # nothing else need take the way
        if spec.option("state"):
            frame.update(counting_into_state(spec, progress, priority == "DEBUG"), stateful=True)
        else:
            frame.update(counting_into_dict(spec, progress, priority == "DEBUG"))
    return app


def counting_into_dict(spec: RunSpec, progress: Progress, is_debug: bool) -> Callable[[Any], None]:
    """What is done with each record, counts in memory alone."""
    counts: defaultdict[str, int] = defaultdict(int)
    work_s, debug = spec.work_us / 1e6, int(is_debug)

    def count(value: Any) -> None:
        progress.begin()
        if work_s:
            burn(work_s)
        counts[value["event_type"]] += 1
        progress.add(1, debug)

    return count


def counting_into_state(spec: RunSpec, progress: Progress, is_debug: bool) -> Callable[[Any, State], None]:
    """What is done with each record, counts in a state that outlives the process."""
    work_s, debug = spec.work_us / 1e6, int(is_debug)

    def count(value: Any, state: State) -> None:
        progress.begin()
        if work_s:
            burn(work_s)
        event_type = value["event_type"]
        state.set(event_type, state.get(event_type, 0) + 1)
        progress.add(1, debug)

    return count


if __name__ == "__main__":
    make_app(from_command_line()).run()
