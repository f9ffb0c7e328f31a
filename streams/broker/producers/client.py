"""The aiokafka producer of a sender: connected, replaced when it cannot go on, and ended in bounded time."""

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

#: Seconds to close a producer that did not connect.
_NOT_CONNECTED_S: Final = 0.5


class ProducerClient:
    """The idempotent producer that is used at present, of those which follow each other.

    Args:
        options: of the aiokafka client, see ``client_options``.
        more: options of the producer; every one is idempotent and wants the confirmation of all replicas.
    """

    def __init__(self, options: Mapping[str, Any], **more: Any) -> None:
        install_produce_packing()
        self._options = {**options, **more, "acks": "all", "enable_idempotence": True}
        self.current: aiokafka.AIOKafkaProducer | None = None

    async def connect(self, within_s: float | None = None) -> None:
        """Connect the first producer.

        Args:
            within_s: seconds to try for; None for as long as aiokafka does.

        Raises:
            KafkaError: it could not connect, and is closed; may be called again.
        """
        self.current = await self._connected(within_s)

    async def replace(self, failed: aiokafka.AIOKafkaProducer, within_s: float | None = None) -> bool:
        """Connect a producer, and use it from now on in the place of one that cannot go on.

        Returns:
            Whether it took the place; if not, ``failed`` was not in use any more. Ending it is the caller's.

        Raises:
            KafkaError: it could not connect, and is closed; ``failed`` stays in use.
        """
        fresh = await self._connected(within_s)
        if self.current is not failed:
            await end_producer(fresh, _NOT_CONNECTED_S)
            return False
        self.current = fresh
        return True

    def release(self) -> aiokafka.AIOKafkaProducer | None:
        """Use none any more; returns the one that was used, which the caller ends."""
        released, self.current = self.current, None
        return released

    async def _connected(self, within_s: float | None) -> aiokafka.AIOKafkaProducer:
        producer = aiokafka.AIOKafkaProducer(**self._options)
        let_bootstrap_again(producer.client)
        try:
            async with asyncio.timeout(within_s):
                await producer.start()
        except BaseException as error:
            await end_producer(producer, _NOT_CONNECTED_S)
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
