"""Some minutes of a fleet's life, second by second, with a rebalance in them. Pure."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from tests.benchmarks.scale_fleet import Costs, Fleet
from tests.benchmarks.scale_stages import CORES, STAGES, rebalance_s


def overhead_cores(costs: Costs, fleet: Fleet) -> float:
    """Cores that a worker needs besides reading and counting its records."""
    return sum(stage.need(costs, fleet) for stage in STAGES[1:] if stage.unit == "cores")


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of some minutes of a fleet's life.

    Attributes:
        busiest: greatest part of its time that a worker was busy, before the rebalance.
        median: the same of the worker in the middle.
        lag_s: seconds of records that the worst worker was behind, at most.
        caught_up_s: seconds after the rebalance until nobody was behind; infinite when that did not happen.
    """

    busiest: float
    median: float
    lag_s: float
    caught_up_s: float


def simulate(costs: Costs, fleet: Fleet, *, seconds: int, rebalance_at: int, seed: int) -> Simulated:
    """Let every worker read its partitions, second by second; a rebalance stops all of them for a while.

    Partitions lie on workers as evenly as whole numbers allow, and records come in bursts: each partition's
    rate changes every second by a quarter, up or down.
    """
    chosen = random.Random(seed)
    workers, partitions = round(fleet.workers), round(fleet.partitions)
    fewest, more = divmod(partitions, workers)
    own = [fewest + (number < more) for number in range(workers)]
    capacity = {}
    for count in set(own):
        spare = CORES - overhead_cores(costs, replace(fleet, own=count)) if count else 0.0
        capacity[count] = max(0.0, spare) * 1e6 / costs.record_us
    rate = fleet.records_per_s / partitions
    behind = [0.0] * workers
    busy = [0.0] * workers
    pause = math.ceil(rebalance_s(costs, fleet))
    lag_s = 0.0
    last_behind = rebalance_at
    for second in range(seconds):
        paused = rebalance_at <= second < rebalance_at + pause
        for number, count in enumerate(own):
            if not count:
                continue
            waiting = behind[number] + rate * count * chosen.uniform(0.75, 1.25)
            served = 0.0 if paused else min(waiting, capacity[count])
            behind[number] = waiting - served
            if second < rebalance_at:
                busy[number] += served / capacity[count] if capacity[count] else 1.0
            if behind[number] > rate * count:
                lag_s = max(lag_s, behind[number] / (rate * count))
                last_behind = second + 1
    parts = sorted(each / rebalance_at for each in busy)
    return Simulated(
        busiest=parts[-1],
        median=parts[len(parts) // 2],
        lag_s=lag_s,
        caught_up_s=math.inf if last_behind >= seconds else float(last_behind - rebalance_at),
    )
