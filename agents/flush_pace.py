"""How often counts are made durable: at the configured interval, and rarer where that would cost too much.

A flush writes every row that has changed as a whole. With very many event types, or partitions, rows change
nearly whole between two flushes, and flushing would take more of the processor than counting. So the time it
takes, in planning, encoding, writing, combining and reading back, is bounded to a share of all time by
waiting longer. Pure: it is told what was spent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

#: Part of the time that flushing may take.
FLUSH_SHARE: Final = 0.05
#: Seconds between two flushes, at most, unless more are configured.
MOST_INTERVAL_S: Final = 10.0
#: Seconds of the event loop that it takes to hand a record to the Kafka client and to hear of it, about.
SENDING_S: Final = 60e-6


class FlushPace:
    """Decides the interval between flushes from what the last ones took.

    As a context manager it measures a stretch of work in which nothing else runs.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with the configured interval; ``clock`` is steady, and both are in seconds."""
        self._interval_s = interval_s
        self._clock = clock
        self._spent_s = 0.0
        self._began = 0.0

    def spent(self, seconds: float) -> None:
        """Take note of time that flushing has taken."""
        self._spent_s += seconds

    def sent(self, records: int) -> None:
        """Take note of records that were handed to the client."""
        self._spent_s += records * SENDING_S

    def __enter__(self) -> None:
        """Begin a stretch of work; there must be no other one within it."""
        self._began = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._spent_s += self._clock() - self._began

    def wait_s(self) -> float:
        """Seconds to wait before the next flush; what was spent until now is then paid for."""
        spent, self._spent_s = self._spent_s, 0.0
        most = max(MOST_INTERVAL_S, self._interval_s)
        return min(max(self._interval_s, spent / FLUSH_SHARE), most)
