"""Processes of a benchmark: started with a log, ended with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.paths import ROOT


class BenchmarkError(Exception):
    """A benchmark could not be carried out; the message says why."""


class Child:
    """A running ``python -m module arguments``."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        python: str | None = None,
    ) -> None:
        """Start it; both its outputs go to the end of ``log``. ``python``: another interpreter than ours."""
        self.log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [python or sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=clean | {"PYTHONPATH": str(ROOT)} | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.module = module

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def check(self) -> None:
        """Raise if it has ended by itself."""
        if (code := self.process.poll()) is not None:
            raise BenchmarkError(f"{self.module} ended with exit code {code}:\n{self.tail()}")

    def wait(self, timeout_s: float) -> None:
        """Wait until it has done its work.

        Raises:
            BenchmarkError: it failed, or took too long.
        """
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.stop()
            raise BenchmarkError(f"{self.module} did not end within {timeout_s:g} s.") from None
        if code:
            raise BenchmarkError(f"{self.module} ended with exit code {code}:\n{self.tail()}")

    def stop(self, patience_s: float = 15.0) -> None:
        """End it, politely at first."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def running(module: str, *arguments: str, **options: Any) -> Iterator[Child]:
    """A child that is stopped at the end, whatever happens."""
    child = Child(module, *arguments, **options)
    try:
        yield child
    finally:
        child.stop()


def wait_until(
    condition: Callable[[], bool], timeout_s: float, what: str, *children: Child, poll_s: float = 0.02
) -> None:
    """Wait for a condition while the children live.

    Raises:
        BenchmarkError: it did not come true in time, or a child has ended.
    """
    until = time.monotonic() + timeout_s
    while not condition():
        for child in children:
            child.check()
        if time.monotonic() > until:
            tails = "\n".join(f"--- {child.module}\n{child.tail()}" for child in children)
            raise BenchmarkError(f"Waited {timeout_s:g} s in vain for {what}.\n{tails}")
        time.sleep(poll_s)
