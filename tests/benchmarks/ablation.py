"""``python -m tests.benchmarks.ablation``: what each mechanism brings, by taking one out at a time.

CRITICAL under a DEBUG backlog, with work and without, and decode and count until committed, for Tocsin as it
ships and for Tocsin without one of its mechanisms. There are no targets.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import plots, report
from tests.benchmarks.arms.ablations import ABLATIONS
from tests.benchmarks.arms.registry import Arm, arms
from tests.benchmarks.cluster import bench_cluster
from tests.benchmarks.latency import figures
from tests.benchmarks.latency_run import Plan, Scenario, in_a_line, milliseconds, run_scenario, work_in_words
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.throughput import fill, run_arm

WHOLE = "nothing"
WORKS_US = (500.0, 0.0)

#: Of each variant: the latency runs by work a record, and the throughput runs.
Latencies = Mapping[str, Mapping[float, Sequence[Mapping[str, Any]]]]
Rates = Mapping[str, Sequence[Mapping[str, float]]]


def title(variant: str) -> str:
    """A variant in words."""
    return "Tocsin" if variant == WHOLE else ABLATIONS[variant][0]


def main(arguments: list[str] | None = None) -> int:
    """Run every variant several times in turn; always 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    every = [WHOLE, *ABLATIONS]
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--without", default=",".join(every), help="some of these")
    parser.add_argument("--seconds", type=float, default=10.0, help="of CRITICAL in each run")
    parser.add_argument("--rate", type=float, default=100.0, help="CRITICAL a second")
    parser.add_argument("--backlog", type=int, default=60_000, help="DEBUG held queued")
    parser.add_argument("--messages", type=int, default=600_000, help="records to count; 0 for none")
    parser.add_argument("--grace", type=float, default=20.0, help="seconds to wait for late ones")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--event-types", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="once, shorter")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.seconds = 1, min(options.seconds, 4.0)
        options.messages = min(options.messages, 200_000)
    chosen = options.without.split(",")
    if unknown := [name for name in chosen if name not in every]:
        parser.error(f"there is no {unknown[0]} to take out; use some of {', '.join(every)}")
    plan = Plan(
        rate=options.rate, seconds=options.seconds, grace=options.grace, partitions=options.partitions
    )
    before = report.machine()
    arm = arms()["tocsin"]
    latencies: dict[str, dict[float, list[dict[str, Any]]]] = {
        name: {work: [] for work in WORKS_US} for name in chosen
    }
    rates: dict[str, list[dict[str, float]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        options.only_debug = False
        if options.messages:
            fill(brokers, folder, "all.", options.messages, options)
        number = 0
        for _ in range(options.repeats):
            for name in chosen:
                for work in WORKS_US:
                    number += 1
                    scenario = Scenario("tocsin", title(name), options.backlog, work, _tune(name))
                    run = run_scenario(scenario, arm, brokers, folder, number, plan)
                    latencies[name][work].append(run)
                    print(f"{title(name)}, {scenario.load}\n    {in_a_line(run)}", flush=True)
                if options.messages:
                    number += 1
                    rates[name].append(_count(arm, name, brokers, folder, number, options))
                    print(f"    {rates[name][-1]['committed']:,.0f}/s committed", flush=True)
    return _report(options, before, latencies, rates)


def _tune(name: str) -> str:
    return json.dumps({} if name == WHOLE else {"without": [name]})


def _count(
    arm: Arm, name: str, brokers: str, folder: Path, number: int, options: argparse.Namespace
) -> dict[str, float]:
    how = argparse.Namespace(partitions=options.partitions, tune=_tune(name), profile=False)
    return run_arm(arm, brokers, folder, "all.", options.messages, number, how)


def rows(latencies: Latencies, rates: Rates) -> list[list[str]]:
    """The table: a variant a row."""
    found = []
    for name, by_work in latencies.items():
        row = [title(name)]
        for runs in by_work.values():
            for what in ("agent", "visible"):
                p50, p99 = (
                    milliseconds(median_and_spread(figures(runs, what, figure))[0])
                    for figure in ("p50", "p99")
                )
                row.append(f"{p50} / {p99}")
        committed = median_and_spread(run["committed"] for run in rates.get(name, ()))[0]
        found.append([*row, f"{committed:,.0f}" if committed == committed else ""])
    return found


def _report(options: argparse.Namespace, before: dict[str, Any], latencies: Latencies, rates: Rates) -> int:
    columns = [
        f"{work_in_words(work)}: {where}"
        for work in WORKS_US
        for where in ("to the agent", "to alerts.critical")
    ]
    report.show(
        f"One mechanism taken out: CRITICAL p50 / p99 under {options.backlog:,} DEBUG, and records a second",
        ["", *columns, "until committed"],
        rows(latencies, rates),
    )
    agent = {
        f"{title(name)}, {work_in_words(work)}": median_and_spread(
            1000 * value for value in figures(runs, "agent", "p99")
        )
        for name, by_work in latencies.items()
        for work, runs in by_work.items()
    }
    drawn = [
        plots.bars(
            report.plot_path("ablation-latency"),
            f"CRITICAL to the agent under {options.backlog:,} DEBUG, one mechanism taken out",
            "p99, ms",
            agent,
            log_y=True,
        )
    ]
    if rates:
        drawn.append(
            plots.bars(
                report.plot_path("ablation-throughput"),
                "Decode and count until committed, one mechanism taken out",
                "records a second",
                {
                    title(name): median_and_spread(run["committed"] for run in runs)
                    for name, runs in rates.items()
                },
            )
        )
    report.finish(
        "ablation",
        before,
        [],
        {
            "options": vars(options),
            "latency": latencies,
            "throughput": rates,
            "plots": [path.name for path in drawn],
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
