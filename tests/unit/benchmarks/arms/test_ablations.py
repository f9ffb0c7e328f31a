"""What the ablations take out is there; each in a process of its own, since it changes classes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.arms.ablations import ABLATIONS, FirstInFirstOut, FixedBatchSize, SharedLane
from tests.benchmarks.processes import ROOT

#: Name -> an expression that holds once the mechanism is gone.
GONE = {
    "turns": "turns.TURNS_BETWEEN == 0",
    "lanes": f"traffic.FetchLane.__name__ == {SharedLane.__name__!r}",
    "fair-queue": f"type(one._order).__name__ == {FirstInFirstOut.__name__!r}",
    "timed-batches": f"scheduler.BatchSize.__name__ == {FixedBatchSize.__name__!r}",
    "interruptions": "interruptions.Interruptions.due(None, None) is None",
    "producers": "at.ConfirmedProducer('a', {}) is at.ConfirmedProducer('b', {})",
    "uvloop": "worker.install_event_loop() is None",
    "gc": "worker.tune_garbage_collection() is None",
}
PROGRAM = """
import sys
from tests.benchmarks.arms.ablations import ABLATIONS
import tocsin.cli.worker as worker
import tocsin.worker as at
import streams.scheduling.scheduler as scheduler
import streams.transport.interruptions as interruptions
import streams.transport.traffic as traffic
import streams.transport.turns as turns

def holds():
    one = scheduler.Scheduler([scheduler.ClassSpec("a", 1.0, 0, 1 << 20)])
    return {gone}

before = None if {harmless} else holds()
ABLATIONS[{name!r}][1]()
sys.exit(0 if not before and holds() else 1)
"""


def test_every_ablation_is_tested() -> None:
    assert GONE.keys() == ABLATIONS.keys()


@pytest.mark.parametrize("name", GONE)
def test_the_mechanism_is_gone(name: str) -> None:
    # These have effects, or fail, when they are there: they are not tried out before.
    program = PROGRAM.format(name=name, gone=GONE[name], harmless=name in {"interruptions", "uvloop", "gc"})
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
