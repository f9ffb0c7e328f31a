"""``python -m tests.benchmarks.scale``: what breaks first towards a thousand workers and 10 M records/s.

No machine here has a thousand workers: this is a model of what each has to do, with costs that were measured
(the cost of a record by the newest growth benchmark, the others on the pure counters, as it starts), and a
simulation of the fleet second by second, with a rebalance that stops all of it.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, replace

from tests.benchmarks import plots, report
from tests.benchmarks.scale_costs import measured, newest_record_us
from tests.benchmarks.scale_fleet import Costs, Fleet
from tests.benchmarks.scale_simulation import Simulated, overhead_cores, simulate
from tests.benchmarks.scale_stages import STAGES, between, breaks_at, in_order_of_breaking, loads
from tests.benchmarks.targets import Target

#: Factors by which a fleet is to grow: records, event types, workers.
RECORDS, TYPES, WORKERS = 100, 100, 50
_STEPS = 24
_SECONDS = 240
_REBALANCE_AT = 60


def partitions_for(workers: float) -> int:
    """Partitions of each topic for a fleet: some to spare, in steps of eight."""
    return max(8, 8 * math.ceil(workers * 1.02 / 8))


def fleets(options: argparse.Namespace) -> dict[str, Fleet]:
    """Where the way begins, each thing grown alone, and all of them."""
    start = Fleet(
        options.records_per_s, options.event_types, options.workers, partitions_for(options.workers)
    )
    workers = start.workers * WORKERS
    return {
        "start": start,
        f"records/s x {RECORDS}": replace(start, records_per_s=start.records_per_s * RECORDS),
        f"event types x {TYPES}": replace(start, event_types=start.event_types * TYPES),
        f"workers x {WORKERS}": replace(start, workers=workers, partitions=partitions_for(workers)),
        "all": Fleet(
            start.records_per_s * RECORDS, start.event_types * TYPES, workers, partitions_for(workers)
        ),
    }


def described(fleet: Fleet) -> str:
    """A fleet in words."""
    return (
        f"{_short(fleet.records_per_s)} records/s, {_short(fleet.event_types)} event types, "
        f"{fleet.workers:,.0f} workers, {fleet.partitions:,.0f} partitions"
    )


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _load(value: float) -> str:
    return f"{value:,.0f} !" if value >= 10 else f"{value:.2f}{' !' if value > 1 else ''}"


def _lived(lived: Simulated) -> str:
    caught = "never" if math.isinf(lived.caught_up_s) else f"{lived.caught_up_s:.0f} s after it began"
    return (
        f"the busiest worker {lived.busiest:.0%} busy, the one in the middle {lived.median:.0%}; "
        f"a rebalance puts the worst {lived.lag_s:.0f} s behind, caught up {caught}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Show what every structure needs, and what breaks first; 0, as there is no target to miss."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--records-per-s", type=float, default=100_000.0, help="at the start")
    parser.add_argument("--event-types", type=float, default=1_000.0, help="at the start")
    parser.add_argument("--workers", type=float, default=20.0, help="at the start")
    parser.add_argument(
        "--record-us", type=float, help="cost of a record, else by the newest growth benchmark"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="no difference: it takes seconds")
    options = parser.parse_args(arguments)
    before = report.machine()
    costs = measured(Costs())
    origin = "given" if options.record_us else "a default"
    if options.record_us:
        costs = replace(costs, record_us=options.record_us)
    elif found := newest_record_us(report.RESULTS):
        costs, origin = replace(costs, record_us=found[0]), f"of {found[1]}"
    print(f"A record costs {costs.record_us:.2f} us ({origin}). Also: {_shown(costs)}.")
    return _report(options, before, costs, fleets(options))


def _shown(costs: Costs) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in asdict(costs).items() if name != "record_us")


def _report(
    options: argparse.Namespace, before: dict[str, object], costs: Costs, every: dict[str, Fleet]
) -> int:
    start, end = every["start"], every["all"]
    needs = {name: loads(costs, fleet) for name, fleet in every.items()}
    report.show(
        f"Need over what there is, by structure; ! breaks. From {described(start)} to {described(end)}",
        ["", "grows with", *every, "breaks at"],
        [
            [
                stage.name,
                stage.grows,
                *(_load(needs[name][stage.name]) for name in every),
                "" if (at := breaks_at(stage, costs, start, end)) is None else _place(start, end, at),
            ]
            for stage in STAGES
        ],
    )
    broken = in_order_of_breaking(costs, start, end)
    for number, (stage, at) in enumerate(broken):
        print(f"{number + 1}. {stage.name}, at {described(between(start, end, at))}: {stage.change}.")
    if not broken:
        print("Nothing breaks on the way.")
    lives = {}
    for name in ("start", "all"):
        lives[name] = simulate(
            costs, every[name], seconds=_SECONDS, rebalance_at=_REBALANCE_AT, seed=options.seed
        )
        print(
            f"Simulated, {described(every[name])}: {_lived(lives[name])}; besides records a worker needs "
            f"{overhead_cores(costs, every[name]):.2f} cores."
        )
    plot = plots.lines(
        report.plot_path("scale"),
        f"Need over what there is, from {described(start)} to x {RECORDS}, x {TYPES}, x {WORKERS}",
        "workers",
        "need over what there is",
        {
            stage.name: [
                (
                    between(start, end, step / _STEPS).workers,
                    stage.load(costs, between(start, end, step / _STEPS)),
                )
                for step in range(_STEPS + 1)
            ]
            for stage, _ in [*broken, *((each, 1.0) for each in STAGES if each not in dict(broken))][:8]
        },
        log_y=True,
        limit=1.0,
    )
    targets: list[Target] = []
    report.finish(
        "scale",
        before,
        targets,
        {
            "options": vars(options),
            "costs": asdict(costs),
            "loads": needs,
            "breaks": [{"structure": s.name, "at": at, "change": s.change} for s, at in broken],
            "simulated": {name: asdict(life) for name, life in lives.items()},
            "plots": [plot.name],
        },
    )
    return 0


def _place(start: Fleet, end: Fleet, at: float) -> str:
    fleet = between(start, end, at)
    return f"{_short(fleet.records_per_s)}/s, {_short(fleet.event_types)} types, {fleet.workers:,.0f} workers"


if __name__ == "__main__":
    raise SystemExit(main())
