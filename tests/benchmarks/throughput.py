"""``python -m tests.benchmarks.throughput``: records a second, decoded and counted.

The same topics, filled before, are consumed by every arm in turn. The clock starts with the first record
that an arm handles. It is stopped twice: when the last record is counted, and when the group has
committed all offsets, which for Tocsin means that counts are durable in Kafka.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import plots, report
from tests.benchmarks.arms.registry import Arm, arms
from tests.benchmarks.cluster import CommittedOffsets, bench_cluster, create_topics, notification_topics
from tests.benchmarks.load import MIX, Load
from tests.benchmarks.measure import median_and_spread, paired_ratios
from tests.benchmarks.processes import BenchmarkError, running, wait_until
from tests.benchmarks.profiling import Profile
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.usage import Usage, broker_pid, shown

_POLL_S = 0.05

#: Peer, and how many times as fast Tocsin is to be, counts flushed and offsets committed.
#: Of Quix Streams both forms: with group_by it gives the same counts as Tocsin, by partition it is quicker.
TARGETS = {"aiokafka": 0.7, "faust": 15.0, "faust-table": 50.0, "quix-group-by": 8.0, "quix-state": 8.0}

#: Figures of each run, in order, by arm; None for a run that failed.
Results = Mapping[str, Sequence[Mapping[str, float] | None]]


def run_arm(
    arm: Arm, brokers: str, folder: Path, prefix: str, messages: int, number: int, options: argparse.Namespace
) -> dict[str, float]:
    """Let one arm consume everything once."""
    name = f"bench-{arm.name}-{number}"
    path = folder / name
    path.mkdir()
    spec = RunSpec(
        brokers=brokers,
        group=name,
        prefix=prefix,
        alerts=f"{name}.alerts.",
        partitions=options.partitions,
        work_us=0,
        target=messages,
        progress=str(path / "progress"),
        folder=str(path),
        options={"tune": json.loads(options.tune or "null")} | arm.options,
    )
    progress = Progress(spec.progress)
    committed = CommittedOffsets(brokers, name, list(notification_topics(prefix).values()))
    try:
        module = f"tests.benchmarks.arms.{arm.module}"
        with running(module, spec.to_json(), log=path / "log", python=arm.python, env=arm.env) as child:
            wait_until(lambda: progress.read().first_ns > 0, 90, "the first record", child)
            usage = Usage(child.pid, broker_pid(folder))
            profile = Profile(child.pid, 10, report.RESULTS / f"{name}.raw") if options.profile else None
            wait_until(lambda: progress.read().reached_ns > 0, 600, "the last record", child, poll_s=_POLL_S)
            used = usage.since_start()
            wait_until(lambda: committed.total() >= messages, 60, "the last commit", child, poll_s=_POLL_S)
            now = time.monotonic_ns()
            if profile is not None:
                profile.print_hottest()
    finally:
        committed.close()
    counted_s = (progress.reached_ns - progress.first_ns) / 1e9
    return {
        "counted_s": counted_s,
        "counted": messages / counted_s,
        "committed": messages / ((now - progress.first_ns) / 1e9),
        **used,
    }


def ratios(results: Results, peer: str, ours: str, theirs: str, arm: str = "tocsin") -> list[float]:
    """Of each repeat: the figure ``ours`` of Tocsin over the figure ``theirs`` of a peer."""

    def figures(name: str, what: str) -> list[float]:
        return [math.nan if run is None else run[what] for run in results.get(name, ())]

    return [ratio for ratio in paired_ratios(figures(arm, ours), figures(peer, theirs)) if ratio == ratio]


def targets(results: Results, known: Mapping[str, Arm], asked: Collection[str]) -> list[Target]:
    """The targets as to the peers that were asked for; NaN for one that did not run."""
    found = []
    for peer, limit in TARGETS.items():
        if peer not in asked:
            continue
        each = ratios(results, peer, "committed", "counted")
        title = known[peer].title if peer in known else peer
        missing = "" if each else " (did not run)"
        what = f"decode + count, flushed and committed, to {title}{missing}"
        found.append(Target("throughput", what, limit, median_and_spread(each)[0], "x", False))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run all arms several times in turn; 0 when Tocsin met its targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    known = {name: arm for name, arm in arms().items() if arm.throughput}
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--messages", type=int, default=2_000_000, help="records, for the fast arms")
    parser.add_argument("--few", type=int, default=60_000, help="records, for the slow arms")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--event-types", type=int, default=200)
    parser.add_argument("--only-debug", action="store_true", help="publish DEBUG alone")
    parser.add_argument("--arms", default=",".join(known), help="some of these")
    parser.add_argument("--quick", action="store_true", help="a third of the records, once")
    parser.add_argument("--tune", default="", help='trial changes of Tocsin, as {"gc": [50000, 50, 50]}')
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.messages, options.few = 1, options.messages // 3, options.few // 3
    if unknown := [name for name in options.arms.split(",") if name not in known]:
        parser.error(f"there is no arm {unknown[0]}; use some of {', '.join(known)}")
    chosen = report.available([known[name] for name in options.arms.split(",")])
    before = report.machine()
    results: dict[str, list[dict[str, float] | None]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        sets = {True: ("large.", options.messages), False: ("small.", options.few)}
        for large, (prefix, messages) in sets.items():
            if any(arm.large is large for arm in chosen.values()):
                fill(brokers, folder, prefix, messages, options)
        number = 0
        for repeat in range(options.repeats):
            # There and back again, so that neighbours stay neighbours and no arm is always the first.
            turn = list(chosen.values())[:: -1 if repeat % 2 else 1]
            for arm in turn:
                number += 1
                prefix, messages = sets[arm.large]
                label = f"{repeat + 1}/{options.repeats} {arm.title}"
                try:
                    run = run_arm(arm, brokers, folder, prefix, messages, number, options)
                except BenchmarkError as error:
                    if arm.module == "tocsin":
                        raise
                    results[arm.name].append(None)
                    print(f"{label} failed: {error}", flush=True)
                    continue
                results[arm.name].append(run)
                print(
                    f"{label}: {run['counted']:,.0f}/s counted, {run['committed']:,.0f}/s committed; "
                    f"{shown(run)}",
                    flush=True,
                )
    everything = options.arms == parser.get_default("arms")
    asked = TARGETS.keys() if everything else options.arms.split(",")
    reached = targets(results, known, asked) if results.get("tocsin") else []
    return _report(options, before, results, chosen, reached)


def fill(brokers: str, folder: Path, prefix: str, messages: int, options: argparse.Namespace) -> None:
    """Publish a set of notifications that all arms of a kind consume."""
    print(f"Publishing {messages:,} notifications", flush=True)
    create_topics(brokers, list(notification_topics(prefix).values()), options.partitions)
    Load(
        "fill",
        brokers,
        prefix,
        messages,
        str(folder / f"{prefix}progress"),
        event_types=options.event_types,
        mix={"debug": 1.0} if options.only_debug else MIX,
    ).run(folder / "load.log")


def _spread(values: Sequence[float], form: str) -> str:
    median, least, greatest = median_and_spread(values)
    if math.isnan(median):
        return ""
    return f"{median:{form}}" + (f" ({least:{form}} to {greatest:{form}})" if len(values) > 1 else "")


def rows(results: Results, chosen: Mapping[str, Arm]) -> list[list[str]]:
    """The table: one row an arm."""
    found = []
    for name, arm in chosen.items():
        runs = [run for run in results.get(name, ()) if run is not None]
        if not runs:
            found.append([arm.title, "failed", *[""] * 6])
            continue
        found.append(
            [
                arm.title,
                _spread([run["counted"] for run in runs], ",.0f"),
                _spread([run["committed"] for run in runs], ",.0f"),
                f"{median_and_spread(run['counted'] / run['cpu'] for run in runs if run['cpu'])[0]:,.0f}",
                f"{median_and_spread(run['rss_mb'] for run in runs)[0]:.0f} MB",
                _spread(ratios(results, name, "committed", "counted"), ".3g"),
                _spread(ratios(results, name, "committed", "committed"), ".3g"),
                _spread(ratios(results, name, "counted", "counted"), ".3g"),
            ]
        )
    return found


def draw(results: Results, chosen: Mapping[str, Arm]) -> list[str]:
    """Plots of the rates, and of the ratios with their bars; names of the files."""
    rates = {
        f"{arm.title}, {what}": median_and_spread(run[what] for run in results[name] if run is not None)
        for name, arm in chosen.items()
        if name in results
        for what in ("counted", "committed")
    }
    path = plots.bars(
        report.plot_path("throughput"),
        "Decode and count, until counted and until committed",
        "records a second",
        rates,
        log_y=True,
        limit=None,
    )
    return [path.name]


def _report(
    options: argparse.Namespace,
    before: dict[str, Any],
    results: Results,
    chosen: Mapping[str, Arm],
    reached: Sequence[Target],
) -> int:
    forwarded = 0.0 if options.only_debug else MIX["critical"] + MIX["error"]
    report.show(
        f"Decode and count: records a second, median (least to greatest) of {options.repeats}",
        [
            *("", "until counted", "until committed", "a CPU second", "memory"),
            *("ratio", "both committed", "both counted"),
        ],
        rows(results, chosen),
    )
    print(
        "Ratio: Tocsin until committed over the row until counted, run by run of one repeat; unkind to "
        "Tocsin, whose counts are durable by then. Beside it, like with like.\n"
        f"{options.messages:,} records of 300 bytes ({options.few:,} for slow arms), "
        f"{forwarded:.0%} of them CRITICAL or ERROR, "
        f"{options.partitions} partitions a topic, {options.event_types} event types, "
        f"{'DEBUG alone' if options.only_debug else 'all five priorities'}."
    )
    report.finish(
        "throughput",
        before,
        reached,
        {
            "options": vars(options),
            "runs": results,
            "ratios": {
                name: {
                    f"{ours} to {theirs}": ratios(results, name, ours, theirs)
                    for ours, theirs in (
                        ("committed", "counted"),
                        ("committed", "committed"),
                        ("counted", "counted"),
                    )
                }
                for name in results
                if name != "tocsin"
            },
            "plots": draw(results, chosen),
        },
    )
    return 0 if all_met(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
