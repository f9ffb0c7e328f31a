"""The slope of a soak: found where there is one, and not in noise or in a warm-up."""

from __future__ import annotations

import math
import random

import pytest

from tests.chaos.soak import Sample, slope_of, verdict_of

TIMES = [2.0 * index for index in range(600)]


def noise(seed: int, size: float) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(0, size) for _ in TIMES]


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_slope(seed: int) -> None:
    slope = slope_of(TIMES, [300 + each for each in noise(seed, 5)])
    assert not slope.found
    assert slope.mean == pytest.approx(300, abs=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_found_in_noise(seed: int) -> None:
    """60 MB an hour, which is 20 MB in these twenty minutes."""
    slope = slope_of(TIMES, [300 + t / 60 + e for t, e in zip(TIMES, noise(seed, 5), strict=True)])
    assert slope.found
    assert slope.low < 60 < slope.high


def test_a_sure_slope_of_next_to_nothing_is_not_one() -> None:
    slope = slope_of(TIMES, [300 + t / 3600 for t in TIMES])
    assert slope.low > 0
    assert not slope.found


def test_a_saw_tooth_has_no_slope() -> None:
    assert not slope_of(TIMES, [300 + t % 97 for t in TIMES]).found


def test_rows_that_are_meant_to_stay_are_no_slope_of_the_tables() -> None:
    samples = [Sample(t, 300, 90, 5 + t / 300) for t in TIMES]
    assert verdict_of(samples)["tables_mb"].found
    assert not verdict_of(samples, kept=TIMES[-1] / 300)["tables_mb"].found


def test_the_warm_up_is_left_out() -> None:
    samples = [Sample(t, 300 - 200 * math.exp(-t / 60), 90, 5) for t in TIMES]
    assert not verdict_of(samples)["rss_mb"].found
    assert slope_of(TIMES, [each.rss_mb for each in samples]).found


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="too few"):
        slope_of([0.0, 1.0], [1.0, 1.0])
