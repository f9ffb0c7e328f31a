"""The parts of the benchmarks that tell what an arm did for each priority."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.benchmarks.service import PRIORITIES, Gate, ServiceTimes, work_seconds
from tests.benchmarks.spec import RunSpec


def a_spec(folder: Path, **options: object) -> RunSpec:
    return RunSpec("", "g", "n.", "a.", 1, 50.0, 0, str(folder / "progress"), str(folder), options)


def test_a_reader_sees_what_the_writer_adds(tmp_path: Path) -> None:
    writer, reader = ServiceTimes(tmp_path), ServiceTimes(tmp_path)
    writer.add("DEBUG", 3, 2_000_000_000)
    before = reader.read()
    writer.add("DEBUG", 1, 500_000_000)
    writer.add("CRITICAL", 2, 1)
    assert before.records["DEBUG"] == 3
    assert before.seconds["DEBUG"] == pytest.approx(2.0)
    found = reader.read().since(before)
    assert found.records == dict.fromkeys(PRIORITIES, 0) | {"DEBUG": 1, "CRITICAL": 2}
    assert found.seconds["DEBUG"] == pytest.approx(0.5)


def test_work_is_the_priority_s_own_or_that_of_all(tmp_path: Path) -> None:
    spec = a_spec(tmp_path, work_us_by_priority={"DEBUG": 1000})
    assert work_seconds(spec, "DEBUG") == pytest.approx(0.001)
    assert work_seconds(spec, "INFO") == pytest.approx(50e-6)


async def test_a_gate_holds_until_its_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "gate"
    waiting = asyncio.create_task(Gate(a_spec(tmp_path, gate=str(path))).opened())
    await asyncio.sleep(0)
    assert not waiting.done()
    path.touch()
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(Gate(a_spec(tmp_path)).opened(), 10)
