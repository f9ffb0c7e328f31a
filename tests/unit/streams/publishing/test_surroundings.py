"""Processes in which a driver's thread would not run are refused with a sentence."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from streams.publishing.driver import load_driver
from streams.publishing.surroundings import check_threads, threads_are_green
from streams.settings import ConfigurationError
from tests import children
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({}, True),
        ({"enable-threads": False}, True),
        ({"enable-threads": b"0"}, True),
        ({"enable-threads": True}, False),
        ({b"enable-threads": b"true"}, False),
        ({"threads": b"2"}, False),
    ],
)
def test_uwsgi_without_threads_is_refused(
    monkeypatch: pytest.MonkeyPatch, options: dict[Any, Any], refused: bool
):
    # The module that uWSGI puts into its processes, and nobody else can import.
    uwsgi = types.ModuleType("uwsgi")
    uwsgi.opt = options  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    if not refused:
        check_threads("kafka")
        return
    with pytest.raises(
        ConfigurationError, match=r"^The publishing driver kafka needs .* enable-threads = true"
    ):
        check_threads("kafka")
    with pytest.raises(ConfigurationError, match="enable-threads"):
        load_driver("kafka")
    load_driver("noop")


def test_here_threads_are_threads():
    assert not threads_are_green()


_LATE = """
import sys
from tocsin import Notifier, load_driver
driver = load_driver("file", path=sys.argv[1])
notifier = Notifier("p", driver, topic_prefix="n.")
from gevent import monkey
monkey.patch_all()
import threading, time
ticks = []
def tick():
    while True:
        time.sleep(0.001)
        ticks.append(1)
threading.Thread(target=tick, daemon=True).start()
for number in range(100): notifier.info("a.b", number)
assert driver.flush(30)
time.sleep(0.05)
assert ticks, "the other green thread stood still"
driver.close()
"""


def test_threads_may_become_green_after_the_driver_was_made(tmp_path: Path):
    path = tmp_path / "n.jsonl"
    command = [sys.executable, "-W", "ignore", "-c", _LATE, path]
    result = children.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(path.read_bytes().splitlines()) == 100
