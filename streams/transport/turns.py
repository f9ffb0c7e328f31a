"""Turns of the event loop that are given to all other tasks after each long piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Turns after a batch of records, or a piece of a flush.
TURNS_BETWEEN = 16


async def let_others_pass(until: Callable[[], bool] = lambda: False) -> None:
    """Wait for some turns; no longer than ``until`` says that it is enough.

    On its way from the socket to an agent and on to a producer, a record crosses a dozen tasks, each in a
    later turn of the event loop. With a batch in every turn, CRITICAL would wait for a batch at each of them.
    """
    for _ in range(TURNS_BETWEEN):
        if until():
            return
        await asyncio.sleep(0)


class YieldBudget:
    """The turns that other tasks are to get after each batch: as many as `let_others_pass` gives.

    Something urgent may cut them short, so that they are no fixed pause; what is measured is how much was
    served since they were last given in full.

    Args:
        batch_s: service time that batches are cut to, in seconds.
    """

    def __init__(self, batch_s: float) -> None:
        self._batch_s = batch_s
        self._turns = 0
        self._served_s = 0.0

    def served(self, service_s: float) -> None:
        """Note a batch that took ``service_s``: all turns are to be given after it."""
        self._turns = TURNS_BETWEEN
        self._served_s += service_s

    async def give(self, unless: Callable[[float], bool]) -> None:
        """Give the turns one by one, and stop early when ``unless`` says so.

        Args:
            unless: called after each turn with the service since all turns were last given, in full batches;
                True when something waits that is too urgent for the turns that are left. It must not be True
                for ever as that number grows: the alerts of what was served need turns, too.
        """
        while self._turns:
            await asyncio.sleep(0)
            self._turns -= 1
            if unless(self._served_s / self._batch_s):
                return
        self._served_s = 0.0
