"""``python -m tests.benchmarks``, ``make bench``: run every benchmark in turn, and show all their targets.

Each benchmark is a module here with ``main(arguments) -> int`` that takes ``--quick``, and that writes
``bench-results/<name>-<time>.json`` with ``targets`` in it. This writes ``bench-results/bench-<time>.json``
with all of theirs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
import traceback
from typing import Any

from tests.benchmarks import report
from tests.benchmarks.processes import ROOT
from tests.benchmarks.targets import Target, all_met

#: In the order in which they run. All of ``make bench``, unless one is asked for by name.
BENCHMARKS = ("latency", "throughput", "storm", "shares", "memory", "growth", "idle", "restart")
#: Only when asked for.
FURTHER = ("ablation", "scale", "publish", "web", "bridge_rabbit", "http_bridge", "storm_outage")


def run(name: str, arguments: list[str]) -> dict[str, Any]:
    """Run one benchmark; its results, or the ``error`` that ended it."""
    print(f"\n==> {name}", flush=True)
    before = set(report.RESULTS.glob(f"{name}-*.json"))
    began = time.monotonic()
    result: dict[str, Any] = {"targets": []}
    try:
        importlib.import_module(f"tests.benchmarks.{name}").main(arguments)
    except Exception as error:
        traceback.print_exc()
        result["error"] = f"{type(error).__name__}: {error}"
    for path in sorted(set(report.RESULTS.glob(f"{name}-*.json")) - before):
        result |= json.loads(path.read_text()) | {"file": path.name}
    return result | {"seconds": round(time.monotonic() - began, 1)}


def targets_of(results: dict[str, dict[str, Any]]) -> list[Target]:
    """The targets of all benchmarks; one that failed has a target that is not met."""
    found = []
    for name, result in results.items():
        found += [Target.from_json(each) for each in result["targets"]]
        if "error" in result:
            what = f"{name}: {result['error'].splitlines()[0]}"
            found.append(Target(name, what, 0.0, float("nan"), "", True))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run all, or one; 0 when every target is met, 1 when some fall short."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Further arguments are handed on, such as --repeats 1."
    )
    parser.add_argument("--only", choices=(*BENCHMARKS, *FURTHER), help="run this one")
    parser.add_argument("--quick", action="store_true", help="small sizes, once")
    chosen, rest = parser.parse_known_args(arguments)
    report.RESULTS.mkdir(exist_ok=True)
    before = report.machine()
    if chosen.quick:
        rest = ["--quick", *rest]
    names = [chosen.only] if chosen.only else list(BENCHMARKS)
    results = {name: run(name, rest) for name in names}
    reached = targets_of(results)
    if len(names) > 1:
        print("\n==> all targets")
        show(before, reached)
    path = report.write(
        "bench",
        {"machine": before, "targets": [target.to_json() for target in reached], "benchmarks": results},
    )
    print(f"Written to {path.relative_to(ROOT)}")
    for name, result in results.items():
        if plots := result.get("plots"):
            print(f"Plots of {name}: {', '.join(f'{report.RESULTS.name}/{plot}' for plot in plots)}")
    return 0 if all_met(reached) else 1


def show(before: dict[str, Any], reached: list[Target]) -> None:
    """One table of all targets."""
    report.show_targets(reached)
    print(f"{sum(target.met for target in reached)} of {len(reached)} targets met.")
    report.show_machine(before)


if __name__ == "__main__":
    raise SystemExit(main())
