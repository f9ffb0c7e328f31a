"""``python -m tests.benchmarks.restart``: how soon a worker is ready again, with a day of counts behind it.

A worker counts a day of notifications of 1,000 event types, each once a minute, and is stopped. It is started
again with its folder, and with an empty one, for which everything comes from the changelogs. Time runs from
the start of the process until ``/readyz`` answers 200.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.benchmarks import plots, report
from tests.benchmarks.cluster import bench_cluster
from tests.benchmarks.history import History, publish
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import BenchmarkError, wait_until
from tests.benchmarks.profiling import Profile
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.trial import Trial, make_topics, trial

LIMIT_S = 5.0
_GROUP = "bench-restart"
_POLL_S = 0.01
_PATIENCE_S = 60.0
#: A worker is at rest when it uses less than this share of a core for so many seconds.
_QUIET_SHARE = 0.15
_QUIET_S = 3.0
KINDS = {"local": "with its local state", "fresh": "with an empty folder"}


def counted(arm: Trial) -> int:
    """Sum of all counts that the worker shows."""
    total: int = 0
    cursor = ""
    while True:
        page = arm.ask(f"/api/v1/counts?window=total&sort=event_type&limit=1000{cursor}")
        total += sum(int(item["count"]) for item in page["items"])
        if not page["next"]:
            return total
        cursor = f"&cursor={page['next']}"


def _ready(arm: Trial) -> dict[str, Any] | None:
    try:
        return arm.ask("/readyz")
    except OSError:
        return None


def _stop(arm: Trial) -> float:
    """Stop the worker once it has nothing left to do; seconds that it took.

    Raises:
        BenchmarkError: it did not end by itself. Its next start would have to wait for the group to notice.
    """
    used = arm.cpu_s()

    def settled() -> bool:
        nonlocal used
        time.sleep(_QUIET_S)
        before, used = used, arm.cpu_s()
        return used - before < _QUIET_SHARE * _QUIET_S

    wait_until(settled, 300, "a worker at rest", arm.child)
    began = time.monotonic()
    arm.child.stop(_PATIENCE_S)
    if code := arm.child.process.returncode:
        raise BenchmarkError(f"The worker ended with exit code {code} when told to stop:\n{arm.child.tail()}")
    return time.monotonic() - began


def start_again(
    kind: str, brokers: str, folder: Path, prefix: str, messages: int, options: argparse.Namespace
) -> dict[str, float]:
    """Start the worker, and take the time until it is ready, and until it shows all counts."""
    if kind == "fresh":
        shutil.rmtree(folder / _GROUP / "state")
    began = time.monotonic()
    with trial("tocsin", brokers, folder, _GROUP, prefix, partitions=options.partitions) as arm:
        profile = (
            Profile(arm.child.pid, 8, report.RESULTS / f"restart-{kind}.raw") if options.profile else None
        )
        wait_until(lambda: _ready(arm) is not None, 300, "readiness", arm.child, poll_s=_POLL_S)
        ready_s = time.monotonic() - began
        ready_cpu_s = arm.cpu_s()
        wait_until(
            lambda: bool((_ready(arm) or {}).get("details", {}).get("counts_complete")),
            300,
            "all counts",
            arm.child,
            poll_s=_POLL_S,
        )
        complete_s = time.monotonic() - began
        wait_until(lambda: counted(arm) >= messages, 120, "the counts of before", arm.child, poll_s=0.1)
        if (found := counted(arm)) != messages:
            raise BenchmarkError(f"{found:,} were counted, and {messages:,} published.")
        if profile is not None:
            profile.print_hottest()
        stop_s = _stop(arm)
    return {"ready_s": ready_s, "complete_s": complete_s, "cpu_s": ready_cpu_s, "stop_s": stop_s}


def build(brokers: str, folder: Path, prefix: str, history: History, options: argparse.Namespace) -> None:
    """Count the whole history once."""
    print(f"Publishing {history.messages:,} notifications of {history.hours:g} h", flush=True)
    make_topics(brokers, prefix, options.partitions)
    sent = asyncio.run(publish(brokers, prefix, options.partitions, history))
    with trial("tocsin", brokers, folder, _GROUP, prefix, partitions=options.partitions) as arm:
        arm.wait_for_first()
        arm.wait_for_commit(sent, 600)
        wait_until(lambda: counted(arm) >= sent, 600, "all counts", arm.child, poll_s=0.5)
        _stop(arm)
    size = sum(path.stat().st_size for path in (folder / _GROUP / "state").rglob("*") if path.is_file())
    print(f"Counted; the state takes {size / 1e6:.0f} MB on disk", flush=True)


def targets(results: dict[str, list[dict[str, float]]]) -> list[Target]:
    """Ready within 5 s with its local state, in the median."""
    if not (runs := results.get("local")):
        return []
    reached = median_and_spread(run["ready_s"] for run in runs)[0]
    return [Target("restart", "worker ready after a restart, 24 h of state", LIMIT_S, reached, "s", True)]


def main(arguments: list[str] | None = None) -> int:
    """Measure both kinds of start several times in turn; 0 when the target is met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hours", type=float, default=24.0, help="of state")
    parser.add_argument("--event-types", type=int, default=1000)
    parser.add_argument("--every-minutes", type=int, default=1, help="in which each event type comes once")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the notifications, once")
    parser.add_argument("--profile", action="store_true", help="record where the time goes, with py-spy")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.every_minutes = 1, max(options.every_minutes, 10)
    if unknown := [kind for kind in options.kinds.split(",") if kind not in KINDS]:
        parser.error(f"there is no kind {unknown[0]}; use some of {', '.join(KINDS)}")
    before = report.machine()
    history = History(options.hours, options.event_types, options.every_minutes)
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        prefix = f"{_GROUP}.notifications."
        build(brokers, folder, prefix, history, options)
        for repeat in range(options.repeats):
            for kind in options.kinds.split(","):
                run = start_again(kind, brokers, folder, prefix, history.messages, options)
                results[kind].append(run)
                print(
                    f"{repeat + 1}/{options.repeats} {KINDS[kind]}: ready after {run['ready_s']:.1f} s, "
                    f"shows all counts after {run['complete_s']:.1f} s, "
                    f"{run['cpu_s']:.1f} s of processor; stopped in {run['stop_s']:.1f} s",
                    flush=True,
                )
    return _report(options, before, history, results)


def _report(
    options: argparse.Namespace,
    before: dict[str, Any],
    history: History,
    results: dict[str, list[dict[str, float]]],
) -> int:
    def cell(kind: str, name: str) -> str:
        median, least, greatest = median_and_spread(run[name] for run in results[kind])
        return f"{median:.1f} s ({least:.1f} to {greatest:.1f})"

    report.show(
        f"From the start of the process, with {history.hours:g} h of counts of {history.event_types:,} event "
        f"types ({history.messages:,} notifications)",
        ["", "ready", "shows all counts", "processor until ready", "stops in"],
        [
            [KINDS[kind], *(cell(kind, name) for name in ("ready_s", "complete_s", "cpu_s", "stop_s"))]
            for kind in results
        ],
    )
    reached = targets(results)
    plot = plots.bars(
        report.plot_path("restart"),
        "A worker's start, with a day of counts",
        "seconds from the start of the process",
        {
            f"{words} {KINDS[kind]}": median_and_spread(run[name] for run in results[kind])
            for kind in results
            for name, words in (("ready_s", "ready"), ("complete_s", "all counts shown"))
        },
        limit=LIMIT_S,
    )
    report.finish(
        "restart",
        before,
        reached,
        {
            "options": vars(options),
            "messages": history.messages,
            "runs": results,
            "plots": [plot.name],
        },
    )
    return 0 if all_met(reached) else 1


if __name__ == "__main__":
    raise SystemExit(main())
