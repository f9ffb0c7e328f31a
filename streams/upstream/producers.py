"""Closing a producer that does not stop by itself."""

from __future__ import annotations

import asyncio
import contextlib

import aiokafka


async def close_at_once(producer: aiokafka.AIOKafkaProducer, limit_s: float) -> None:
    """Close a producer whose ``stop`` failed or took too long, and give up what it still holds.

    ``AIOKafkaProducer.stop`` (0.14) waits for batches that cannot be sent while brokers are away, and does
    nothing when it is called again. Here its background task is ended, and then its connections.

    Args:
        producer: started or not.
        limit_s: seconds for the background task, which waits for answers that may not come.
    """
    if producer._sender is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await producer._sender.close()
    await producer.client.close()
