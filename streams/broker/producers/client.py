"""The aiokafka producer of a sender: how it is connected, and ended in bounded time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.cancellation import cancellable, to_the_end
from streams.upstream.produce_packing import install_produce_packing
from streams.upstream.producers import close_at_once
from streams.upstream.rebootstrap import let_bootstrap_again

log = logging.getLogger(__name__)

#: Seconds to close a producer that did not connect, or has taken nothing yet.
NOT_CONNECTED_S: Final = 0.5


async def connected_producer(
    options: Mapping[str, Any], within_s: float | None = None
) -> aiokafka.AIOKafkaProducer:
    """Connect a producer, which is idempotent and wants the confirmation of all replicas.

    Args:
        options: of the aiokafka producer, with those of every client, see ``client_options``.
        within_s: seconds to try for; None for as long as aiokafka does.

    Raises:
        KafkaError: it could not connect, and is closed.
    """
    install_produce_packing()
    producer = aiokafka.AIOKafkaProducer(**{**options, "acks": "all", "enable_idempotence": True})
    let_bootstrap_again(producer.client)
    try:
        async with asyncio.timeout(within_s):
            await producer.start()
    except BaseException as error:
        await end_producer(producer, NOT_CONNECTED_S)
        if within_s is not None and isinstance(error, TimeoutError):
            raise KafkaConnectionError(f"no answer within {within_s:g} s") from None
        raise
    return producer


async def end_producer(
    producer: aiokafka.AIOKafkaProducer, within_s: float, *, answers_s: float = 0.25
) -> bool:
    """Send what a producer holds, and disconnect it; give up what cannot be sent in time.

    Args:
        producer: started or not.
        within_s: seconds for sending, and once more for disconnecting.
        answers_s: of the latter, seconds for answers of the brokers that are under way.

    Returns:
        Whether it stopped in good order.

    It is disconnected though the caller is cancelled meanwhile. A second call waits for the first.
    """
    return await to_the_end(producer, lambda: _end_producer(producer, within_s, answers_s))


async def _end_producer(producer: aiokafka.AIOKafkaProducer, within_s: float, answers_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            with cancellable():
                await producer.stop()
        return True
    except (TimeoutError, KafkaError, OSError) as error:
        log.debug("A producer did not stop in good order: %r", error)
    try:
        async with asyncio.timeout(max(within_s, 2 * answers_s)):
            with cancellable():
                await close_at_once(producer, answers_s)
    except (TimeoutError, KafkaError, OSError) as error:
        log.debug("A producer did not close: %r", error)
    return False
