"""A test run that is killed leaves no process behind: no worker, no broker, whoever gets the signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import children
from tests.integration.worker_process import BOUND_S, eventually
from tests.kafka_fixture import living, processes_of
from tests.long_form import in_the_long_form
from tests.paths import ROOT

pytestmark = pytest.mark.kafka


class Run:
    """A pytest whose tests wait for ever, by as many processes."""

    def __init__(self, folder: Path, processes: int, **environment: str) -> None:
        self.scratch = folder / "scratch"
        self._told = folder / "told"
        self._told.mkdir()
        self._expected = processes
        # Nothing of the pytest that runs this.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        with (folder / "log").open("wb") as log:
            self.process: subprocess.Popen[bytes] = children.start(
                [
                    *(sys.executable, "-m", "pytest", "tests/integration/left_behind.py"),
                    *("-n", f"{processes if processes > 1 else 0}", "--max-worker-restart", "0"),
                    *("--basetemp", self.scratch),
                ],
                cwd=ROOT,
                env=clean | environment | {"LEFT_BEHIND_TOLD": str(self._told)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers: list[psutil.Process] = []
        self.all: list[psutil.Process] = []

    async def is_under_way(self) -> None:
        """Wait until each of its tests has a worker that is ready."""

        def all_told() -> bool:
            assert self.process.poll() is None
            return len(list(self._told.glob("*[0-9]"))) == self._expected

        # It starts a Kafka of its own before.
        await eventually("every test has a worker", all_told, deadline_s=400)
        for told in self._told.iterdir():
            pid, created = told.read_text().split()
            worker = psutil.Process(int(pid))
            assert worker.create_time() == float(created)
            self.workers.append(worker)
        self.all = psutil.Process(self.process.pid).children(recursive=True)
        assert set(self.workers) <= set(self.all)
        assert len(processes_of(self.scratch)) == 2, "the shared broker and its keeper"

    async def is_gone(self) -> None:
        """Wait until nothing of it is left."""
        await eventually("the run has ended", lambda: self.process.poll() is not None)
        await eventually("nothing is left", lambda: not living(self.all) and not processes_of(self.scratch))


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Run]]:
    started: list[Run] = []
    yield started
    for run in started:
        run.process.kill()
        run.process.wait(BOUND_S)
        for process in living(run.all):
            process.kill()


@pytest.mark.parametrize(
    ("processes", "number"),
    [(2, signal.SIGKILL), *in_the_long_form((1, signal.SIGTERM), (2, signal.SIGINT))],
)
async def test_a_killed_run_leaves_nothing(
    runs: list[Run], tmp_path: Path, processes: int, number: signal.Signals
) -> None:
    runs.append(run := Run(tmp_path, processes))
    await run.is_under_way()
    run.process.send_signal(number)
    await run.is_gone()


async def test_a_killed_process_of_a_run_leaves_nothing(runs: list[Run], tmp_path: Path) -> None:
    runs.append(run := Run(tmp_path, 2))
    await run.is_under_way()
    for parent in {worker.ppid() for worker in run.workers}:
        psutil.Process(parent).kill()
    await run.is_gone()


async def test_processes_that_are_on_no_leash_are_left(runs: list[Run], tmp_path: Path) -> None:
    """The control."""
    runs.append(run := Run(tmp_path, 1, LEFT_BEHIND_UNLEASHED="1"))
    await run.is_under_way()
    run.process.kill()
    # One that is ending has no command line any more, so it may be of the living and not of the folder.
    await eventually("the others are gone", lambda: set(living(run.all)) <= set(run.workers))
    assert living(run.all) == run.workers
    assert not processes_of(run.scratch)
