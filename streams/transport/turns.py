"""Turns of the event loop that are left to everything else after each long piece of work."""

from __future__ import annotations

import asyncio

#: Turns after a batch of records, or a piece of a flush.
TURNS_BETWEEN = 16


async def let_others_pass() -> None:
    """Wait for some turns.

    On its way from the socket to an agent and on to a producer, a record crosses a dozen tasks, each in a
    later turn of the event loop. With a batch in every turn, CRITICAL would wait for a batch at each of them.
    """
    for _ in range(TURNS_BETWEEN):
        await asyncio.sleep(0)
