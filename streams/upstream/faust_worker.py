"""The process of a worker, as Faust runs it: signals, start, and the end of the event loop."""

from __future__ import annotations

import asyncio
from typing import Final

from faust import worker

#: Seconds for which tasks that were cancelled may go on before the event loop is closed.
_TASKS_END_S: Final = 1.0
#: Turns without a task after which there is nothing left: a transport that was closed tells its protocol in
#: the next turn and then closes its socket, and a generator that nobody holds any more asks for a task.
_QUIET_TURNS: Final = 3


class Worker(worker.Worker):
    """A Faust worker whose event loop is closed as soon as nothing is left to do in it."""

    async def _sentinel_task(self) -> None:
        """Let cancelled tasks and closed connections end. Faust's own (0.15.3) waits a second each time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _TASKS_END_S
        quiet = 0
        while quiet < _QUIET_TURNS and (left_s := until - loop.time()) > 0:
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                quiet = 0
                await asyncio.wait(others, timeout=left_s)
            else:
                quiet += 1
                await asyncio.sleep(0)
