"""What the probes say of ``tocsin web``; and that it does without Faust and RocksDB."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.paths import ROOT
from tocsin.web.health import WebHealth


class Parts:
    """Brokers and reader whose state is set at will; all is well."""

    def __init__(self) -> None:
        self.away: str | None = None
        self.complete = True
        self.missing: set[int] = set()
        self.other: str | None = None
        brokers = SimpleNamespace(reason=lambda: self.away)
        reader = cast("Any", self)
        self.health = WebHealth(cast("Any", brokers), reader)
        self.health.waits = None

    def foreign_app(self) -> str | None:
        return self.other


def test_it_has_not_started_before_all_counts_were_read() -> None:
    parts = Parts()
    parts.complete, parts.health.waits = False, "The brokers have not been reached yet."
    assert parts.health.started().reasons == ["The brokers have not been reached yet."]
    parts.health.waits = None
    for check in (parts.health.started, parts.health.ready):
        assert check().reasons == ["The counts are being read."]
    assert parts.health.live().ok
    parts.complete = True
    assert parts.health.started().ok
    assert parts.health.ready().ok
    parts.complete, parts.missing = False, {0, 1}
    assert parts.health.started().ok, "it stays started"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"missing": {3, 1}}, "The counts stand still in the partitions 1, 3."),
        ({"away": "No Kafka broker has answered for 9 s."}, "No Kafka broker has answered for 9 s."),
        ({"other": "them"}, "The app them writes its counts to the same topic."),
    ],
)
def test_it_is_not_ready_while_counts_are_not_current_and_lives_on(
    state: dict[str, Any], reason: str
) -> None:
    parts = Parts()
    assert parts.health.ready().ok
    vars(parts).update(state)
    assert parts.health.ready().reasons == [reason]
    assert parts.health.live().ok


def test_it_is_not_ready_while_it_stops() -> None:
    parts = Parts()
    parts.health.stopping()
    assert parts.health.ready().reasons == ["The process is stopping."]


@pytest.mark.parametrize(
    ("module", "heavy"), [("tocsin.cli.web", set()), ("tocsin.app", {"faust", "rocksdict"})]
)
def test_neither_faust_nor_rocksdb_is_imported(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*{{'faust', 'mode', 'rocksdict', 'agents'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    found = set(done.stdout.split())
    assert heavy <= found
    assert bool(found) is bool(heavy)
