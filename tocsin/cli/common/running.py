"""Running a command's coroutine to its exit code, and what signals do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import click

from streams.notifications.visible import visible_lines
from streams.settings import ConfigurationError, Settings
from tocsin.cli.common.output import quiet_pipe
from tocsin.logs import configure_logging
from tocsin.unknown_settings import unknown_settings

log = logging.getLogger(__name__)


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


def begin_log(settings: Settings) -> None:
    """Set up the log of a command that goes on until a signal; warn there of settings that nobody knows."""
    configure_logging(settings)
    for sentence in unknown_settings(os.environ):
        log.warning("%s", sentence)


@contextlib.contextmanager
def exit_code_of_errors() -> Iterator[None]:
    """Say what is wrong and end the process with the error's own code: brokers that are away have another."""
    try:
        yield
    except ConfigurationError as error:
        click.echo(f"tocsin: {visible_lines(str(error))}", err=True)
        sys.exit(error.exit_code)


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
