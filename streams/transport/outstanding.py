"""Offsets whose effects are under way. Pure."""

from __future__ import annotations

import heapq
from collections import Counter


class OutstandingOffsets:
    """Offsets of one partition that have a forward or a dead letter not yet confirmed.

    An offset may have several effects; it is outstanding until all of them ended.
    """

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._open: Counter[int] = Counter()

    def __len__(self) -> int:
        """Effects under way."""
        return self._open.total()

    def begin(self, offset: int) -> None:
        """An effect of the record at ``offset`` was started."""
        if not self._open[offset]:
            heapq.heappush(self._heap, offset)
        self._open[offset] += 1

    def end(self, offset: int) -> None:
        """An effect of the record at ``offset`` is durable."""
        left = self._open[offset] - 1
        if left < 0:
            raise ValueError(f"offset {offset} has no effect under way")
        if left:
            self._open[offset] = left
        else:
            del self._open[offset]

    def floor(self) -> int | None:
        """The lowest outstanding offset, or None when there is none."""
        while self._heap and not self._open[self._heap[0]]:
            offset = heapq.heappop(self._heap)
            if not self._open[offset]:
                del self._open[offset]
        return self._heap[0] if self._heap else None

    def committable(self, durable: int) -> int:
        """The highest offset that may be committed (the next one to read).

        Args:
            durable: records below this offset are counted durably.
        """
        floor = self.floor()
        return durable if floor is None else min(durable, floor)
