"""``tocsin demo`` as a process: its sums, its end in every way, and that nothing is left of it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from streams.notifications.priority import DEFAULT_PRIORITIES
from tests import children
from tests.integration.worker_process import BOUND_S
from tests.kafka_fixture import living, processes_of, wait_until_gone
from tests.long_form import in_the_long_form
from tests.paths import ROOT

_NUMBERS = re.compile(r"^(CRITICAL|ERROR|WARN|INFO|DEBUG|all) +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+|-)$")


class Demo:
    """A demo in a folder; its standard error goes to a file there."""

    def __init__(self, folder: Path, name: str, *arguments: str, stdout: int = subprocess.PIPE) -> None:
        self.folder = folder
        self._errors = folder / f"{name}.err"
        # A demo must never touch the cluster that somebody works with.
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "TOCSIN_BROKERS": "127.0.0.1:1",
            "TOCSIN_PRIORITIES": "critical",
            "TERM": "xterm",
        }
        with self._errors.open("wb") as errors:
            self.process = children.start(
                [sys.executable, "-P", "-m", "tocsin", "demo", *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=errors,
                start_new_session=True,
                text=True,
            )
        self.children: set[psutil.Process] = set()

    @property
    def out(self) -> IO[Any]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def wait_for(self, text: str) -> str:
        """Read standard output up to a line that holds ``text``, and return that line."""
        for line in self.out:
            if text in line:
                self.children |= set(psutil.Process(self.process.pid).children(recursive=True))
                return line
        pytest.fail(f"it ended without {text!r}: {self.errors}")

    def child(self, argument: str) -> psutil.Process:
        """The process with this argument on its command line."""
        [found] = [each for each in self.children if argument in each.cmdline()]
        return found

    def end(self) -> tuple[int, str]:
        """Exit code and the rest of standard output, when it has ended."""
        rest = self.out.read()
        return self.process.wait(BOUND_S), rest

    def left(self) -> list[Any]:
        """What is left of it: processes and folders."""
        return [*living(self.children), *processes_of(self.folder), *self.folder.glob(".tocsin/demo-*/")]


@contextmanager
def _demo(*arguments: Any, **options: Any) -> Iterator[Demo]:
    demo = Demo(*arguments, **options)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait()


def counted(page: str, event_type: str) -> bool:
    """Whether the worker whose page this is shows an event type."""
    query = f"{page}api/v1/counts?window=total&event_type={event_type}"
    with urllib.request.urlopen(query, timeout=BOUND_S) as answer:
        return bool(json.load(answer)["items"])


def _summary(output: str) -> dict[str, list[str]]:
    found = [match for line in output.splitlines() if (match := _NUMBERS.match(line.strip()))]
    return {match[1]: [each.replace(",", "") for each in match.groups()[1:]] for match in found}


@pytest.mark.kafka
def test_two_demos_at_once_count_all_that_they_published_and_leave_nothing(tmp_path: Path) -> None:
    with (
        _demo(tmp_path, "one", "--seconds", "6", "--rate", "400") as one,
        _demo(tmp_path, "two", "--seconds", "6", "--rate", "200") as two,
    ):
        for demo in (one, two):
            demo.wait_for("The page is at http://127.0.0.1:")
        for demo in (one, two):
            code, output = demo.end()
            assert (code, "The sums agree: " in output) == (0, True), output + demo.errors
            lines = _summary(output)
            assert list(lines) == [*DEFAULT_PRIORITIES, "all"]
            for column in range(3):
                assert int(lines["all"][column]) == sum(
                    int(lines[each][column]) for each in DEFAULT_PRIORITIES
                )
            published, counted, dead, forwarded = map(int, lines["all"])
            assert published == counted + dead > 0
            assert forwarded == int(lines["CRITICAL"][0]) + int(lines["ERROR"][0]) > 0
            assert re.search(r"^0:\d\d  published [\d,]+  counted ", output, re.MULTILINE), (
                "a line of progress"
            )
            assert "Starting Apache Kafka" in demo.errors
    assert one.left() + two.left() == []


@pytest.mark.kafka
def test_a_notification_that_the_demo_did_not_publish_makes_its_sums_disagree(tmp_path: Path) -> None:
    with _demo(tmp_path, "demo", "--seconds", "8") as demo:
        page = demo.wait_for("The page is at ").split()[-1]
        demo.wait_for("forwarded")  # it has all its connections
        brokers = demo.child("worker").environ()["TOCSIN_BROKERS"]
        # It must not compare its sums before the worker has counted the stranger, however long that takes.
        demo.process.send_signal(signal.SIGSTOP)
        children.run(
            [sys.executable, "-m", "tocsin", "publish", "--event-type", "a.stranger", "--brokers", brokers],
            cwd=ROOT,
            timeout=BOUND_S,
            check=True,
        )
        until = time.monotonic() + BOUND_S
        while not counted(page, "a.stranger"):
            assert time.monotonic() < until
            time.sleep(0.1)
        demo.process.send_signal(signal.SIGCONT)
        code, output = demo.end()
        assert (code, "The sums do not agree." in output) == (1, True), output + demo.errors
        lines = _summary(output)
        # The demo ends once one priority has too many, when others may not be counted to their ends yet.
        assert int(lines["INFO"][1]) + int(lines["INFO"][2]) == int(lines["INFO"][0]) + 1
        assert re.search(r"^INFO: [\d,]+ (was|were) published, and ", output, re.MULTILINE)
    assert demo.left() == []


@pytest.mark.kafka
def test_ctrl_c_in_a_terminal_ends_it_cleanly(tmp_path: Path) -> None:
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (30, 100))
    with _demo(tmp_path, "demo", stdout=its) as demo:
        os.close(its)
        shown = _read_until(ours, "Latest alerts")
        demo.children |= set(psutil.Process(demo.process.pid).children(recursive=True))
        assert demo.child("worker").is_running()
        assert len(processes_of(tmp_path)) == 2, "Kafka and the worker"
        for text in ("The page is at http://", "top event types", "last minute", "weight"):
            assert text in shown
        # As a terminal does: to all of its foreground processes. People press it twice.
        os.killpg(demo.process.pid, signal.SIGINT)
        os.killpg(demo.process.pid, signal.SIGINT)
        rest = _read_until(ours, None)
        assert demo.process.wait(BOUND_S) == 0, rest + demo.errors
        assert "Interrupted: " in rest
        assert "Traceback" not in rest + demo.errors
    os.close(ours)
    assert demo.left() == []


@pytest.mark.kafka
def test_a_demo_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    with _demo(tmp_path, "demo") as demo:
        demo.wait_for("forwarded")
        assert len(processes_of(tmp_path)) == 2, "Kafka and the worker"
        demo.process.kill()
        wait_until_gone(demo.children, BOUND_S)
    assert processes_of(tmp_path) == []


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("argument", "says", "log"),
    [
        ("worker", "The worker ended by SIGKILL. Its log, ", "worker.log"),
        *in_the_long_form(("kafka.Kafka", "Kafka (broker 1) ended. Its log, ", "server.log")),
    ],
)
def test_a_process_that_dies_ends_the_demo_with_the_end_of_its_log(
    tmp_path: Path, argument: str, says: str, log: str
) -> None:
    with _demo(tmp_path, "demo", "--seconds", "100") as demo:
        demo.wait_for("The page is at ")
        demo.child(argument).kill()
        code, output = demo.end()
        assert code == 1, output
        found = re.search(re.escape(says) + r"(\S+), ends with:\n((?: {4}.*\n)+)", demo.errors)
        assert found is not None, demo.errors
        kept = tmp_path / found[1]
        assert kept.name.endswith(log)
        assert kept.read_text().splitlines()[-1] == found[2].splitlines()[-1][4:]
        assert "Traceback" not in demo.errors
    assert demo.left() == []


def _read_until(descriptor: int, text: str | None) -> str:
    """What a terminal was sent up to ``text``, or up to its end."""
    seen = b""
    while text is None or text.encode() not in seen:
        try:
            part = os.read(descriptor, 2**16)
        except OSError:
            part = b""  # how Linux says that nobody has the terminal open any more
        if not part:
            assert text is None, seen.decode(errors="replace")
            break
        seen += part
    return seen.decode(errors="replace")
