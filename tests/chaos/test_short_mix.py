"""The short mix of the suite, on the Kafka of the test session, and a variant that must fail it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults import kill_flush_twice, short_mix
from tests.chaos.world import TOCSIN, Fault, Result, World, run
from tests.integration.worker_process import BOUND_S
from tocsin.local_kafka.cluster import LocalKafka

pytestmark = pytest.mark.kafka

RATE = 300


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for log in sorted(tmp_path.glob("*.log")):
        print(f"---------------- end of {log.name}\n{log.read_text(errors='replace')[-4000:]}")


async def carried_out(kafka: LocalKafka, folder: Path, fault: Fault, **options: Any) -> Result:
    world = World(kafka, folder, TOCSIN, seed=7, rate=RATE, bound_s=BOUND_S, **options)
    result = await run(world, getattr(fault, "__name__", "fault"), fault)
    print(result.line())
    return result


async def test_nothing_is_lost_and_nothing_counted_twice(kafka: LocalKafka, folder: Path) -> None:
    result = await carried_out(kafka, folder, short_mix)
    assert result.good, f"{result.line()}\n{result.verdict.report()}"
    assert result.verdict.published > 1000


async def test_the_suite_notices_a_worker_without_replay_check(kafka: LocalKafka, folder: Path) -> None:
    result = await carried_out(kafka, folder, kill_flush_twice, variant="no-replay-check")
    assert result.verdict.twice.number > 0, result.line()
    assert not result.good
