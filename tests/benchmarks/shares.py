"""``python -m tests.benchmarks.shares``: does every class get its share of the service time?

All five priorities have a backlog for as long as is measured, once with records of one cost, once with DEBUG
twenty times dearer. What counts is the time in the agent, by class, as the arm itself tells it. Each class is
given a backlog in proportion to what it should be served, so that all last equally long; stock Faust, which
knows no shares, is given the same number of records of each.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.settings import PROFILES
from tests.benchmarks import plots, report
from tests.benchmarks.cluster import bench_cluster, delete_topics
from tests.benchmarks.load import Load
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.processes import ROOT, BenchmarkError
from tests.benchmarks.service import PRIORITIES, Served
from tests.benchmarks.targets import Target, all_met
from tests.benchmarks.trial import Trial, make_topics, trial

WEIGHTS = {
    priority.value: weight for priority, weight in PROFILES["default"].items() if priority in PRIORITIES
}
MOST_ERROR = 0.02
LEAST_JAIN = 0.999

#: Seconds a worker may have at its start before the measurement: its lanes connect one after the other.
_SETTLE_S = 1.5
_POLL_S = 0.02
#: Part of a class's backlog that must be left for the class to be surely backlogged.
_LEFT = 0.03
#: What a record costs besides the burnt work, about, in microseconds: to size the backlogs.
_OWN_US = {"tocsin": 10.0, "stock_faust": 150.0}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load on one arm: ``dearer`` is how many times the work of the others a DEBUG record takes."""

    arm: str
    title: str
    dearer: float

    @property
    def load(self) -> str:
        """The load in words."""
        return "equal cost" if self.dearer == 1 else f"DEBUG {self.dearer:g} x dearer"

    def work_us(self, work_us: float) -> dict[str, float]:
        """Work a record by priority."""
        return dict.fromkeys(PRIORITIES, work_us) | {"DEBUG": work_us * self.dearer}


SCENARIOS = [
    Scenario("tocsin", "Tocsin", 1),
    Scenario("tocsin", "Tocsin", 20),
    Scenario("stock_faust", "stock Faust", 1),
    Scenario("stock_faust", "stock Faust", 20),
]


def ideal_shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Share of every class when all are backlogged."""
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Share of the service time by class; 0 for all when there was none."""
    total = sum(seconds.values())
    return {name: each / total if total else 0.0 for name, each in seconds.items()}


def relative_errors(seconds: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """By how much of its ideal share a class was above it, or below it (negative)."""
    ideal = ideal_shares(weights)
    return {name: share / ideal[name] - 1 for name, share in shares(seconds).items()}


def jain(seconds: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Jain's fairness index over the service time per weight: 1 is fair, 1/n is all for one of n.

    Jain, Chiu, Hawe (1984): (sum x)^2 / (n sum x^2).
    """
    each = [seconds[name] / weight for name, weight in weights.items()]
    squares = sum(x * x for x in each)
    return sum(each) ** 2 / (len(each) * squares) if squares else 0.0


def backlogs(scenario: Scenario, seconds: float, work_us: float) -> dict[str, int]:
    """Records of every class for ``seconds`` of measuring, with some to spare."""
    seconds = (seconds + _SETTLE_S) * 1.15
    own = _OWN_US[scenario.arm]
    cost_s = {name: (work + own) / 1e6 for name, work in scenario.work_us(work_us).items()}
    if scenario.arm == "stock_faust":
        each = int(seconds / sum(cost_s.values()))
        return dict.fromkeys(PRIORITIES, each)
    ideal = ideal_shares(WEIGHTS)
    return {name: int(seconds * ideal[name] / cost_s[name]) for name in PRIORITIES}


def backlogged_window(
    samples: Sequence[tuple[float, Served]], published: Mapping[str, int], settle_s: float
) -> tuple[int, int]:
    """First and last index of the samples between which every class was backlogged.

    Args:
        samples: time in seconds, and what was served by then, in order.
        published: records of every class.
        settle_s: seconds that are left out after every class was served for the first time.

    Raises:
        BenchmarkError: there is no such window.
    """
    first = None
    last = None
    from_s = None
    for index, (at, served) in enumerate(samples):
        if from_s is None and all(served.records[name] > 0 for name in published):
            from_s = at + settle_s
        left = min((published[name] - served.records[name]) / published[name] for name in published)
        if from_s is None or at < from_s or left < _LEFT:
            continue
        first = index if first is None else first
        last = index
    if first is None or last is None or last <= first:
        raise BenchmarkError("There was no time in which all classes were backlogged: publish more.")
    return first, last


def _published_records(
    scenario: Scenario, brokers: str, prefix: str, folder: Path, options: argparse.Namespace
) -> dict[str, int]:
    make_topics(brokers, prefix, options.partitions)
    records = backlogs(scenario, options.seconds, options.work_us)
    for name, count in records.items():
        load = Load("fill", brokers, prefix, count, str(folder / f"{prefix}{name}"), mix={name.lower(): 1.0})
        load.run(folder / "load.log")
    return records


def _scheduler(run: Trial) -> dict[str, float]:
    classes = run.ask("/api/v1/scheduler")["classes"]
    return {each["priority"]: float(each["service_seconds"]) for each in classes}


def run_scenario(
    scenario: Scenario, brokers: str, folder: Path, number: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One measurement on fresh topics."""
    name = f"shares-{number}"
    prefix = f"{name}.notifications."
    published = _published_records(scenario, brokers, prefix, folder, options)
    samples: list[tuple[float, Served]] = []
    shown: list[tuple[float, dict[str, float]]] = []
    with trial(
        scenario.arm,
        brokers,
        folder,
        name,
        prefix,
        partitions=options.partitions,
        work_us=options.work_us,
        options={"work_us_by_priority": scenario.work_us(options.work_us)},
    ) as run:
        run.wait_for_first()
        until = time.monotonic() + 6 * options.seconds + 30
        while True:
            now, served = time.monotonic(), run.service.read()
            samples.append((now, served))
            if scenario.arm == "tocsin" and (not shown or now - shown[-1][0] > 1):
                shown.append((now, _scheduler(run)))
            if any(served.records[each] >= count for each, count in published.items()) or now > until:
                break
            run.child.check()
            time.sleep(_POLL_S)
    delete_topics(brokers, name)
    first, last = backlogged_window(samples, published, _SETTLE_S)
    begin, end = samples[first], samples[last]
    served = end[1].since(begin[1])
    result = _figures(served.seconds) | {
        "window_s": end[0] - begin[0],
        "records": dict(served.records),
        "seconds": dict(served.seconds),
    }
    api = [seconds for at, seconds in shown if begin[0] <= at <= end[0]]
    if len(api) > 1:
        result["scheduler"] = _figures({each: api[-1][each] - api[0][each] for each in PRIORITIES})
    return result


def _figures(seconds: Mapping[str, float]) -> dict[str, Any]:
    errors = relative_errors(seconds, WEIGHTS)
    return {
        "shares": shares(seconds),
        "errors": errors,
        "worst": max(abs(error) for error in errors.values()),
        "jain": jain(seconds, WEIGHTS),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run all scenarios several times in turn; 0 when Tocsin met its targets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="of Tocsin; stock Faust runs once")
    parser.add_argument("--seconds", type=float, default=15.0, help="of service in which all are backlogged")
    parser.add_argument("--work-us", type=float, default=100.0, help="microseconds of work a record")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--arms", default="tocsin,stock_faust")
    parser.add_argument("--quick", action="store_true", help="once, and half as long")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeats, options.seconds = 1, options.seconds / 2
    arms = options.arms.split(",")
    before = report.machine()
    results: dict[Scenario, list[dict[str, Any]]] = defaultdict(list)
    with bench_cluster() as (brokers, folder):
        number = 0
        for repeat in range(options.repeats):
            for scenario in SCENARIOS:
                if scenario.arm not in arms or (repeat and scenario.arm != "tocsin"):
                    continue
                number += 1
                result = run_scenario(scenario, brokers, folder, number, options)
                results[scenario].append(result)
                print(
                    f"{repeat + 1}/{options.repeats} {scenario.title}, {scenario.load}: "
                    f"worst error {result['worst']:.2%}, Jain {result['jain']:.5f}, "
                    f"over {result['window_s']:.1f} s",
                    flush=True,
                )
    return _report(options, before, results)


def _report(
    options: argparse.Namespace, before: dict[str, Any], results: dict[Scenario, list[dict[str, Any]]]
) -> int:
    ideal = ideal_shares(WEIGHTS)
    rows = [["ideal", "", *(f"{ideal[name]:.1%}" for name in PRIORITIES), "", "", ""]]
    targets = []
    bars = {}
    for scenario, runs in results.items():
        worst, least, greatest = median_and_spread(run["worst"] for run in runs)
        fair = median_and_spread(run["jain"] for run in runs)
        api = [run["scheduler"]["worst"] for run in runs if "scheduler" in run]
        middle = {name: median_and_spread(run["shares"][name] for run in runs)[0] for name in PRIORITIES}
        rows.append(
            [
                scenario.title,
                scenario.load,
                *(f"{middle[name]:.1%}" for name in PRIORITIES),
                f"{worst:.1%} ({least:.1%} to {greatest:.1%})",
                f"{median_and_spread(api)[0]:.1%}" if api else "",
                f"{fair[0]:.5f}",
            ]
        )
        label = f"{scenario.title}, {scenario.load}"
        bars[label] = (100 * worst, 100 * least, 100 * greatest)
        if scenario.arm == "tocsin":
            targets += [
                Target(
                    "shares",
                    f"greatest error of a class, {scenario.load}",
                    100 * MOST_ERROR,
                    100 * worst,
                    "%",
                    True,
                ),
                Target("shares", f"Jain's index, {scenario.load}", LEAST_JAIN, fair[0], "", False),
            ]
    report.show(
        "Shares of the service time while all classes are backlogged, medians; error: greatest deviation of "
        "a class from its ideal share, as a part of that share",
        ["", "load", *PRIORITIES, "error", "error by API", "Jain"],
        rows,
    )
    report.show_machine(before)
    for target in targets:
        print(f"{target.what}: {target.row()[1]}, {target.row()[2]}, {target.verdict}")
    plot = plots.bars(
        report.RESULTS / "shares.svg",
        "Shares at 16:8:4:2:1, all classes backlogged: greatest relative error of a class",
        "error, % of the ideal share",
        bars,
        log_y=True,
        limit=100 * MOST_ERROR,
    )
    path = report.write(
        "shares",
        {
            "machine": before,
            "options": vars(options),
            "targets": [target.to_json() for target in targets],
            "plots": [plot.name],
            "results": [
                {"scenario": each.title, "load": each.load, "runs": runs} for each, runs in results.items()
            ],
        },
    )
    print(f"Written to {path.relative_to(ROOT)} and {plot.relative_to(ROOT)}")
    return 0 if all_met(targets) else 1


if __name__ == "__main__":
    raise SystemExit(main())
