"""Who used how much of the last minute of clock time. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_MINUTE_S = 60.0
_SLOT_S = 1.0


class MinuteShares(Generic[K]):
    """Service time by class over the last minute, in slots of a second; 61 of them at most."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        """Make an empty one."""
        self._slots: deque[tuple[float, dict[K, float]]] = deque(maxlen=int(_MINUTE_S / _SLOT_S) + 1)

    def add(self, now: float, key: K, seconds: float) -> None:
        """Enter ``seconds`` of service of ``key`` that ended ``now``, on any steady clock."""
        slots = self._slots
        if not slots or now - slots[-1][0] >= _SLOT_S:
            slots.append((now, {}))
        used = slots[-1][1]
        used[key] = used.get(key, 0.0) + seconds

    def shares(self, now: float) -> dict[K, float]:
        """Share of each class that was served in the last minute, 0 to 1; empty when none was."""
        sums: dict[K, float] = {}
        for begun, used in self._slots:
            if begun > now - _MINUTE_S:
                for key, seconds in used.items():
                    sums[key] = sums.get(key, 0.0) + seconds
        total = sum(sums.values())
        return {key: seconds / total for key, seconds in sums.items()} if total > 0 else {}
