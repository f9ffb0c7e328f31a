"""Work for readers, in short pieces and one at a time, so that records do not wait for it.

The views share the event loop with the scheduler. A record crosses a dozen tasks on its way to an alert, each
in a turn of its own: after a piece, everything else gets as many turns as after a batch of records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from streams.transport.turns import let_others_pass

#: Seconds after which a piece ends. One step of the work may come on top, and no step takes as long.
PIECE_S: Final = 0.0005

Ended = TypeVar("Ended")


class Pieces:
    """Work under way in a `ReaderLane`."""

    __slots__ = ("_lock", "_since", "held")

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._since = time.perf_counter()
        #: Whether this work has the lane.
        self.held = True

    async def rest(self) -> None:
        """Give way to everything else, other work for readers last, if this piece was long enough."""
        if time.perf_counter() - self._since < PIECE_S:
            return
        await let_others_pass()
        self._lock.release()
        self.held = False
        await self._lock.acquire()
        self.held = True
        self._since = time.perf_counter()

    async def run(self, steps: Iterator[object]) -> None:
        """Run all of ``steps``."""
        for _ in steps:
            await self.rest()

    async def outcome(self, steps: Generator[object, None, Ended]) -> Ended:
        """Run all of ``steps``, and return what they end in."""
        while True:
            try:
                next(steps)
            except StopIteration as ended:
                found: Ended = ended.value
                return found
            await self.rest()


class ReaderLane:
    """Lets one piece of work for readers run at a time, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Pieces]:
        """Do work in it; the work calls `Pieces.rest` after each step."""
        await self._lock.acquire()
        pieces = Pieces(self._lock)
        try:
            yield pieces
        finally:
            if pieces.held:
                self._lock.release()
