"""What one source sends once more, because a combiner has missed it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tables.again import Questions, unanswered
from tables.buckets import FINE, FUTURE_S, HOUR, MINUTE, bucket_of, retention_s
from tables.flushes import Flush
from tables.row_bodies import Counts

#: Buckets looked at, and counts sent, in one flush of one source; bounds the time that it takes.
_MOST_BUCKETS: Final = 100
_MOST_COUNTS: Final = 20_000


class SendingAgain:
    """Goes through all buckets that combiners keep, some with each flush.

    Args:
        lateness_s: how far back in time a record may fall.
        answered: slice -> number of the latest question that was answered.
        counts_of: resolution and start of a bucket -> its counts, as they are durable with the flush.
    """

    def __init__(
        self, lateness_s: int, answered: dict[int, int], counts_of: Callable[[int, int, Flush], Counts]
    ) -> None:
        self._lateness_s = lateness_s
        self._counts_of = counts_of
        #: Slice -> number; to be kept with the base row.
        self.answered = answered
        self._answering: dict[int, int] = {}
        self._left: Iterator[tuple[int, int]] | None = None
        self._ends = False

    @property
    def under_way(self) -> bool:
        """Whether there is something to send."""
        return self._left is not None

    def ask(self, questions: Questions, now_s: float) -> bool:
        """Take note of what was asked; whether all is to be sent from the beginning, totals first."""
        wanted = unanswered(questions, self.answered)
        if wanted == self._answering:
            return False
        self._answering = wanted
        self._left = self._buckets(int(now_s)) if wanted else None
        return bool(wanted)

    def _buckets(self, now_s: int) -> Iterator[tuple[int, int]]:
        end = now_s + FUTURE_S
        for resolution in (FINE, MINUTE, HOUR):
            newest = bucket_of(end * 1000, resolution)
            oldest = now_s - retention_s(resolution, self._lateness_s)
            for bucket in range(newest, oldest - resolution, -resolution):
                yield resolution, bucket

    def add_to(self, flush: Flush) -> None:
        """Add the next buckets to what ``flush`` sends."""
        if self._left is None:
            return
        counts = 0
        for _ in range(_MOST_BUCKETS):
            if counts >= _MOST_COUNTS:
                return
            if (place := next(self._left, None)) is None:
                self._ends = True
                return
            if found := self._counts_of(*place, flush):
                # A copy: what comes before it is sent is not durable yet.
                flush.emission.buckets[place] = dict(found)
                counts += len(found)

    def flushed(self) -> bool:
        """What was added is sent; whether the base row must say that the questions are answered."""
        if not self._ends:
            return False
        self._ends, self._left = False, None
        self.answered |= self._answering
        self._answering = {}
        return True
