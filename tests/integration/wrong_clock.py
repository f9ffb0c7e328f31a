"""A worker whose clock is wrong by as many seconds as a file says: ``python -m tests.integration.wrong_clock``.

``WRONG_CLOCK`` names the file; while it is not there the clock is right. With ``WRONG_CLOCK_CONTROL`` the
worker goes by its clock alone, as if brokers had no time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOOK_S = 0.05


def _install() -> None:
    right, steady = time.time, time.monotonic
    path = Path(os.environ["WRONG_CLOCK"])
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


def _go_by_the_clock_alone() -> None:
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
    # Before anything takes the function over.
    _install()
    if os.environ.get("WRONG_CLOCK_CONTROL"):
        _go_by_the_clock_alone()
    from tocsin.cli import main

    main()
