"""States of workers for tests."""

from __future__ import annotations

from typing import Any

from tables.fleet.state import ClassState, WorkerState, encode_state

APP = "tocsin"


def class_state(**values: Any) -> ClassState:
    """State of a class in which nothing is done, but for ``values``."""
    nothing: dict[str, Any] = dict.fromkeys(ClassState.__struct_fields__, 0)
    return ClassState(**nothing | values)


def worker_state(run: str = "run-1", **values: Any) -> WorkerState:
    """State of a worker that has just begun, but for ``values``."""
    made: dict[str, Any] = {
        "app": APP,
        "run": run,
        "version": "1.0",
        "host": "host",
        "pool": "",
        "since_s": 1000.0,
        "written_s": 1010.0,
        "ready": True,
        "reasons": [],
        "mode": "weighted",
        "profile": "default",
        "loop_lag_s": 0.01,
        "clock_ahead_s": 0.0,
        "flush_s": 0.02,
        "event_types": 5,
        "rebalances": 1,
        "classes": {"CRITICAL": class_state(weight=16.0)},
    }
    return WorkerState(**made | values)


def row(run: str = "run-1", **values: Any) -> bytes:
    """The value of the row of such a worker."""
    return encode_state(worker_state(run, **values))
