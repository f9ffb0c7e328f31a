"""The pure parts of the memory benchmark."""

from __future__ import annotations

from streams.settings import load_settings
from tests.benchmarks.memory import bound_mb, plateau


def test_the_bound_is_that_of_the_default_settings() -> None:
    settings = load_settings()
    assert bound_mb() == settings.buffer_bytes * len(settings.priorities) / 1e6


def test_a_plateau_needs_time_without_growth() -> None:
    assert plateau([(0.0, 90.0), (1.0, 150.0), (4.5, 150.4)], 3.0, 1.0)
    assert not plateau([(0.0, 90.0), (1.0, 150.0)], 3.0, 1.0)
    assert not plateau([(0.0, 90.0), (1.0, 150.0), (4.5, 160.0)], 3.0, 1.0)
    assert not plateau([], 3.0, 1.0)
