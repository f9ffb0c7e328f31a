"""Connects while brokers go, and disconnects whatever the client is doing. Private parts each have a test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.cancellation import cancellable, to_the_end
from streams.retries import Backoff, Retries

#: Seconds for a group to let a member go, and for whatever else a broker may not answer to.
_STOP_S = 5.0

#: Seconds between two tries to connect, and for one.
_AGAIN_S = 0.5
_ATTEMPT_S = 10.0

log = logging.getLogger(__name__)


async def connect(attempt: Callable[[], Awaitable[None]], wanted: Callable[[], bool]) -> bool:
    """Try to connect, again while no broker is there. Whoever watches the brokers says that they are away.

    Args:
        attempt: connects; called again after it has failed, or was cancelled because it took too long.
        wanted: whether to go on.

    Returns:
        Whether it is connected; if not, it was no longer wanted.
    """
    retries = Retries(Backoff(_AGAIN_S), wanted=wanted)
    while True:
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                await attempt()
        except (KafkaConnectionError, TimeoutError):
            if not await retries.pause():
                return False
        else:
            return True


async def disconnect(consumer: Any) -> None:
    """Stop an aiokafka consumer and close its connections; only a cancellation of the caller is raised.

    It is disconnected though the caller is cancelled meanwhile. A second call waits for the first.
    """
    await to_the_end(consumer, lambda: _disconnect(consumer))


async def _disconnect(consumer: Any) -> None:
    """Do so, within a bounded time.

    ``AIOKafkaConsumer.stop`` (0.14) cancels its fetches and waits for them. One that waits to try again, as
    all do while a broker is away, ends by that cancellation, which comes out of ``stop`` as if the task that
    called it had been cancelled: what is still to be done here would go undone, and connections stay open.
    """
    try:
        async with asyncio.timeout(_STOP_S):
            with cancellable():
                await consumer.stop()
        return
    except TimeoutError:
        log.warning("A consumer was disconnected without the broker's answer.")
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
    except KafkaError as error:
        log.warning("A consumer did not stop in good order (%r).", error)
    # One that never started has no fetcher.
    fetches = [] if consumer._fetcher is None else list(consumer._fetcher._pending_tasks)
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
    try:
        async with asyncio.timeout(_STOP_S):
            await consumer._client.close()
    except TimeoutError:
        log.warning("A connection was left to close by itself.")
    except asyncio.CancelledError:
        # A connection of TLS may take its time to close. The future of one that ``stop`` waited for was
        # cancelled with it, and comes out here as if the caller had been.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
