"""``python -m tests.benchmarks.growth``: what one record costs as everything around it grows.

Partitions, event types, depth of the backlog, and the age of the state grow one at a time. The cost is the
processor time of the worker per record, which other load on the machine hardly changes; the time that passes
stands beside it. Agents are held back until the worker has connected, recovered and filled its buffers, so
that none of this counts; what the idle worker uses in the meantime is measured and taken off. The first
records are left out too: they had been fetched before, and an event type costs more when it is seen first.

Everything else that records cause is in it: flushing, combining, publishing and reading the public counts,
until all is committed; only where the backlog is deeper than what is consumed, the last flush is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.broker.self_check import self_check
from streams.broker.topics import apply_topics
from streams.settings import Settings, load_settings
from tables.source_name import source_name
from tests.benchmarks import plots, report
from tests.benchmarks.aged_state import AgedState, make_state, write_state
from tests.benchmarks.cluster import bench_cluster, delete_topics, notification_topics
from tests.benchmarks.load import MIX, Load
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import ROOT, running, wait_until
from tests.benchmarks.profiling import Profile
from tests.benchmarks.progress import Progress
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.trial import Trial, make_topics, trial

MOST = 1.3
BASE_PARTITIONS = 8
BASE_TYPES = 100
#: The state of many hours needs no more partitions to be large.
STATE_PARTITIONS = 4
#: Where the cost of a flush grows, so many times more records, so that there are several flushes.
MORE_RECORDS = 5
DAY = 86_400

_QUIET_S = 0.7
_QUIET_CPU = 0.15
_QUIET_TIMES = 3
_LONGEST_START_S = 30.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: everything as in the base, but for one thing.

    Attributes:
        dimension: what grows.
        value: how large it is.
        label: the same, for the table.
        partitions: of every topic.
        event_types: in the load.
        backlog: records that wait at the start.
        keep: top that backlog up while it is consumed.
        span_s: age of the oldest row of the state; 0 for none.
        times: how many times the records of ``--warm`` and ``--records`` there are.
    """

    dimension: str
    value: float
    label: str
    backlog: int
    partitions: int = BASE_PARTITIONS
    event_types: int = BASE_TYPES
    keep: bool = False
    span_s: int = 0
    times: int = 1

    @property
    def prefix(self) -> str:
        """Of its notification topics."""
        return f"{self.dimension.replace(' ', '-')}-{self.value:.0f}."


def points(records: int, deepest: int) -> list[Point]:
    """All measurements, from the least to the greatest of each dimension."""
    more = {"backlog": MORE_RECORDS * records, "times": MORE_RECORDS}
    found = [Point("partitions", n, f"{n}", partitions=n, **more) for n in (1, 8, 64)]
    found += [Point("event types", n, f"{n:,}", event_types=n, **more) for n in (10, 1_000, 10_000)]
    for depth in (1_000, 60_000, 600_000, 5_000_000):
        if depth <= deepest:
            found.append(Point("backlog", depth, f"{depth:,}", depth, keep=depth <= records))
    for days, label in ((1 / 24, "1 h"), (1, "24 h"), (30, "30 d")):
        found.append(
            Point("state", days, label, records, partitions=STATE_PARTITIONS, span_s=int(days * DAY))
        )
    return found


def rise(costs: Sequence[float]) -> float:
    """How many times the cost of an earlier point a later one costs, at most; the points in order of size."""
    ratios = [later / earlier for place, earlier in enumerate(costs) for later in costs[place + 1 :]]
    return max(ratios, default=1.0)


def cost_us(cpu_s: float, passed_s: float, idle: float, records: int) -> float:
    """Processor time per record in microseconds, without what the worker uses idle (in cores)."""
    return 1e6 * max(0.0, cpu_s - idle * passed_s) / records


class Bench:
    """The topics of all points, filled when they are first used."""

    def __init__(self, brokers: str, folder: Path, options: argparse.Namespace) -> None:
        self._brokers = brokers
        self._folder = folder
        self._options = options
        self._filled: set[str] = set()
        self._states: dict[str, AgedState] = {}
        self._number = 0

    def _load(self, point: Point, kind: str, consumed: str = "", name: str = "filled") -> Load:
        return Load(
            kind,
            self._brokers,
            point.prefix,
            point.backlog,
            str(self._folder / f"{point.prefix}{name}"),
            event_types=point.event_types,
            consumed=consumed,
        )

    def _settings(self, point: Point, group: str) -> Settings:
        """As ``arms.tocsin`` will run with."""
        return load_settings(
            brokers=self._brokers,
            app_id=group,
            partitions=point.partitions,
            notification_topic_prefix=point.prefix,
            dead_letter_topic=f"{group}-dead-letters",
            event_counts_topic=f"{group}-event-counts",
            forward_priorities="none",
        )

    def _prepare(self, point: Point, group: str) -> None:
        """Topics, backlog, and the state of the group."""
        fresh = point.prefix not in self._filled
        if point.span_s:
            settings = self._settings(point, group)
            asyncio.run(apply_topics(settings))
            if fresh:
                ids = asyncio.run(self_check(settings)).topic_ids
                self._states[point.prefix] = make_state(
                    {
                        source_name(ids[topic], partition): (priority.value, partition)
                        for priority, topic in notification_topics(point.prefix).items()
                        for partition in range(point.partitions)
                    },
                    partitions=point.partitions,
                    event_types=[
                        f"compute.instance.operation_{number:04d}.end" for number in range(point.event_types)
                    ],
                    span_s=point.span_s,
                    now_s=int(time.time()),
                )
            write_state(self._states[point.prefix], settings)
        elif fresh or point.keep:
            make_topics(self._brokers, point.prefix, point.partitions)
        if fresh and not point.keep:
            self._load(point, "fill").run(self._folder / "load.log")
        self._filled.add(point.prefix)

    def measure(self, point: Point) -> dict[str, float]:
        """One run."""
        self._number += 1
        group = f"growth-{self._number}"
        self._prepare(point, group)
        with ExitStack() as stack:
            run = stack.enter_context(
                trial(
                    "tocsin",
                    self._brokers,
                    self._folder,
                    group,
                    point.prefix,
                    partitions=point.partitions,
                    target=point.times * (self._options.warm + self._options.records),
                    gated=True,
                )
            )
            if point.keep:
                keep = self._load(point, "keep", run.spec.progress, group)
                filler = stack.enter_context(running(*keep.command, log=self._folder / "keep.log"))
                filled = Progress(keep.progress)
                wait_until(lambda: filled.read().ready, 120, "the backlog", filler, run.child)
            run.wait_for_ready()
            idle = _idle_cores(run)
            result = self._timed(run, point, idle)
        delete_topics(self._brokers, group)
        if point.keep:
            delete_topics(self._brokers, point.prefix)
        return result

    def _timed(self, run: Trial, point: Point, idle: float) -> dict[str, float]:
        warm = point.times * self._options.warm
        all_of_it = warm + point.times * self._options.records

        def wait_for(records: int) -> None:
            wait_until(
                lambda: run.progress.read().handled >= records, 300, "records", run.child, poll_s=_POLL_S
            )

        run.gate.touch()
        wait_for(warm)
        profile = None
        if self._options.profile:
            profile = Profile(run.child.pid, 5, report.RESULTS / f"growth-{self._number}.raw")
        cpu, at = run.cpu_s(), time.monotonic()
        before, served = run.progress.read().handled, sum(run.service.read().seconds.values())
        wait_for(all_of_it)
        if point.backlog == all_of_it and not point.keep:
            run.wait_for_commit(all_of_it)
        used, passed = run.cpu_s() - cpu, time.monotonic() - at
        handled = run.progress.read().handled - before
        served = sum(run.service.read().seconds.values()) - served
        if profile is not None:
            profile.print_hottest()
        return {
            "cpu_us": cost_us(used, passed, idle, handled),
            "wall_us": 1e6 * passed / handled,
            "in_agents_us": 1e6 * served / handled,
            "idle_cores": idle,
            "records": handled,
            "rss_mb": run.rss_mb(),
        }


def _idle_cores(run: Trial) -> float:
    """Wait until the worker has nothing more to do behind the gate, and measure what it still uses."""
    until = time.monotonic() + _LONGEST_START_S
    found: list[float] = []
    while True:
        cpu, at = run.cpu_s(), time.monotonic()
        time.sleep(_QUIET_S)
        run.child.check()
        cores = (run.cpu_s() - cpu) / (time.monotonic() - at)
        if cores < _QUIET_CPU:
            found.append(cores)
        if len(found) >= _QUIET_TIMES or time.monotonic() > until:
            return min(found, default=0.0)


def main(arguments: list[str] | None = None) -> int:
    """Run all points several times in turn; 0 when no dimension costs more than its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--records", type=int, default=300_000, help="records measured in each run")
    parser.add_argument("--warm", type=int, default=100_000, help="records before those")
    parser.add_argument("--deepest", type=int, default=5_000_000, help="deepest backlog")
    parser.add_argument(
        "--only", default="", help="these dimensions, as partitions,event types,backlog,state"
    )
    parser.add_argument(
        "--quick", action="store_true", help="once, fewer records, a backlog of 600,000 at most"
    )
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.records, options.deepest = 1, options.records // 3, 600_000
        options.warm //= 3
    report.RESULTS.mkdir(exist_ok=True)
    only = [name for name in options.only.split(",") if name]
    chosen = [
        point
        for point in points(options.warm + options.records, options.deepest)
        if not only or point.dimension in only
    ]
    before = report.machine()
    results: dict[Point, list[dict[str, float]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        bench = Bench(brokers, folder, options)
        for repeat in range(options.repeats):
            for point in chosen:
                result = bench.measure(point)
                results[point].append(result)
                print(
                    f"{repeat + 1}/{options.repeats} {point.dimension} {point.label}: "
                    f"{result['cpu_us']:.2f} us of CPU a record, {result['wall_us']:.2f} us passed, "
                    f"idle {result['idle_cores']:.3f} cores",
                    flush=True,
                )
    return _report(options, before, results)


def _report(
    options: argparse.Namespace, before: dict[str, Any], results: dict[Point, list[dict[str, float]]]
) -> int:
    costs = {point: median_and_spread(run["cpu_us"] for run in runs) for point, runs in results.items()}
    dimensions = list(dict.fromkeys(point.dimension for point in results))
    by_dimension = {name: [point for point in results if point.dimension == name] for name in dimensions}
    rows = []
    targets = []
    series = {}
    for name, members in by_dimension.items():
        least = costs[members[0]][0]
        for point in members:
            median, low, high = costs[point]
            wall = median_and_spread(run["wall_us"] for run in results[point])[0]
            agents = median_and_spread(run["in_agents_us"] for run in results[point])[0]
            rows.append(
                [
                    name,
                    point.label,
                    f"{median:.2f} ({low:.2f} to {high:.2f})",
                    f"{median / least:.2f}",
                    f"{agents:.2f}",
                    f"{wall:.2f}",
                    f"{median_and_spread(run['rss_mb'] for run in results[point])[0]:.0f} MB",
                ]
            )
        what = f"cost a record, {name} {members[0].label} to {members[-1].label}"
        targets.append(Target("growth", what, MOST, rise([costs[p][0] for p in members]), "x", True))
        series[name] = [(point.value / members[0].value, costs[point][0] / least) for point in members]
    report.show(
        f"Processor time of the worker per record in us, median (least to greatest) of {options.repeats}; "
        f"{options.records:,} records of 300 bytes ({MORE_RECORDS} times as many for partitions and event "
        f"types), {len(MIX)} priorities",
        ["", "", "CPU us a record", "to the first", "in agents", "us passed", "memory"],
        rows,
    )
    report.show_machine(before)
    for target in targets:
        print(f"{target.what}: {target.row()[1]}, {target.row()[2]}, {target.verdict}")
    plot = plots.lines(
        report.RESULTS / "growth.svg",
        "Cost of a record as one thing grows",
        "times the least",
        "processor time a record, times that of the least",
        series,
        log_x=True,
        limit=MOST,
    )
    path = report.write(
        "growth",
        {
            "machine": before,
            "options": vars(options),
            "targets": [target.to_json() for target in targets],
            "plots": [plot.name],
            "results": [
                {"dimension": p.dimension, "label": p.label, "value": p.value, "runs": runs}
                for p, runs in results.items()
            ],
        },
    )
    print(f"Written to {path.relative_to(ROOT)} and {plot.relative_to(ROOT)}")
    return 0 if all_met(targets) else 1


if __name__ == "__main__":
    raise SystemExit(main())
