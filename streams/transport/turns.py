"""Turns of the event loop that are left to everything else after each long piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Turns after a batch of records, or a piece of a flush.
TURNS_BETWEEN = 16


async def let_others_pass() -> None:
    """Wait for some turns.

    On its way from the socket to an agent and on to a producer, a record crosses a dozen tasks, each in a
    later turn of the event loop. With a batch in every turn, CRITICAL would wait for a batch at each of them.
    """
    for _ in range(TURNS_BETWEEN):
        await asyncio.sleep(0)


class OwedTurns:
    """Turns that are owed to everything else after each batch, as `let_others_pass` leaves them.

    Args:
        batch_s: service time that batches are cut to, in seconds.
    """

    def __init__(self, batch_s: float) -> None:
        self._batch_s = batch_s
        self._turns = 0
        self._unpaid_s = 0.0

    def served(self, service_s: float) -> None:
        """Owe the turns for a batch that took ``service_s``."""
        self._turns = TURNS_BETWEEN
        self._unpaid_s += service_s

    async def pay(self, hurries: Callable[[float], bool]) -> None:
        """Wait for the turns that are owed, or until something ``hurries``.

        Args:
            hurries: whether what waits is urgent enough, given the service since the last time all turns were
                left, in full batches. Not for ever: the alerts of what was served need turns, too.
        """
        while self._turns:
            await asyncio.sleep(0)
            self._turns -= 1
            if hurries(self._unpaid_s / self._batch_s):
                return
        self._unpaid_s = 0.0
