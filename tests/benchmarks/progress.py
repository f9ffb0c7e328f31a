"""Progress of a process, seen by others at once: a few numbers in a file that both map into memory."""

from __future__ import annotations

import time
from pathlib import Path

from tests.benchmarks.shared_numbers import SharedNumbers


class Progress:
    """Numbers of one writer; any process may read them.

    Attributes:
        handled: records done with.
        flooded: those of them that are of the priority of the backlog.
    """

    def __init__(self, path: str | Path, target: int = 0) -> None:
        """Open the file; made when missing. ``target`` is the writer's alone."""
        self._shared = SharedNumbers(Path(path), 5)
        self._target = target
        self.handled = self.flooded = self._first = self._reached = self._ready = 0
        self.read()

    def begin(self) -> None:
        """The first record is about to be handled."""
        if not self._first:
            self._first = time.monotonic_ns()
            self._write()

    def add(self, records: int, flooded: int = 0) -> None:
        """So many more were handled."""
        self.handled += records
        self.flooded += flooded
        if self._target and not self._reached and self.handled >= self._target:
            self._reached = time.monotonic_ns()
        self._write()

    def set_ready(self) -> None:
        """Say that the process is ready for work."""
        self._ready = 1
        self._write()

    def _write(self) -> None:
        numbers = self.handled, self.flooded, self._first, self._reached, self._ready
        for index, number in enumerate(numbers):
            self._shared[index] = number

    def read(self) -> Progress:
        """Take over what the writer wrote last."""
        self.handled, self.flooded, self._first, self._reached, self._ready = self._shared.all()
        return self

    @property
    def first_ns(self) -> int:
        """Monotonic time at which the first record was handled; 0 before."""
        return self._first

    @property
    def reached_ns(self) -> int:
        """Monotonic time at which the target was reached; 0 before."""
        return self._reached

    @property
    def ready(self) -> bool:
        """Whether the process is ready for work."""
        return bool(self._ready)


def burn(seconds: float) -> None:
    """Keep the processor busy: work that a handler does."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
