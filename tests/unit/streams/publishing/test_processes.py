"""Drivers with a thread of their own in scripts that end, forks, threads and event loops."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import orjson
import pytest

from tests import children
from tests.paths import ROOT

BOUND_S = 60.0
_DRIVERS = {
    "file": "load_driver('file', path=sys.argv[1], exit_wait_s=30)",
    "routing": "load_driver('routing', routes={'g': {'file': {}}}, exit_wait_s=30, "
    "options={'file': {'path': sys.argv[1], 'exit_wait_s': 30}})",
}


def run(script: str, path: Path, driver: str, *may_say: str) -> Counter[object]:
    """Run a script that has a ``notifier`` and says nothing else; the payloads that it left in the file."""
    head = (
        "import os, sys, threading\n"
        "from tocsin import Notifier, load_driver\n"
        f"driver = {_DRIVERS[driver]}\n"
        "notifier = Notifier('p', driver, topic_prefix='n.')\n"
    )
    # Python 3.12 warns of any fork beside threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + script, path]
    result = children.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S)
    assert result.returncode == 0, result.stderr
    assert set(result.stderr.splitlines()) <= set(may_say)
    return Counter(orjson.loads(line)["payload"] for line in path.read_bytes().splitlines())


@pytest.mark.parametrize("driver", list(_DRIVERS))
def test_script_that_ends_without_closing_still_delivers(tmp_path: Path, driver: str):
    found = run("for number in range(1000): notifier.info('a.b', number)", tmp_path / "n", driver)
    assert found == Counter(range(1000))


@pytest.mark.parametrize("driver", list(_DRIVERS))
def test_thread_that_still_publishes_when_the_interpreter_ends_breaks_nothing(tmp_path: Path, driver: str):
    script = """
def endlessly():
    number = 0
    while True:
        notifier.info('a.b', number)
        number += 1
threading.Thread(target=endlessly, daemon=True).start()
while driver.stats.delivered < 100: pass
"""
    closed = "A message to n.info was dropped: the driver is closed"
    found = run(script, tmp_path / "n", driver, closed)
    assert set(found) == set(range(len(found)))


@pytest.mark.parametrize("driver", list(_DRIVERS))
def test_forked_workers_deliver_what_is_theirs(tmp_path: Path, driver: str):
    script = """
for number in range(100): notifier.info('a.b', f'parent {number}')
pids = []
for worker in range(3):
    pid = os.fork()
    if pid == 0:
        for number in range(100): notifier.info('a.b', f'child {worker} {number}')
        assert driver.flush(30)
        driver.close()
        os._exit(0)
    pids.append(pid)
for number in range(100): notifier.info('a.b', f'parent again {number}')
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
"""
    found = run(script, tmp_path / "n", driver)
    whose = ["parent", "parent again", "child 0", "child 1", "child 2"]
    assert found == Counter(f"{who} {number}" for who in whose for number in range(100))


@pytest.mark.parametrize("driver", list(_DRIVERS))
def test_many_threads_publish_through_one_driver(tmp_path: Path, driver: str):
    script = """
def work(who):
    for number in range(200): notifier.info('a.b', f'{who} {number}')
threads = [threading.Thread(target=work, args=[who]) for who in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    found = run(script, tmp_path / "n", driver)
    assert found == Counter(f"{who} {number}" for who in range(8) for number in range(200))


@pytest.mark.parametrize("driver", list(_DRIVERS))
def test_event_loop_that_ends_and_another_one(tmp_path: Path, driver: str):
    script = """
import asyncio
from tocsin import AsyncNotifier
awaited = AsyncNotifier('p', driver, topic_prefix='n.')
async def work(who):
    for number in range(100): await awaited.info('a.b', f'{who} {number}')
for who in range(2): asyncio.run(work(who))
"""
    found = run(script, tmp_path / "n", driver)
    assert found == Counter(f"{who} {number}" for who in range(2) for number in range(100))
