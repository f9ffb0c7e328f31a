"""The benchmark of the web views: its targets from made runs."""

from __future__ import annotations

import argparse
import math
from typing import Any

from tests.benchmarks import web

NOBODY, WORKER, BESIDE = web.readings(argparse.Namespace(worker_rate=100.0, web_rate=500.0, streams=200))


def run(visible: float, hop: float, failed: int = 0) -> dict[str, Any]:
    return {"visible": [visible] * 10, "hop": [hop] * 10, "readers": {"failed": failed}}


def test_targets_are_ratios_in_bare_hops_of_the_same_repeat() -> None:
    found = {
        target.what: target
        for target in web.targets(
            {
                # The machine was slower in the second repeat, and so was the hop.
                NOBODY: [run(10.0, 5.0), run(40.0, 20.0)],
                WORKER: [run(11.0, 5.0), run(44.0, 20.0)],
                BESIDE: [run(16.0, 5.0), run(64.0, 20.0)],
            }
        )
    }
    assert len(found) == 6
    for figure in ("p50", "p99"):
        on_the_worker = found[f"{WORKER.title}: {figure} of CRITICAL in bare hops, to that without readers"]
        assert math.isclose(on_the_worker.reached, 1.1)
        assert on_the_worker.met
        beside = found[f"{BESIDE.title}: {figure} of CRITICAL in bare hops, to that without readers"]
        assert math.isclose(beside.reached, 1.6)
        assert not beside.met


def test_readers_that_fail_and_alerts_that_never_come_meet_no_target() -> None:
    found = web.targets({NOBODY: [run(10.0, 5.0)], WORKER: [run(math.inf, 5.0, failed=1)]})
    assert len(found) == 3
    assert not any(target.met for target in found)
