"""Running a command's coroutine to its exit code, and what signals do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from tocsin.cli.output import quiet_pipe


def silence_client() -> None:
    """Keep aiokafka from logging on its way to a failure, which our own sentence says."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def on_signals(callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` in the running loop on SIGINT and SIGTERM, if this thread may handle signals."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not the main thread, in a test: no signals there.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, callback)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def run(main: Coroutine[Any, Any, int], *, interrupted: int) -> int:
    """Run ``main`` to its exit code; SIGINT and SIGTERM cancel it.

    Args:
        main: what to run.
        interrupted: exit code when a signal ended it.
    """

    async def guarded() -> int:
        task = asyncio.ensure_future(main)
        signalled = False

        def cancel() -> None:
            nonlocal signalled
            signalled = True
            task.cancel()

        with on_signals(cancel):
            try:
                return await task
            except asyncio.CancelledError:
                if signalled:
                    return interrupted
                raise

    silence_client()
    with quiet_pipe():
        try:
            return asyncio.run(guarded())
        except KeyboardInterrupt:
            return interrupted
