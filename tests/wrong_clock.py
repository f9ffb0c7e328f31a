"""A worker whose clock is wrong by as many seconds as a file says: ``python -m tests.wrong_clock worker``.

``WRONG_CLOCK`` names the file; while it is not there the clock is right. With ``WRONG_CLOCK_CONTROL`` the
worker goes by its clock alone, as if brokers had no time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOOK_S = 0.05


def install(path: Path) -> None:
    """Make the clock of this process wrong; to be called before the worker is made."""
    from streams.broker.clock_check import ClockCheck, steady_s

    right, steady = time.time, time.monotonic
    known = [0.0, -_LOOK_S]  # seconds that it is wrong by, and when that was looked up

    def wrong() -> float:
        if steady() - known[1] >= _LOOK_S:
            known[1] = steady()
            try:
                known[0] = float(path.read_text("ascii"))
            except (FileNotFoundError, ValueError):
                known[0] = 0.0
        return right() + known[0]

    time.time = wrong
    # What was imported before has the right one by default.
    ClockCheck.__init__.__defaults__ = (wrong, steady_s)


def go_by_the_clock_alone() -> None:
    """Leave out what bounds the clock by the brokers' times."""
    from streams.broker.clock_check import ClockCheck
    from tables.combined_counter import CombinedCounter
    from tables.totals import Totals

    def reach(self: Totals, record_ms: int) -> None:
        del record_ms
        self.reached_s = float("inf")

    CombinedCounter._horizon_s = lambda _, now_s: now_s  # type: ignore[method-assign]
    Totals.reach = reach  # type: ignore[method-assign]
    ClockCheck.now_s = lambda _: time.time()  # type: ignore[method-assign]


if __name__ == "__main__":
    install(Path(os.environ["WRONG_CLOCK"]))
    if os.environ.get("WRONG_CLOCK_CONTROL"):
        go_by_the_clock_alone()
    from tocsin.cli import main

    main()
