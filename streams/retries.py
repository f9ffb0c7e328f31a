"""Trying again: how long to wait before the next try, and when to give up."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: Seconds within which a pause ends once the next try is not wanted any more.
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between tries: the first pause, and each further one ``factor`` times as long, up to a most."""

    first_s: float
    factor: float = 1.0
    most_s: float = math.inf


class Retries:
    """The pauses between the tries of one task, from the first failure on; make one for each task.

        retries = Retries(Backoff(0.1, factor=2, most_s=5), within_s=30)
        while True:
            try:
                return await ask()
            except KafkaError:
                if not await retries.pause():
                    raise

    Args:
        backoff: how long the pauses are.
        within_s: seconds from now on in which tries may begin; None for as long as it is wanted.
        wanted: whether to go on; None for always.
        clock: seconds, only for differences.
    """

    def __init__(
        self,
        backoff: Backoff,
        *,
        within_s: float | None = None,
        wanted: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backoff = backoff
        self._next_s = backoff.first_s
        self._wanted = wanted
        self._clock = clock
        self._until = None if within_s is None else clock() + within_s

    @property
    def left(self) -> bool:
        """Whether there shall be another try, after the next pause."""
        if self._wanted is not None and not self._wanted():
            return False
        return self._until is None or self._clock() + self._next_s < self._until

    def next_pause_s(self) -> float | None:
        """Seconds to wait before the next try; None when there shall be none."""
        if not self.left:
            return None
        pause_s = self._next_s
        self._next_s = min(pause_s * self._backoff.factor, self._backoff.most_s)
        return pause_s

    async def pause(self) -> bool:
        """Wait before the next try; False, and sooner if need be, when there shall be none."""
        pause_s = self.next_pause_s()
        if pause_s is None:
            return False
        if self._wanted is None:
            await asyncio.sleep(pause_s)
            return True
        until = self._clock() + pause_s
        while True:
            await asyncio.sleep(max(0.0, min(until - self._clock(), _LOOK_S)))
            if not self._wanted():
                return False
            if self._clock() >= until:
                return True
