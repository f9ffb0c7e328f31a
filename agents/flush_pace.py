"""When counts are made durable: at the configured interval, sooner behind a burst, rarer where it is dear.

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
#: Where as many records were counted since the last flush and no more come, a burst is over, and its counts
#: are wanted: the next flush need not wait for its time, but so many seconds.
BURST: Final = 5_000
LEAST_INTERVAL_S: Final = 0.2
#: Seconds without another record after which no more come.
QUIET_S: Final = 0.05
#: Seconds by which such a flush may come before the last ones are paid for: nothing else needs the time.
ADVANCE_S: Final = 2.0
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
        #: When what was spent is paid for, when a flush is due, and when it may come at the earliest.
        self._paid_s = self._due_s = self._least_s = 0.0
        self._flushed = 0
        self._counted: int | None = None

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

    def begin(self, now_s: float, flushed: int) -> None:
        """Begin to wait for the next flush.

        Args:
            now_s: of a clock that only goes on.
            flushed: records that were counted when the last flush began.
        """
        spent, self._spent_s = self._spent_s, 0.0
        most = max(MOST_INTERVAL_S, self._interval_s)
        self._paid_s = max(self._paid_s, now_s) + min(spent / FLUSH_SHARE, most)
        self._due_s = now_s + min(max(self._interval_s, self._paid_s - now_s), most)
        self._least_s = min(self._due_s, now_s + LEAST_INTERVAL_S)
        self._flushed, self._counted = flushed, None

    def left_s(self, now_s: float, counted: int) -> float:
        """Seconds after which to ask again; 0 when it is time for a flush.

        Args:
            now_s: of the same clock.
            counted: records that are counted by now.
        """
        if now_s >= self._due_s:
            return 0.0
        if now_s < self._least_s:
            return self._least_s - now_s
        before, self._counted = self._counted, counted
        many = counted - self._flushed >= BURST and self._paid_s - now_s <= ADVANCE_S
        if many and counted == before:
            return 0.0
        # It is looked at so often only while many records wait.
        return min(self._due_s - now_s, QUIET_S if many else LEAST_INTERVAL_S)
