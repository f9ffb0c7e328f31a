"""``python -m tests.benchmarks.latency``: how long CRITICAL takes from publishing to ``alerts.critical``.

CRITICAL is published at a fixed rate while a worker is busy with DEBUG; a consumer in a process of its own
notes when it sees each alert. A notification that never arrives counts as infinitely late.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import report
from tests.benchmarks.cluster import bench_cluster, create_topics, delete_topics, notification_topics
from tests.benchmarks.load import Load
from tests.benchmarks.measure import latencies, median_and_spread, summary
from tests.benchmarks.processes import ROOT, BenchmarkError, running, wait_until
from tests.benchmarks.profiling import Profile
from tests.benchmarks.progress import Progress
from tests.benchmarks.spec import RunSpec
from tests.benchmarks.usage import Usage, broker_pid, shown

TARGET_MS = 250.0
#: Seconds that a worker may have at its start before the first CRITICAL: connecting, filling its buffers.
_SETTLE_S = 3.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load on one arm.

    Attributes:
        arm: module in ``arms``.
        title: for the table.
        backlog: DEBUG queued before the start; 0 for none.
        keep: whether it is topped up as it is consumed; otherwise samples count only while some is left.
        work_us: work per record.
        tune: trial changes of the arm (see ``arms.tocsin``).
    """

    arm: str
    title: str
    backlog: int
    keep: bool
    work_us: float
    tune: str = ""

    @property
    def load(self) -> str:
        """The load in words."""
        work = f"{self.work_us / 1000:g} ms of work a record" if self.work_us else "no extra work"
        if not self.backlog:
            return f"no backlog, {work}"
        return f"{self.backlog:,} DEBUG {'kept queued' if self.keep else 'queued'}, {work}"


def scenarios(work_us: float, backlog: int, large: int, keep: bool, tune: str) -> dict[str, Scenario]:
    """All scenarios, by name."""
    return {
        "tocsin": Scenario("tocsin", "Tocsin", backlog, keep, work_us),
        "tocsin-tuned": Scenario("tocsin", f"Tocsin, {tune}", backlog, keep, work_us, tune),
        "tocsin-full-tuned": Scenario("tocsin", f"Tocsin, {tune}", large, False, 0, tune),
        "tocsin-idle": Scenario("tocsin", "Tocsin", 0, False, work_us),
        "tocsin-full": Scenario("tocsin", "Tocsin", large, False, 0),
        "faust": Scenario("stock_faust", "stock Faust", backlog, keep, work_us),
        "faust-idle": Scenario("stock_faust", "stock Faust", 0, False, work_us),
    }


class _BacklogWatch(threading.Thread):
    """Notes when the worker has handled the last DEBUG."""

    def __init__(self, progress: Progress, backlog: int) -> None:
        super().__init__(daemon=True)
        self._progress = progress
        self._backlog = backlog
        self._stopped = threading.Event()
        #: Monotonic time at which some backlog was there for the last time.
        self.last_ns = time.monotonic_ns()
        #: Records handled by then.
        self.handled = 0

    def run(self) -> None:
        while not self._stopped.is_set() and self._progress.read().debug < self._backlog:
            self.last_ns, self.handled = time.monotonic_ns(), self._progress.handled
            time.sleep(_POLL_S)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def run_scenario(
    scenario: Scenario, brokers: str, folder: Path, number: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One measurement on fresh topics."""
    name = f"bench-{scenario.arm.replace('_', '-')}-{number}"
    path = folder / name
    path.mkdir()
    prefix, alerts = f"{name}.notifications.", f"{name}.alerts."
    spec = RunSpec(
        brokers=brokers,
        group=name,
        prefix=prefix,
        alerts=alerts,
        partitions=options.partitions,
        work_us=scenario.work_us,
        target=0,
        progress=str(path / "progress"),
        folder=str(path),
        options={"forward": True, "tune": json.loads(scenario.tune or "null")},
    )
    topics = [*notification_topics(prefix).values(), f"{alerts}critical", f"{alerts}error"]
    create_topics(brokers, topics, options.partitions)
    worker, seen = Progress(spec.progress), Progress(path / "seen")
    filled, sent = Progress(path / "filled"), Progress(path / "sent")
    count = int(options.rate * options.seconds)
    fill = Load(
        "keep" if scenario.keep else "fill",
        brokers,
        prefix,
        scenario.backlog,
        str(path / "filled"),
        mix={"debug": 1.0},
        consumed=spec.progress,
    )
    critical = Load(
        "steady",
        brokers,
        prefix,
        count,
        str(path / "sent"),
        rate=options.rate,
        result=str(path / "sent.json"),
    )
    watcher = RunSpec(brokers, name, prefix, alerts, options.partitions, 0, 0, str(path / "seen"), str(path))
    log = path / "log"
    with ExitStack() as stack:
        if scenario.keep:
            filler = stack.enter_context(running(*fill.command, log=path / "fill.log"))
            wait_until(lambda: filled.read().ready, 120, "the backlog", filler)
        elif scenario.backlog:
            fill.run(path / "fill.log")
        watching = stack.enter_context(
            running("tests.benchmarks.measure", watcher.to_json(), log=path / "seen.log")
        )
        wait_until(lambda: seen.read().ready, 30, "the consumer of alerts", watching)
        module = f"tests.benchmarks.arms.{scenario.arm}"
        arm = stack.enter_context(running(module, spec.to_json(), log=log))
        if scenario.backlog:
            wait_until(lambda: worker.read().debug > 0, 90, "the first DEBUG", arm)
        else:
            _wake(critical, path, worker, arm)
        # Without an end to the backlog it watches until it is stopped.
        watch = _BacklogWatch(worker, 2**62 if scenario.keep or not scenario.backlog else scenario.backlog)
        watch.start()
        time.sleep(_SETTLE_S)
        usage = Usage(arm.pid, broker_pid(folder))
        handled, began = watch.handled, watch.last_ns
        profile = Profile(arm.pid, 10, report.RESULTS / f"{name}.raw") if options.profile else None
        publishing = stack.enter_context(running(*critical.command, log=path / "sent.log"))
        publishing.wait(options.seconds + 60)
        used = usage.since_start()
        watch.stop()
        rate = 1e9 * (watch.handled - handled) / max(1, watch.last_ns - began)
        _wait_for_stragglers(seen, sent.read().handled, options.grace)
        if profile is not None:
            profile.print_hottest()
        arm.stop()
        watching.stop()
    found = latencies(path / "sent.json", path / "seen.json", watch.last_ns)
    delete_topics(brokers, name)
    if not found["visible"]:
        raise BenchmarkError(f"The backlog of {scenario.backlog} was gone before the first CRITICAL.")
    return {"latencies": found, "records_per_s": rate, **used}


def _wake(critical: Load, path: Path, worker: Progress, arm: Any) -> None:
    """Without a backlog, one notification tells when the worker works; it bears no number to be measured."""
    first = Load(
        "fill", critical.brokers, critical.prefix, 1, str(path / "woken"), mix={"info": 1.0}, event_types=1
    )
    first.run(path / "fill.log")
    wait_until(lambda: worker.read().handled > 0, 90, "the first record", arm)


def _wait_for_stragglers(seen: Progress, count: int, grace_s: float) -> None:
    until = time.monotonic() + grace_s
    while seen.read().handled < count and time.monotonic() < until:
        time.sleep(_POLL_S)


def main(arguments: list[str] | None = None) -> int:
    """Run all scenarios several times in turn; 0 when Tocsin met its target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of CRITICAL in each run")
    parser.add_argument("--rate", type=float, default=50.0, help="CRITICAL a second")
    parser.add_argument("--work-us", type=float, default=500.0, help="microseconds of work a record")
    parser.add_argument("--backlog", type=int, default=60_000, help="DEBUG queued before the start")
    parser.add_argument("--keep", action="store_true", help="top that backlog up as it is consumed")
    parser.add_argument("--large", type=int, default=1_500_000, help="DEBUG queued where there is no work")
    parser.add_argument("--grace", type=float, default=90.0, help="seconds to wait for late ones")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--scenarios", default="tocsin,faust,tocsin-idle,tocsin-full")
    parser.add_argument("--quick", action="store_true", help="once, and the scenarios of the target only")
    parser.add_argument("--tune", default="", help='trial for the tuned scenarios, as {"turns": 5}')
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.scenarios = 1, "tocsin,faust"
    known = scenarios(options.work_us, options.backlog, options.large, options.keep, options.tune)
    chosen = [known[name] for name in options.scenarios.split(",")]
    report.RESULTS.mkdir(exist_ok=True)
    before = report.machine()
    results: dict[Scenario, list[dict[str, Any]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        number = 0
        for repeat in range(options.repeats):
            for scenario in chosen:
                number += 1
                print(f"{repeat + 1}/{options.repeats} {scenario.title}, {scenario.load}", flush=True)
                result = run_scenario(scenario, brokers, folder, number, options)
                results[scenario].append(result)
                print(f"    {_line(result)}", flush=True)
    return _report(options, before, results)


def _line(result: dict[str, Any]) -> str:
    found = summary(result["latencies"]["visible"])
    agent = summary(result["latencies"]["forwarded"])
    return (
        f"visible p50 {_ms(found['p50'])}, p99 {_ms(found['p99'])}, max {_ms(found['max'])}; "
        f"forwarded p50 {_ms(agent['p50'])}, p99 {_ms(agent['p99'])}; "
        f"{found['samples']:.0f} samples; {result['records_per_s']:,.0f} records/s; {shown(result)}"
    )


def _ms(seconds: float) -> str:
    if math.isinf(seconds):
        return "never"
    return f"{1000 * seconds:,.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _report(
    options: argparse.Namespace, before: dict[str, Any], results: dict[Scenario, list[dict[str, Any]]]
) -> int:
    rows = []
    written = []
    worst_p99 = math.nan
    peer_p99 = math.nan
    for scenario, runs in results.items():
        each = [summary(run["latencies"]["visible"]) for run in runs]
        agent = [summary(run["latencies"]["forwarded"]) for run in runs]
        p99, least, greatest = median_and_spread(one["p99"] for one in each)
        samples = sum(one["samples"] for one in each)
        undelivered = sum(one["undelivered"] for one in each)
        rows.append(
            [
                scenario.title,
                scenario.load,
                _ms(median_and_spread(one["p50"] for one in each)[0]),
                f"{_ms(p99)} ({_ms(least)} to {_ms(greatest)})",
                _ms(max(one["max"] for one in each)),
                _ms(median_and_spread(one["p99"] for one in agent)[0]),
                f"{samples:,.0f}" + (f", {undelivered:,.0f} never" if undelivered else ""),
                f"{median_and_spread(run['records_per_s'] for run in runs)[0]:,.0f}",
            ]
        )
        written.append(
            {"scenario": scenario.title, "load": scenario.load, "runs": runs, "visible": each, "agent": agent}
        )
        if scenario.backlog and scenario.work_us and not scenario.tune:
            if scenario.arm == "tocsin":
                worst_p99 = p99
            else:
                peer_p99 = p99
    report.show(
        f"CRITICAL at {options.rate:g}/s: from publishing to a consumer of alerts.critical, "
        f"median (least to greatest) of {options.repeats}",
        ["", "load", "p50", "p99", "max", "p99 to agent", "samples", "records/s"],
        rows,
    )
    report.show_machine(before)
    path = report.write("latency", {"machine": before, "options": vars(options), "results": written})
    print(f"Written to {path.relative_to(ROOT)}")
    if math.isnan(worst_p99):
        return 0
    met = worst_p99 * 1000 < TARGET_MS
    beside = "" if math.isnan(peer_p99) else f"; stock Faust {_ms(peer_p99)}"
    print(
        f"Target p99 under {TARGET_MS:g} ms with a backlog: {'met' if met else 'MISSED'}, "
        f"{_ms(worst_p99)}{beside}."
    )
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
