"""The storm benchmark: its targets from made runs, and how many alerts a share comes to."""

from __future__ import annotations

import math

from tests.benchmarks import storm


def run(rate: float, broker_us: float = 10.0) -> dict[str, float]:
    return {"rate": rate, "broker_us": broker_us}


def test_alerts_of_a_share() -> None:
    assert [storm.alerts_of(40_000, share) for share in (0, 5, 10, 25, 50, 100)] == [
        0,
        2_000,
        4_000,
        10_000,
        20_000,
        40_000,
    ]


def test_targets_are_ratios_of_runs_in_one_repeat() -> None:
    known = storm.storm_arms()
    results = {
        10: {"tocsin": [run(90.0)], "counting": [run(100.0)], "faust": [run(9.0)]},
        50: {
            "tocsin": [run(160.0), run(80.0)],
            "bare": [run(100.0, 4.0), run(50.0, 2.0)],
            "faust": [None, run(40.0)],
        },
    }
    found = {target.what: target for target in storm.targets(results, known)}
    assert found["10 % forwarded, to bare aiokafka loop, only counting"].met
    assert found["10 % forwarded, to stock Faust, an agent that forwards"].reached == 10.0
    assert found["50 % forwarded, to bare aiokafka loop that forwards"].reached == 1.6
    assert not found["50 % forwarded, to stock Faust, an agent that forwards"].met
    broker = found["50 % forwarded, the broker's CPU an alert, to that of the bare loop"]
    assert broker.reached == 3.75
    assert not broker.met
    assert not any("100 %" in what for what in found)


def test_a_peer_that_failed_is_not_measured() -> None:
    results = {50: {"tocsin": [run(160.0)], "bare": [None]}}
    found = storm.targets(results, storm.storm_arms())
    assert all(math.isnan(target.reached) and not target.met for target in found)
