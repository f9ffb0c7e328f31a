"""``python -m tests.benchmarks.idle``: what a worker costs while nothing happens.

A worker counts some notifications first, so that it has tables, rows and connections like any other; then
its processor time (user and system, of all its threads) is taken over some seconds without traffic.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.benchmarks import plots, report
from tests.benchmarks.cluster import bench_cluster, notification_topics
from tests.benchmarks.load import Load
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import wait_until
from tests.benchmarks.profiling import Profile
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.trial import make_topics, trial

#: Percent of one core.
LIMIT = 2.0
_ARMS = {
    "tocsin": ("Tocsin", "tocsin", {"forward": True}),
    "faust-table": ("stock Faust, with a table", "stock_faust", {"table": True}),
}
_PARTS = 3


def idle_cpu(
    name: str, brokers: str, folder: Path, number: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One run of one arm: processor use in percent of a core, in ``_PARTS`` equal parts of the time."""
    _, module, arm_options = _ARMS[name]
    group = f"bench-idle-{name}-{number}"
    prefix = f"{group}.notifications."
    make_topics(brokers, prefix, options.partitions)
    Load("fill", brokers, prefix, options.messages, str(folder / f"{group}-load")).run(folder / "load.log")
    with trial(
        module,
        brokers,
        folder,
        group,
        prefix,
        partitions=options.partitions,
        target=options.messages,
        options=arm_options,
    ) as arm:
        arm.wait_for_first()
        wait_until(lambda: arm.progress.read().reached_ns > 0, 120, "the last record", arm.child)
        arm.wait_for_commit(options.messages)
        time.sleep(options.settle)
        path = report.RESULTS / f"{group}.raw"
        profile = Profile(arm.child.pid, int(options.seconds), path) if options.profile else None
        parts = []
        for _ in range(_PARTS):
            used, began = arm.cpu_s(), time.monotonic()
            time.sleep(options.seconds / _PARTS)
            parts.append(100 * (arm.cpu_s() - used) / (time.monotonic() - began))
        if profile is not None:
            profile.print_hottest()
        arm.child.check()
        return {"parts": parts, "percent": sum(parts) / len(parts), "rss_mb": arm.rss_mb()}


def targets(results: dict[str, list[dict[str, Any]]]) -> list[Target]:
    """At most 2 % of a core, in the median run."""
    if not (runs := results.get("tocsin")):
        return []
    reached = median_and_spread(run["percent"] for run in runs)[0]
    return [Target("idle", "processor without traffic, of one core", LIMIT, reached, "%", True)]


def main(arguments: list[str] | None = None) -> int:
    """Measure every arm; 0 when Tocsin met its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0, help="without traffic")
    parser.add_argument("--settle", type=float, default=15.0, help="seconds from the last commit on")
    parser.add_argument("--messages", type=int, default=20_000, help="counted before")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--arms", default=",".join(_ARMS))
    parser.add_argument("--quick", action="store_true", help="shorter")
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.settle = min(options.seconds, 9.0), min(options.settle, 6.0)
    if unknown := [name for name in options.arms.split(",") if name not in _ARMS]:
        parser.error(f"there is no arm {unknown[0]}; use some of {', '.join(_ARMS)}")
    before = report.machine()
    results: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        for repeat in range(options.repeats):
            for name in options.arms.split(","):
                run = idle_cpu(name, brokers, folder, repeat, options)
                results[name].append(run)
                print(
                    f"{repeat + 1}/{options.repeats} {_ARMS[name][0]}: {run['percent']:.2f} % of a core, "
                    f"{run['rss_mb']:.0f} MB",
                    flush=True,
                )
    return _report(options, before, results)


def _report(
    options: argparse.Namespace, before: dict[str, Any], results: dict[str, list[dict[str, Any]]]
) -> int:
    spread = {
        _ARMS[name][0]: median_and_spread(part for run in runs for part in run["parts"])
        for name, runs in results.items()
    }
    report.show(
        f"Processor use in percent of one core over {options.seconds:g} s without traffic, "
        f"{len(notification_topics(''))} topics of {options.partitions} partitions",
        ["", "mean", "parts of it, least to greatest", "memory"],
        [
            [
                _ARMS[name][0],
                f"{median_and_spread(run['percent'] for run in runs)[0]:.2f} %",
                f"{spread[_ARMS[name][0]][1]:.2f} to {spread[_ARMS[name][0]][2]:.2f} %",
                f"{median_and_spread(run['rss_mb'] for run in runs)[0]:.0f} MB",
            ]
            for name, runs in results.items()
        ],
    )
    reached = targets(results)
    plot = plots.bars(
        report.plot_path("idle"), "A worker without traffic", "percent of one core", spread, limit=LIMIT
    )
    report.finish(
        "idle",
        before,
        reached,
        {"options": vars(options), "runs": results, "plots": [plot.name]},
    )
    return 0 if all_met(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
