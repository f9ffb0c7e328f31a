"""``python -m tests.benchmarks.throughput``: records a second, decoded and counted.

The same topics, filled before, are consumed by every arm in turn. The clock starts with the first record
that an arm handles. It is stopped twice: when the last record is counted, and when the group has
committed all offsets, which for Tocsin means that counts are durable in Kafka.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks import report
from tests.benchmarks.cluster import CommittedOffsets, bench_cluster, create_topics, notification_topics
from tests.benchmarks.load import MIX, Load
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import ROOT, running, wait_until
from tests.benchmarks.profiling import Profile
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec
from tests.benchmarks.usage import Usage, broker_pid, shown

TARGET = 60_000
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to count. ``large``: fast enough for the large set of records."""

    name: str
    module: str
    large: bool
    options: dict[str, Any] = field(default_factory=dict)


ARMS = {
    "tocsin": Arm("Tocsin, decode and count", "tocsin", True),
    "tocsin-forward": Arm("Tocsin, alerts forwarded too", "tocsin", True, {"forward": True}),
    "aiokafka": Arm("bare aiokafka + orjson, dict", "bare_aiokafka", True),
    "faust": Arm("stock Faust, dict", "stock_faust", False),
    "faust-table": Arm("stock Faust, a table write a record", "stock_faust", False, {"table": True}),
}


def run_arm(
    arm: Arm, brokers: str, folder: Path, prefix: str, messages: int, number: int, options: argparse.Namespace
) -> dict[str, float]:
    """Let one arm consume everything once."""
    name = f"bench-{arm.module.replace('_', '-')}-{number}"
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
        options=arm.options | {"tune": json.loads(options.tune or "null")},
    )
    progress = Progress(spec.progress)
    committed = CommittedOffsets(brokers, name, list(notification_topics(prefix).values()))
    try:
        with running(f"tests.benchmarks.arms.{arm.module}", spec.to_json(), log=path / "log") as child:
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


def main(arguments: list[str] | None = None) -> int:
    """Run all arms several times in turn; 0 when Tocsin met its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--messages", type=int, default=600_000, help="records, for the fast arms")
    parser.add_argument("--few", type=int, default=60_000, help="records, for the slow arms")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--event-types", type=int, default=200)
    parser.add_argument("--only-debug", action="store_true", help="publish DEBUG alone")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--quick", action="store_true", help="a third of the records, once")
    parser.add_argument("--tune", default="", help='trial changes of Tocsin, as {"gc": [50000, 50, 50]}')
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.messages, options.few = 1, options.messages // 3, options.few // 3
    report.RESULTS.mkdir(exist_ok=True)
    unknown = [name for name in options.arms.split(",") if name not in ARMS]
    if unknown:
        parser.error(f"there is no arm {unknown[0]}; use some of {', '.join(ARMS)}")
    arms = [ARMS[name] for name in options.arms.split(",")]
    before = report.machine()
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        sets = {True: ("large.", options.messages), False: ("small.", options.few)}
        for large, (prefix, messages) in sets.items():
            if any(arm.large is large for arm in arms):
                print(f"Publishing {messages} notifications", flush=True)
                create_topics(brokers, list(notification_topics(prefix).values()), options.partitions)
                load = Load(
                    "fill",
                    brokers,
                    prefix,
                    messages,
                    str(folder / f"{prefix}progress"),
                    event_types=options.event_types,
                    mix={"debug": 1.0} if options.only_debug else MIX,
                )
                load.run(folder / "load.log")
        number = 0
        for repeat in range(options.repeats):
            for arm in arms:
                number += 1
                prefix, messages = sets[arm.large]
                result = run_arm(arm, brokers, folder, prefix, messages, number, options)
                results[arm.name].append(result)
                print(
                    f"{repeat + 1}/{options.repeats} {arm.name}: {result['counted']:,.0f}/s counted, "
                    f"{result['committed']:,.0f}/s committed; {shown(result)}",
                    flush=True,
                )
    return _report(options, before, results)


def _report(
    options: argparse.Namespace, before: dict[str, Any], results: dict[str, list[dict[str, float]]]
) -> int:
    own = ARMS["tocsin"].name
    reached = median_and_spread(run["committed"] for run in results[own])[0] if own in results else 0.0
    forwarded = 0.0 if options.only_debug else MIX["critical"] + MIX["error"]
    rows = []
    for name, runs in results.items():
        counted = median_and_spread(run["counted"] for run in runs)
        committed = median_and_spread(run["committed"] for run in runs)
        rows.append(
            [
                name,
                f"{counted[0]:,.0f} ({counted[1]:,.0f} to {counted[2]:,.0f})",
                f"{committed[0]:,.0f} ({committed[1]:,.0f} to {committed[2]:,.0f})",
                f"{median_and_spread(run['counted'] / run['cpu'] for run in runs)[0]:,.0f}",
                f"{median_and_spread(run['rss_mb'] for run in runs)[0]:.0f} MB",
                f"{reached / counted[0]:.2f}" if reached else "",
            ]
        )
    report.show(
        f"Decode and count: records a second, median (least to greatest) of {options.repeats}",
        ["", "until counted", "until committed", "a CPU second", "memory", "ratio"],
        rows,
    )
    print(
        "Ratio: Tocsin's decode and count until committed, over the row's rate until counted "
        "(unkind to Tocsin, whose counts are durable by then).\n"
        f"{options.messages:,} records of 300 bytes ({options.few:,} for stock Faust), "
        f"{forwarded:.0%} of them CRITICAL or ERROR, "
        f"{options.partitions} partitions a topic, {options.event_types} event types, "
        f"{'DEBUG alone' if options.only_debug else 'all five priorities'}."
    )
    report.show_machine(before)
    path = report.write("throughput", {"machine": before, "options": vars(options), "runs": results})
    print(f"Written to {path.relative_to(ROOT)}")
    if not reached:
        return 0
    met = reached >= TARGET
    print(f"Target {TARGET:,}/s, committed: {'met' if met else 'MISSED'}, {reached:,.0f}/s.")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
