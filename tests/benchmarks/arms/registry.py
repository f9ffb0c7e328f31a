"""The arms that throughput and latency know: a module beside this one, and an entry here or in ``peers``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


def always() -> str | None:
    """Nothing stands in the way."""
    return None


@dataclass(frozen=True, slots=True)
class Arm:
    """One program that consumes the notifications.

    It is run as ``python -m tests.benchmarks.arms.<module> <RunSpec as JSON>``, tells its progress
    (``Progress``), commits at least every second, and ends upon SIGTERM. With the option ``forward`` it sends
    each CRITICAL record to the topic ``spec.alerts + "critical"``, and notes the time at which it begins to
    handle it (``HandledTimes(spec.folder).note(value)``), before ``spec.work_us`` of work.

    Attributes:
        name: what it is called on the command line.
        title: for tables and plots.
        module: in ``tests.benchmarks.arms``.
        large: whether it is fast enough for the large set of records.
        options: for its ``RunSpec``.
        python: interpreter that runs it; None for the one of the benchmark. Of what is here, ``processes``,
            ``progress``, ``spec`` and ``handled`` need the standard library only.
        env: environment variables for it.
        throughput: whether it takes part in the throughput benchmark.
        latency: whether it takes part in the latency benchmark.
        seconds_late: whether its CRITICAL comes seconds late under a backlog, so that few runs tell enough.
        available: why it cannot run on this machine, None when it can.
    """

    name: str
    title: str
    module: str
    large: bool
    options: dict[str, Any] = field(default_factory=dict)
    python: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    throughput: bool = True
    latency: bool = False
    seconds_late: bool = True
    available: Callable[[], str | None] = always


_OWN = [
    Arm("tocsin", "Tocsin", "tocsin", True, latency=True, seconds_late=False),
    Arm("tocsin-forward", "Tocsin, alerts forwarded too", "tocsin", True, {"forward": True}),
    Arm("aiokafka", "bare aiokafka + orjson, a dict", "bare_aiokafka", True, latency=True),
    Arm("faust", "stock Faust, a dict", "stock_faust", False, latency=True),
    Arm("faust-table", "stock Faust, a table write a record", "stock_faust", False, {"table": True}),
    Arm(
        "faust-strict",
        "stock Faust, strict ConsumerScheduler",
        "stock_faust",
        False,
        {"scheduler": "strict"},
        throughput=False,
        latency=True,
    ),
    Arm(
        "faust-poll-100",
        "stock Faust, max_poll_records=100",
        "stock_faust",
        False,
        {"settings": {"broker_max_poll_records": 100}},
        throughput=False,
        latency=True,
    ),
]


def _peers() -> list[Arm]:
    """Peers that need an environment of their own."""
    try:
        found: list[Arm] = importlib.import_module("tests.benchmarks.peers").PEERS
    except ModuleNotFoundError as problem:
        if problem.name != "tests.benchmarks.peers":
            raise
        return []
    return found


def arms() -> dict[str, Arm]:
    """All arms by name, in the order of the tables."""
    return {arm.name: arm for arm in [*_OWN, *_peers()]}
