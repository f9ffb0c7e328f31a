"""What is asked of brokers below aiokafka's public clients: whether one can be used, and how many answer."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest


def client_of(client_or_admin: Any) -> Any:
    """The ``AIOKafkaClient`` inside an aiokafka consumer, producer or admin client; a bare one as it is."""
    return getattr(client_or_admin, "_client", None) or getattr(client_or_admin, "client", client_or_admin)


async def try_broker(host: str, port: int, options: dict[str, Any], timeout_s: float) -> None:
    """Connect to one broker, security included, and disconnect.

    Args:
        host: its name or address.
        port: its port.
        options: of a Kafka client, without the addresses.
        timeout_s: seconds for each request; the caller limits the whole.

    Raises:
        Exception: whatever aiokafka or the socket says when the broker cannot be used.
    """
    connection = await create_conn(host, port, request_timeout_ms=int(timeout_s * 1000), **options)
    await connection.close()


async def connect_client(options: dict[str, Any], topic: str) -> AIOKafkaClient:
    """Connect a bare client.

    Args:
        options: of the Kafka client.
        topic: whose metadata it asks for when it looks where the brokers are; else it would be all.

    Raises:
        KafkaError: no broker can be reached.
    """
    client = AIOKafkaClient(**options)
    try:
        await client.bootstrap()
        await client.set_topics([topic])
    except BaseException:
        await client.close()
        raise
    return client


async def answering(client: AIOKafkaClient) -> int:
    """Number of brokers that answer; what they say of the others is remembered for the next time."""
    known = [broker.nodeId for broker in client.cluster.brokers()]
    # The least that a broker can be asked: metadata of no topic.
    answers = await asyncio.gather(
        *(client.send(node, MetadataRequest([])) for node in known), return_exceptions=True
    )
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, KafkaError | OSError | TimeoutError):
            raise answer
    told = [answer for answer in answers if not isinstance(answer, BaseException)]
    if told:
        client.cluster.update_metadata(max(told, key=lambda answer: len(answer.brokers)))
    return len(told)
