"""Who used how much of the latest seconds of service."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_GRANULES = 100


class ShareWindow(Generic[K]):
    """Service time by class over a sliding window of service time (not of clock time).

    Entries are merged into granules of a hundredth of the window, so memory and cost do not depend on the
    length of batches. The window covers between ``seconds`` and 1.01 times that plus one batch.
    """

    __slots__ = (
        "_granule",
        "_granules",
        "_newest",
        "_newest_total",
        "_seconds",
        "_total",
        "_until_afresh",
        "_used",
    )

    def __init__(self, keys: Iterable[K], seconds: float) -> None:
        """Make an empty window of ``seconds`` of service, above 0, for the classes ``keys``."""
        if not seconds > 0:
            raise ValueError("the window must be longer than 0 seconds")
        self._used: dict[K, float] = dict.fromkeys(keys, 0.0)
        self._seconds = seconds
        self._granule = seconds / _GRANULES
        self._granules: deque[tuple[float, dict[K, float]]] = deque()
        self._newest: dict[K, float] = {}
        self._newest_total = 0.0
        self._total = 0.0
        self._until_afresh = _GRANULES

    @property
    def total(self) -> float:
        """Seconds of service now in the window."""
        return self._total

    def add(self, key: K, seconds: float) -> None:
        """Enter ``seconds`` of service of ``key``."""
        newest = self._newest
        newest[key] = newest.get(key, 0.0) + seconds
        self._used[key] += seconds
        self._newest_total += seconds
        self._total += seconds
        if self._newest_total >= self._granule:
            self._close_granule()

    def used(self, key: K) -> float:
        """Seconds of service of ``key`` in the window."""
        return self._used[key]

    def share(self, key: K) -> float:
        """Share of ``key`` in the window, 0 to 1; 0 when the window is empty."""
        return self._used[key] / self._total if self._total > 0 else 0.0

    def clear(self) -> None:
        """Forget everything."""
        if self._total:
            self._granules.clear()
            self._newest = {}
            self._newest_total = self._total = 0.0
            self._used = dict.fromkeys(self._used, 0.0)

    def _close_granule(self) -> None:
        granules = self._granules
        granules.append((self._newest_total, self._newest))
        self._newest = {}
        self._newest_total = 0.0
        used = self._used
        while self._total - granules[0][0] >= self._seconds:
            total, parts = granules.popleft()
            self._total -= total
            for key, seconds in parts.items():
                used[key] -= seconds
        self._until_afresh -= 1
        if self._until_afresh == 0:
            # Summed afresh once a window, so that rounding errors cannot pile up over months.
            self._until_afresh = _GRANULES
            self._total = sum(total for total, _ in granules)
            for key in used:
                used[key] = sum(parts.get(key, 0.0) for _, parts in granules)
