"""A limit on messages per second. Pure: the time is an argument."""

from __future__ import annotations


class Pace:
    """A token bucket: ``rate`` a second, and after a pause a twentieth of that at once.

    Args:
        rate: messages a second, above 0.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate / 20)
        self._tokens = 1.0
        self._filled_at: float | None = None

    def allowed(self, now: float) -> int:
        """How many messages may go at ``now`` (seconds, never falling)."""
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        # The sum of many small steps may end a hair below the whole number it stands for.
        return int(self._tokens + 1e-9)

    def spend(self, count: int) -> None:
        """Note that ``count`` messages went."""
        self._tokens -= count

    def delay_s(self) -> float:
        """Seconds until the next message may go, as of the last ``allowed``."""
        return max(0.0, (1.0 - self._tokens) / self._rate)
