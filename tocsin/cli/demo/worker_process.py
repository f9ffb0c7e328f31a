"""The demo's worker: a process of its own, and what its web views say."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import streams
from tocsin.cli.common.web_views import NoAnswerError, WebViews

_ADDRESS = re.compile(r"The web views are at (http://\S+?)/?$", re.MULTILINE)
_POLL_S: Final = 0.1
# They bound what hangs; a slow machine needs a while.
_READY_S: Final = 180.0
_STOP_S: Final = 60.0
_TAIL_LINES: Final = 15
_TAIL_BYTES: Final = 2**16
#: Items of a page; more than a made load has event types.
_LIMIT: Final = 1000


class DemoError(Exception):
    """The demo cannot go on.

    Args:
        sentence: says why.
        log: of the process that is to blame, to be shown and kept; None when there is none.
    """

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.log = log


class WorkerProcess:
    """``tocsin worker`` in a session of its own: Ctrl-C in the terminal reaches only the demo.

    Args:
        folder: for its log and its state.
        environment: of the process.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.log = folder / "worker.log"
        self.address = ""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*_python(), "-m", "tocsin", "worker", "--data-dir", str(folder / "worker")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=dict(environment),
            )
        # The pipe closes when the demo is gone, even by SIGKILL; a line on it says all is well. There is
        # nothing to drain then: the worker's state goes with the demo.
        self._guard = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", 'read -r line || kill -KILL "$0" 2>/dev/null', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_ready(self, timeout_s: float = _READY_S) -> WorkerViews:
        """Wait until the worker says that it is ready.

        Raises:
            DemoError: it ended, or was not ready in time.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            self.check()
            if not self.address and (found := _ADDRESS.search(self.log.read_text("utf-8", "replace"))):
                self.address = found[1]
            if self.address and (views := WorkerViews(self.address)).ready():
                return views
            time.sleep(_POLL_S)
        raise DemoError(f"The worker was not ready within {timeout_s:.0f} s.", self.log)

    def check(self) -> None:
        """Check that it runs.

        Raises:
            DemoError: it has ended.
        """
        code = self._process.poll()
        if code is not None:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise DemoError(f"The worker ended {how}.", self.log)

    def stop(self) -> str | None:
        """Stop it and return when it is gone; None, or a sentence that says what was wrong with its end."""
        fault = None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                if code := self._process.wait(_STOP_S):
                    fault = f"The worker was told to stop and ended with exit code {code}."
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                fault = f"The worker did not stop within {_STOP_S:.0f} s and was killed."
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(b"\n")
                self._guard.stdin.close()
        self._guard.wait()
        return fault


class WorkerViews(WebViews):
    """What the demo asks of the worker's web views."""

    def counts(self, window: str) -> list[dict[str, Any]]:
        """All counts in a window, the largest first.

        Raises:
            NoAnswerError: there is no answer, or not a complete one.
        """
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            given = {"window": window, "sort": "-count", "limit": _LIMIT}
            answer = self.get("/api/v1/counts", given | ({"cursor": cursor} if cursor else {}))
            if not answer["complete"]:
                raise NoAnswerError("the worker has not read all counts yet")
            items += answer["items"]
            cursor = answer["next"]
            if not cursor:
                return items

    def scheduler(self) -> dict[str, dict[str, Any]]:
        """State of each class, by priority.

        Raises:
            NoAnswerError: there is no answer.
        """
        return {item["priority"]: item for item in self.get("/api/v1/scheduler")["classes"]}


def tail(log: Path) -> list[str]:
    """The last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return [f"(the log cannot be read: {error.strerror})"]
    return lines[-_TAIL_LINES:]


def _python() -> list[str]:
    """This Python, which must find this very package and not one of the same name in the current folder."""
    here = Path(streams.__file__).resolve().parents[1]
    return [sys.executable] if here == Path.cwd().resolve() else [sys.executable, "-P"]


def worker_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This environment with none of its own TOCSIN_* but those in ``settings``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return own | dict(settings)
