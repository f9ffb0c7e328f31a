"""``python -m tests.benchmarks.memory``: resident memory of a worker in front of a deep backlog.

Two backlogs, many small records and few large ones, of all five priorities. Tocsin's agents are held back
until its buffers are as full as they get; then all is consumed. What counts is the greatest resident memory
since the start of the process, as the kernel noted it, with everything that is in it: the interpreter, the
libraries, RocksDB, the buffers.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.notifications.priority import DEFAULT_PRIORITIES
from streams.settings import Settings
from tests.benchmarks import plots, report
from tests.benchmarks.cluster import bench_cluster, delete_topics
from tests.benchmarks.load import Load
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import ROOT, wait_until
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.trial import Trial, make_topics, trial

#: What a worker may take besides its buffers, in MB.
REST_MB = 150.0
#: What counts as the same memory for small and large records.
MOST_RATIO = 1.25

_POLL_S = 0.05
#: Seconds without growth after which buffers are taken to be full.
_FULL_S = 3.0
_LONGEST_FILL_S = 30.0
_SLOWEST_S = 300.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Records that wait at the start."""

    name: str
    records: int
    size: int

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.records:,} x {self.size / 1000:,.0f} kB" if self.records else "no backlog"


@dataclass(frozen=True, slots=True)
class Arm:
    """One consumer; ``seconds`` after which a slow one is stopped, 0 to let it consume everything."""

    module: str
    title: str
    seconds: float = 0.0
    gated: bool = False
    options: dict[str, Any] = field(default_factory=dict)


ARMS = {
    "tocsin": Arm("tocsin", "Tocsin", gated=True, options={"forward": True}),
    "aiokafka": Arm("bare_aiokafka", "bare aiokafka"),
    "faust": Arm("stock_faust", "stock Faust", seconds=20.0),
}


def bound_mb() -> float:
    """Bytes that the default settings allow to be buffered, over all priorities, in MB."""
    buffer_bytes: int = Settings.model_fields["buffer_bytes"].default
    return buffer_bytes * len(DEFAULT_PRIORITIES) / 1e6


def plateau(samples: list[tuple[float, float]], seconds: float, slack_mb: float) -> bool:
    """Whether the last ``seconds`` of (time, MB) brought no new maximum by more than ``slack_mb``."""
    if not samples or samples[-1][0] - samples[0][0] < seconds:
        return False
    since = samples[-1][0] - seconds
    earlier = max(mb for at, mb in samples if at <= since)
    return max(mb for at, mb in samples if at > since) <= earlier + slack_mb


def _watch(run: Trial, backlog: Backlog, arm: Arm) -> list[tuple[float, float]]:
    samples: list[tuple[float, float]] = []
    began = time.monotonic()

    def sample() -> None:
        samples.append((time.monotonic() - began, run.rss_mb()))

    if arm.gated:
        run.wait_for_ready()
    until = time.monotonic() + _LONGEST_FILL_S
    while time.monotonic() < until and (arm.gated or not backlog.records):
        sample()
        if plateau(samples, _FULL_S, 1.0):
            break
        run.child.check()
        time.sleep(_POLL_S)
    run.gate.touch()
    end = time.monotonic() + (arm.seconds or _SLOWEST_S)

    def done() -> bool:
        sample()
        run.progress.read()
        return run.progress.handled >= backlog.records or (arm.seconds > 0 and time.monotonic() > end)

    if backlog.records:
        wait_until(done, _SLOWEST_S, "the last record", run.child, poll_s=_POLL_S)
        if not arm.seconds:
            run.wait_for_commit(backlog.records)
        sample()
    return samples


def run_arm(
    arm: Arm, backlog: Backlog, brokers: str, folder: Path, name: str, options: argparse.Namespace
) -> dict[str, Any]:
    """One measurement."""
    with trial(
        arm.module,
        brokers,
        folder,
        name,
        f"{backlog.name}.",
        partitions=options.partitions,
        gated=arm.gated and backlog.records > 0,
        options=arm.options,
    ) as run:
        samples = _watch(run, backlog, arm)
        result = {
            "peak_mb": run.peak_rss_mb(),
            "handled": run.progress.read().handled,
            "samples": samples,
        }
    delete_topics(brokers, name)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run all arms on both backlogs; 0 when Tocsin met its targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2, help="of Tocsin; the others run once")
    parser.add_argument("--small", type=int, default=600_000, help="records of 1 kB")
    parser.add_argument("--large", type=int, default=2_000, help="records of 900 kB")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--quick", action="store_true", help="once, and a quarter of the records")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.small, options.large = 1, options.small // 4, options.large // 4
    unknown = [name for name in options.arms.split(",") if name not in ARMS]
    if unknown:
        parser.error(f"there is no arm {unknown[0]}; use some of {', '.join(ARMS)}")
    backlogs = [
        Backlog("none", 0, 0),
        Backlog("small", options.small, 1_000),
        Backlog("large", options.large, 900_000),
    ]
    before = report.machine()
    results: dict[tuple[str, Backlog], list[dict[str, Any]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        for backlog in backlogs:
            print(f"Publishing {backlog.title}", flush=True)
            make_topics(brokers, f"{backlog.name}.", options.partitions)
            if backlog.records:
                load = Load(
                    "fill",
                    brokers,
                    f"{backlog.name}.",
                    backlog.records,
                    str(folder / f"{backlog.name}-filled"),
                    size=backlog.size,
                )
                load.run(folder / "load.log")
            for repeat in range(options.repeats):
                for name in options.arms.split(","):
                    if repeat and name != "tocsin":
                        continue
                    group = f"memory-{name}-{backlog.name}-{repeat}"
                    result = run_arm(ARMS[name], backlog, brokers, folder, group, options)
                    results[name, backlog].append(result)
                    print(f"    {ARMS[name].title}: {result['peak_mb']:,.0f} MB at most", flush=True)
            delete_topics(brokers, f"{backlog.name}.")
    return _report(options, before, results)


def _report(
    options: argparse.Namespace,
    before: dict[str, Any],
    results: dict[tuple[str, Backlog], list[dict[str, Any]]],
) -> int:
    bound = bound_mb()
    peaks = {key: median_and_spread(run["peak_mb"] for run in runs) for key, runs in results.items()}
    own = {backlog.name: peak[0] for (name, backlog), peak in peaks.items() if name == "tocsin"}
    targets = []
    if own:
        many, few = own["small"], own["large"]
        targets = [
            Target("memory", "resident memory, many small records", bound + REST_MB, many, "MB", True),
            Target("memory", "resident memory, few large records", bound + REST_MB, few, "MB", True),
            Target(
                "memory",
                "the larger of both over the smaller",
                MOST_RATIO,
                max(many, few) / min(many, few),
                "x",
                True,
            ),
        ]
    backlogs = list(dict.fromkeys(backlog for _, backlog in results))
    rows = []
    for name in dict.fromkeys(name for name, _ in results):
        cells = [peaks[name, backlog] for backlog in backlogs]
        rows.append([ARMS[name].title, *(f"{p[0]:,.0f} ({p[1]:,.0f} to {p[2]:,.0f})" for p in cells)])
    report.show(
        f"Greatest resident memory in MB; Tocsin's buffers are bounded to {bound:.0f} MB",
        ["", *(backlog.title for backlog in backlogs)],
        rows,
    )
    report.show_machine(before)
    for target in targets:
        print(f"{target.what}: {target.row()[1]}, {target.row()[2]}, {target.verdict}")
    plot = plots.lines(
        report.RESULTS / "memory.svg",
        "Resident memory while a backlog is consumed (the first run of each)",
        "seconds",
        "resident memory, MB",
        {
            f"{ARMS[name].title}, {backlog.title}": [(at, mb) for at, mb in runs[0]["samples"][::4]]
            for (name, backlog), runs in results.items()
            if backlog.records
        },
        limit=bound + REST_MB,
    )
    path = report.write(
        "memory",
        {
            "machine": before,
            "options": vars(options),
            "bound_mb": bound,
            "targets": [target.to_json() for target in targets],
            "plots": [plot.name],
            "results": [
                {"arm": ARMS[name].title, "backlog": backlog.title, "runs": runs}
                for (name, backlog), runs in results.items()
            ],
        },
    )
    print(f"Written to {path.relative_to(ROOT)} and {plot.relative_to(ROOT)}")
    return 0 if all_met(targets) else 1


if __name__ == "__main__":
    raise SystemExit(main())
