"""An admin client of Kafka, connected, and what several tests have it do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from streams.upstream.topic_ids import fetch_topics

_POLL_S = 0.05
_BOUND_S = 60.0


@asynccontextmanager
async def admin_of(brokers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client of these brokers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def raise_partitions(admin: AIOKafkaAdminClient, topics: Iterable[str], partitions: int) -> None:
    """Give topics more partitions, as `kafka-topics.sh --alter` does, and wait until a broker knows them.

    Brokers answer as soon as the controller has them, so whoever asks at once may be told the old number.
    """
    wanted = set(topics)
    answer = await admin.create_partitions({topic: NewPartitions(partitions) for topic in wanted})
    assert {code for _, code, *_ in answer.topic_errors} <= {0}, answer
    async with asyncio.timeout(_BOUND_S):
        while any(it.partitions < partitions for it in (await fetch_topics(admin, wanted)).values()):
            await asyncio.sleep(_POLL_S)
