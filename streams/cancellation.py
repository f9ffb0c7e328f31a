"""Tasks end when they are cancelled, though a cancellation may be lost on its way.

Code that cancels a task of its own and awaits it, suppressing ``CancelledError``, also suppresses that its
caller was cancelled just then: the caller goes on as if nothing had been asked. aiokafka (0.14) does so where
it closes a client or a consumer, Python 3.11 in ``asyncio.wait_for`` (bpo-42130), which is not used here.

The other way round, what closes a connection is not cut short with its caller: see ``to_the_end``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

#: Seconds after which a task that has not ended is cancelled again; longer than any bound on cleaning up.
_AGAIN_S: Final = 10.0

#: What is being closed -> the task that closes it.
_closing: Final[WeakKeyDictionary[Any, asyncio.Task[Any]]] = WeakKeyDictionary()

_Result = TypeVar("_Result")


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until they have ended, by whatever; None stands for one never started."""
    ended = [task for task in tasks if task is not None]
    left = set(ended)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    # Looked at, or asyncio would log that nobody did.
    await asyncio.gather(*ended, return_exceptions=True)


def look_at(future: asyncio.Future[Any]) -> None:
    """Take note of how a future has ended that nobody waits for, or asyncio would log that nobody did."""
    if not future.cancelled():
        future.exception()


@contextmanager
def cancellable() -> Iterator[None]:
    """Make sure that a cancellation of the current task inside ends it, where the code inside loses it.

    Raises:
        asyncio.CancelledError: the task was cancelled inside, and the code inside ended as if it were not.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    yield
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


async def to_the_end(closed: object, close: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Close something once, and to the end: a caller that is cancelled meanwhile ends, the closing goes on.

    Args:
        closed: what is closed. Who calls for the same object while that is under way waits for it as well.
        close: closes it, within a bounded time.

    Returns:
        What ``close`` returned.
    """
    task: asyncio.Task[_Result] | None = _closing.get(closed)
    if task is None or task.done():
        task = _closing[closed] = asyncio.create_task(close(), name="closing")
    return await asyncio.shield(task)
