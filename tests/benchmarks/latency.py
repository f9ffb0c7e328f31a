"""``python -m tests.benchmarks.latency``: how long CRITICAL takes to an agent, and to ``alerts.critical``.

CRITICAL is published at a fixed rate while a worker is busy with a backlog of DEBUG (or of ERROR, which is
forwarded as well: a storm), topped up as it is consumed. Between two of them the same goes through Kafka
alone, from the same publisher to the same consumer: a bare hop. Arms note when an agent begins to handle each
CRITICAL, and a consumer in a process of its own when it sees each alert. A notification that never arrives
counts as infinitely late.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.benchmarks import plots, report
from tests.benchmarks.arms.registry import Arm, arms
from tests.benchmarks.cluster import bench_cluster
from tests.benchmarks.latency_run import (
    Plan,
    Scenario,
    in_a_line,
    milliseconds,
    run_scenario,
    work_in_words,
)
from tests.benchmarks.measure import median_and_spread, paired_ratios, summary
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.targets import Target, all_met

FLAT = 1.5
AGENT_MS = 25.0
CONSUMER_MS = 50.0
#: A notification and its alert are two hops, and between them is the worker.
HOPS = 2.5
#: A worker that is less busy than this waits for DEBUG rather than letting it wait.
BUSY = 0.9
BACKLOGS = (0, 1_000, 60_000, 600_000)
WORKS_US = (500.0, 0.0)
_PEER_BACKLOG = 60_000
#: Brokers run for months. A fresh one compiles its code for its first minute, on the cores that are measured.
_WARM_UP = Scenario("tocsin", "Tocsin", 60_000, 0.0)
#: Peers that are measured without a backlog too; for the others it tells nothing more.
_PEERS_ALONE = ("faust", "aiokafka")

Results = Mapping[Scenario, Sequence[Mapping[str, Any]]]


def scenarios(
    chosen: Mapping[str, Arm], backlogs: Sequence[int], works: Sequence[float], peer_backlog: int
) -> list[Scenario]:
    """All scenarios of a repeat: Tocsin under every load; each peer with work, under one backlog."""
    found = []
    for arm in chosen.values():
        if not arm.latency:
            continue
        if arm.name == "tocsin":
            found += [Scenario(arm.name, arm.title, backlog, work) for work in works for backlog in backlogs]
        else:
            peer = [0] if arm.name in _PEERS_ALONE and 0 in backlogs else []
            found += [Scenario(arm.name, arm.title, n, max(works)) for n in [*peer, peer_backlog]]
    return found


def figures(runs: Sequence[Mapping[str, Any]], what: str, name: str) -> list[float]:
    """A figure of ``summary`` in seconds, one per run."""
    return [summary(run[what])[name] for run in runs]


def targets(results: Results) -> list[Target]:
    """The targets of the runs of Tocsin as it ships."""
    own = {scenario: runs for scenario, runs in results.items() if scenario.arm == "tocsin" and runs}
    p99 = {
        what: {scenario: median_and_spread(figures(runs, what, "p99"))[0] for scenario, runs in own.items()}
        for what in ("agent", "visible")
    }
    found = []
    for work in sorted({scenario.work_us for scenario in own}, reverse=True):
        alone = next((runs for one, runs in own.items() if one.work_us == work and not one.backlog), [])
        ratios = [
            median_and_spread(paired_ratios(figures(runs, "agent", "p99"), figures(alone, "agent", "p99")))[0]
            for scenario, runs in own.items()
            if scenario.work_us == work and scenario.backlog
        ]
        if alone and ratios:
            what = f"CRITICAL to the agent, {work_in_words(work)}: worst p99 to that without a backlog"
            worst = math.nan if any(map(math.isnan, ratios)) else max(ratios)
            found.append(Target("latency", what, FLAT, worst, "x", True))
    beside_a_hop = [
        ratio
        for runs in own.values()
        for ratio in paired_ratios(figures(runs, "visible", "p50"), figures(runs, "hop", "p50"))
    ]
    if beside_a_hop:
        what = "CRITICAL to a consumer of alerts.critical: worst p50 to that of a bare hop in the same run"
        found.append(Target("latency", what, HOPS, max(beside_a_hop), "x", True))
    for what, words, limit in (
        ("agent", "CRITICAL to the agent: worst p99 of all backlogs", AGENT_MS),
        ("visible", "CRITICAL to a consumer of alerts.critical: worst p99 of all backlogs", CONSUMER_MS),
    ):
        worst = max((value for value in p99[what].values()), default=math.nan)
        found.append(Target("latency", words, limit, 1000 * worst, "ms", True))
    return found if own else []


def main(arguments: list[str] | None = None) -> int:
    """Run all scenarios several times in turn; 0 when Tocsin met its targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    known = {name: arm for name, arm in arms().items() if arm.latency}
    parser.add_argument("--repeats", type=int, default=3, help="of Tocsin")
    parser.add_argument("--peer-repeats", type=int, default=1, help="of the others, whose CRITICAL is late")
    parser.add_argument("--seconds", type=float, default=10.0, help="of CRITICAL in each run")
    parser.add_argument("--rate", type=float, default=100.0, help="CRITICAL a second")
    parser.add_argument("--works", default="500,0", help="microseconds of work a record")
    parser.add_argument("--backlogs", default=",".join(map(str, BACKLOGS)), help="DEBUG held queued")
    parser.add_argument(
        "--flood", default="DEBUG", choices=["DEBUG", "ERROR"], help="priority of the backlog, for Tocsin"
    )
    parser.add_argument("--peer-backlog", type=int, default=_PEER_BACKLOG, help="the same for the others")
    parser.add_argument("--grace", type=float, default=90.0, help="seconds to wait for late ones")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument(
        "--warm-up", type=int, default=2, help="runs of Tocsin before, whose results do not count"
    )
    parser.add_argument("--arms", default=",".join(known), help="some of these")
    parser.add_argument(
        "--quick", action="store_true", help="once, shorter, and stock Faust as the only peer"
    )
    parser.add_argument("--tune", default="", help='trial changes of Tocsin, as {"turns": 5}')
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.seconds, options.warm_up = 1, min(options.seconds, 4.0), 1
        if options.arms == parser.get_default("arms"):
            options.arms = "tocsin,faust"
    if unknown := [name for name in options.arms.split(",") if name not in known]:
        parser.error(f"there is no arm {unknown[0]}; use some of {', '.join(known)}")
    chosen = report.available([known[name] for name in options.arms.split(",")])
    plan = Plan(
        rate=options.rate,
        seconds=options.seconds,
        grace=options.grace,
        partitions=options.partitions,
        profile=options.profile,
    )
    every = scenarios(
        chosen,
        [int(number) for number in options.backlogs.split(",")],
        [float(number) for number in options.works.split(",")],
        options.peer_backlog,
    )
    if options.quick:
        every = [one for one in every if one.arm == "tocsin" or one.backlog]
    before = report.machine()
    results: dict[Scenario, list[dict[str, Any]]] = defaultdict(list)
    failed: list[str] = []
    with bench_cluster() as (brokers, folder):
        number = 0
        for number in range(1, options.warm_up + 1):
            print(f"Warming up, {number} of {options.warm_up}", flush=True)
            run_scenario(_WARM_UP, known["tocsin"], brokers, folder, number, plan)
        for repeat in range(max(options.repeats, options.peer_repeats)):
            for scenario in every:
                own = scenario.arm == "tocsin"
                if repeat >= (options.repeats if own else options.peer_repeats):
                    continue
                if own:
                    title = f"Tocsin, {options.tune}" if options.tune else scenario.title
                    scenario = replace(  # noqa: PLW2901
                        scenario, title=title, tune=options.tune, flood=options.flood
                    )
                number += 1
                print(f"{repeat + 1} {scenario.title}, {scenario.load}", flush=True)
                try:
                    run = run_scenario(scenario, chosen[scenario.arm], brokers, folder, number, plan)
                except BenchmarkError as error:
                    if own:
                        raise
                    failed.append(f"{scenario.title}, {scenario.load}: {error}")
                    print(f"    failed: {error}", flush=True)
                    continue
                results[scenario].append(run)
                print(f"    {in_a_line(run)}", flush=True)
    return _report(options, before, results, failed)


def rows(results: Results) -> list[list[str]]:
    """The table: one row a scenario."""
    found = []
    for scenario, runs in results.items():
        undelivered = sum(figures(runs, "visible", "undelivered"))
        row = [scenario.title, scenario.load]
        for what in ("agent", "visible", "hop"):
            p99, least, greatest = map(milliseconds, median_and_spread(figures(runs, what, "p99")))
            row.append(milliseconds(median_and_spread(figures(runs, what, "p50"))[0]))
            row.append(f"{p99} ({least} to {greatest})" if len(runs) > 1 else p99)
        row += [
            milliseconds(max(figures(runs, "visible", "max"))),
            f"{sum(figures(runs, 'visible', 'samples')):,.0f}"
            + (f", {undelivered:,.0f} never" if undelivered else ""),
            f"{median_and_spread(run['queued'] for run in runs)[0]:,.0f}" if scenario.backlog else "0",
            f"{median_and_spread(run['cpu'] for run in runs)[0]:.0%}",
            f"{median_and_spread(run['records_per_s'] for run in runs)[0]:,.0f}",
        ]
        found.append(row)
    return found


def idle_workers(results: Results) -> list[str]:
    """Scenarios with a backlog in which the worker was less busy than it should be."""
    return [
        f"{one.title}, {one.load}: {busy:.0%} busy"
        for one, runs in results.items()
        if one.backlog and (busy := median_and_spread(run["cpu"] for run in runs)[0]) < BUSY
    ]


def draw(results: Results) -> list[str]:
    """One plot per amount of work, of p99 to the agent against the backlog; names of the files."""
    written = []
    for work in sorted({scenario.work_us for scenario in results}, reverse=True):
        series: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for scenario, runs in results.items():
            if scenario.work_us == work:
                for what, words in (("agent", "agent"), ("visible", "alerts.critical")):
                    if what == "agent" or scenario.arm == "tocsin":
                        p99 = 1000 * median_and_spread(figures(runs, what, "p99"))[0]
                        series[f"{scenario.title}, to {words}"].append((scenario.backlog, p99))
        path = plots.lines(
            report.plot_path("latency" if work else "latency-no-work"),
            f"CRITICAL under a backlog, {work_in_words(work)}",
            "records queued",
            "p99 from publishing, ms",
            dict(series),
            log_x=True,
            log_y=True,
            limit=AGENT_MS,
        )
        written.append(path.name)
    return written


def _report(options: argparse.Namespace, before: dict[str, Any], results: Results, failed: list[str]) -> int:
    report.show(
        f"CRITICAL at {options.rate:g}/s from publishing: to the agent, and to a consumer of "
        "alerts.critical; median (least to greatest) of the runs",
        [
            *(
                "",
                "load",
                "p50 agent",
                "p99 agent",
                "p50 alert",
                "p99 alert",
                "p50 hop",
                "p99 hop",
                "max alert",
            ),
            *("samples", "queued", "busy", "records/s"),
        ],
        rows(results),
    )
    for line in [*idle_workers(results), *failed]:
        print(f"Note: {line}.")
    reached = targets(results)
    report.finish(
        "latency",
        before,
        reached,
        {
            "options": vars(options),
            "results": [
                {
                    "arm": one.arm,
                    "scenario": one.title,
                    "backlog": one.backlog,
                    "work_us": one.work_us,
                    "tune": one.tune,
                    "flood": one.flood,
                    "agent": [summary(run["agent"]) for run in runs],
                    "visible": [summary(run["visible"]) for run in runs],
                    "hop": [summary(run["hop"]) for run in runs],
                    "runs": runs,
                }
                for one, runs in results.items()
            ],
            "failed": failed,
            "plots": draw(results),
        },
    )
    return 0 if all_met(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
