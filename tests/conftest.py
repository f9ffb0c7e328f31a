"""Fixtures that every test may ask for, and the end of a run, which leaves no process behind."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable
from typing import Any

import hypothesis
import pytest

from tests.kafka_fixture import kafka, processes_of, unique
from tests.leash import die_with_parent
from tests.short_explanations import shortened

__all__ = ["kafka", "unique"]

# A slow machine is no failure, and neither is an example that takes it long.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

#: Seconds for brokers to stop in good order.
_STOP_S = 60.0
_POLL_S = 0.1


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist whose end is its own."""
    node.workerinput["tocsin_parent"] = os.getpid()


def pytest_configure(config: pytest.Config) -> None:
    """In a process of pytest-xdist: end with the one that collects the results, also when that is killed."""
    if (given := getattr(config, "workerinput", None)) is not None:
        die_with_parent(given["tocsin_parent"])


@pytest.hookimpl(wrapper=True)
def pytest_assertrepr_compare() -> Generator[None, list[Iterable[str]], list[list[str]]]:
    """Say no more of values that differ than somebody can read."""
    explanations = yield
    return [list(shortened(explanation)) for explanation in explanations]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves a broker behind."""
    if hasattr(session.config, "workerinput"):
        return
    base = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    # The shared Kafka ends by itself, once those who used it have.
    until = time.monotonic() + _STOP_S
    while (left := processes_of(base)) and time.monotonic() < until:
        time.sleep(_POLL_S)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\nThese processes were left behind: {left}")
