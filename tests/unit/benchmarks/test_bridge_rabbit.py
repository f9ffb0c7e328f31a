"""The benchmark of the bridge from RabbitMQ: its targets from made runs."""

from __future__ import annotations

from tests.benchmarks import bridge_rabbit


def test_targets_are_of_the_median_run() -> None:
    found = bridge_rabbit.targets(
        {
            "slow": [{"rate": 2_000.0}, {"rate": 2_500.0}, {"rate": 9_000.0}],
            "quick": [{"rate": 1_000.0}, {"rate": 3_500.0}, {"rate": 4_000.0}],
            bridge_rabbit._LIVE: [{"rate": 3_001.0}],
        }
    )
    assert [(each.what, each.reached, each.met) for each in found] == [
        ("slow", 2_500.0, False),
        ("quick", 3_500.0, True),
        (bridge_rabbit._LIVE, 3_001.0, True),
    ]
