"""Turns of the event loop that are left to everything else after each long piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Turns after a full batch of records, or a piece of a flush.
TURNS_BETWEEN = 16
#: Batches whose turns may be owed, because something urgent was served at once.
_MOST_OWED = 5


async def let_others_pass() -> None:
    """Wait for some turns.

    On its way from the socket to an agent and on to a producer, a record crosses a dozen tasks, each in a
    later turn of the event loop. With a batch in every turn, CRITICAL would wait for a batch at each of them.
    """
    for _ in range(TURNS_BETWEEN):
        await asyncio.sleep(0)


class OwedTurns:
    """Turns that service owes to everything else: as `let_others_pass` for a full batch, else in proportion.

    Args:
        batch_s: service time that batches are cut to, in seconds.
    """

    def __init__(self, batch_s: float) -> None:
        self._batch_s = batch_s
        self._owed = 0.0

    def served(self, service_s: float) -> None:
        """Owe the turns for a batch that took ``service_s``; a long one owes no more than a full one."""
        self._owed += TURNS_BETWEEN * min(1.0, service_s / self._batch_s)

    async def pay(self, hurries: Callable[[], bool]) -> None:
        """Wait for the turns that are owed, until something urgent ``hurries``.

        What is not waited for stays owed, up to a bound beyond which nothing is urgent enough: the alerts of
        what was served need turns, too.
        """
        while self._owed >= 1:
            await asyncio.sleep(0)
            self._owed -= 1
            if self._owed < _MOST_OWED * TURNS_BETWEEN and hurries():
                return
