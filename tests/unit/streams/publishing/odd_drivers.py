"""Drivers that misbehave, for tests of those that hand messages on to them."""

from __future__ import annotations

import threading
from typing import Any

from streams.outgoing import Outgoing
from streams.publishing.driver import Driver, Stats


class Hanging(Driver):
    """Hangs in every call until it is let go."""

    def __init__(self, *, settings: Any = None) -> None:
        self.let_go = threading.Event()
        self.pushed = 0

    def push(self, message: Outgoing) -> bool:
        self.let_go.wait()
        self.pushed += 1
        return True

    @property
    def stats(self) -> Stats:
        return Stats(self.pushed, self.pushed)

    def close(self, timeout: float = 5.0) -> None:
        self.let_go.wait(timeout)


class Raising(Hanging):
    """Breaks its promise."""

    def push(self, message: Outgoing) -> bool:
        raise RuntimeError("no such luck")

    def close(self, timeout: float = 5.0) -> None:
        raise RuntimeError("nor here")
