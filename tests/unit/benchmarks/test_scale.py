"""The model of a large fleet: how its parts grow, and that it finds what breaks first."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.scale import RECORDS, TYPES, WORKERS, partitions_for
from tests.benchmarks.scale_costs import host_bytes, measured, newest_record_us
from tests.benchmarks.scale_fleet import Costs, Fleet, distinct_types
from tests.benchmarks.scale_simulation import overhead_cores, simulate
from tests.benchmarks.scale_stages import STAGES, Stage, between, breaks_at, in_order_of_breaking, loads

START = Fleet(100_000, 1_000, 20, partitions_for(20))
END = Fleet(
    START.records_per_s * RECORDS, START.event_types * TYPES, START.workers * WORKERS, partitions_for(1_000)
)
BY_NAME = {stage.name: stage for stage in STAGES}


def test_the_start_stands() -> None:
    assert max(loads(Costs(), START).values()) < 1


def test_the_group_metadata_breaks_first_as_it_grows_with_the_square_of_the_workers() -> None:
    broken = in_order_of_breaking(Costs(), START, END)
    assert broken[0][0].name == "group metadata"
    at = between(START, END, broken[0][1]).workers
    assert 40 < at < 80
    stage = BY_NAME["group metadata"]
    assert stage.load(Costs(), replace(START, workers=40)) == pytest.approx(4 * stage.load(Costs(), START))


def test_what_is_cheap_enough_does_not_break() -> None:
    """Negative control: without the square, the same search finds another first one."""
    slim = replace(BY_NAME["group metadata"], need=lambda costs, fleet: fleet.workers * costs.host_bytes)
    stages = tuple(slim if stage.name == slim.name else stage for stage in STAGES)
    broken = in_order_of_breaking(Costs(), START, END, stages)
    assert slim.name not in [stage.name for stage, _ in broken]
    assert broken[0][0].name == "totals in memory, every worker"


def test_a_stage_that_is_made_dear_is_found_first() -> None:
    """Negative control: a reader to which each entry is a thousand times dearer breaks before all else."""
    dear = replace(Costs(), total_us=1000 * Costs().total_us)
    first = in_order_of_breaking(dear, START, END)[0]
    assert first[0].name == "totals reader, every worker"
    assert first[1] < breaks_at(BY_NAME["group metadata"], dear, START, END)  # type: ignore[operator]


def test_a_stage_breaks_where_its_need_passes_its_limit() -> None:
    stage = Stage("s", "workers", lambda _, fleet: fleet.workers, 100.0, "", "")
    at = breaks_at(stage, Costs(), START, END, steps=1000)
    assert at is not None
    assert between(START, END, at).workers == pytest.approx(100, rel=0.01)
    assert breaks_at(replace(stage, limit=1e9), Costs(), START, END) is None


def test_the_way_goes_from_the_start_to_the_end() -> None:
    assert between(START, END, 0.0) == START
    assert between(START, END, 1.0).workers == pytest.approx(END.workers)
    middle = between(START, END, 0.5)
    assert middle.records_per_s == pytest.approx(math.sqrt(START.records_per_s * END.records_per_s))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_no_need_falls_as_records_or_event_types_grow(stage: Stage) -> None:
    costs = Costs()
    for more in (replace(START, records_per_s=1e6), replace(START, event_types=50_000)):
        assert stage.need(costs, more) >= stage.need(costs, START) * 0.999


def test_records_are_shared_out_among_workers() -> None:
    twice = replace(START, workers=2 * START.workers, partitions=2 * START.partitions)
    count = BY_NAME["fetch, decode, count"]
    assert count.need(Costs(), twice) == pytest.approx(count.need(Costs(), START) / 2)
    reader = BY_NAME["totals reader, every worker"]
    assert reader.need(Costs(), twice) >= reader.need(Costs(), START)  # every worker reads all


def test_distinct_event_types_agree_with_a_drawing() -> None:
    chosen = random.Random(7)
    weights = [1 / rank for rank in range(1, 2001)]
    drawn = [len(set(chosen.choices(range(2000), weights, k=1000))) for _ in range(20)]
    assert distinct_types(2000, 1000) == pytest.approx(sum(drawn) / len(drawn), rel=0.05)
    assert distinct_types(2000, 1e9) == pytest.approx(2000, rel=0.01)
    assert distinct_types(1, 5) == pytest.approx(1.0, rel=0.02)


def test_a_fleet_with_room_catches_up_and_one_without_does_not() -> None:
    life = simulate(Costs(), START, seconds=120, rebalance_at=30, seed=1)
    assert life.busiest < 0.5
    assert 5 <= life.lag_s < 20
    assert life.caught_up_s < 30
    # Negative control: more records than two workers can take.
    small = replace(START, workers=2, records_per_s=400_000)
    assert math.isinf(simulate(Costs(), small, seconds=120, rebalance_at=30, seed=1).caught_up_s)


def test_a_worker_with_two_partitions_is_twice_as_busy() -> None:
    even = Fleet(100_000, 1_000, 10, 10)
    odd = replace(even, partitions=11)
    lives = [simulate(Costs(), each, seconds=60, rebalance_at=50, seed=1) for each in (even, odd)]
    assert lives[1].busiest == pytest.approx(2 * lives[0].busiest, rel=0.2)
    assert overhead_cores(Costs(), replace(odd, own=2)) > overhead_cores(Costs(), replace(odd, own=1))


def test_the_metadata_of_faust_grows_with_the_hosts_as_modelled() -> None:
    assert host_bytes(100) == pytest.approx(host_bytes(20), rel=0.15)
    assert host_bytes(50) == pytest.approx(Costs().host_bytes, rel=0.3)


def test_costs_are_measured() -> None:
    costs = measured(Costs())
    assert costs.record_us == Costs().record_us
    for name in ("entry_us", "combine_us", "sum_us", "total_us", "entry_bytes", "source_bytes"):
        assert 0 < getattr(costs, name) < 1_000


def test_the_cost_of_a_record_comes_from_the_newest_results(tmp_path: Path) -> None:
    assert newest_record_us(tmp_path) is None
    for day, cost in (("01", 9.0), ("02", 5.0)):
        result = {"dimension": "partitions", "value": 8, "runs": [{"cpu_us": cost}]}
        (tmp_path / f"growth-202601{day}T000000.json").write_text(json.dumps({"results": [result]}))
    assert newest_record_us(tmp_path) == (5.0, "growth-20260102T000000.json")
