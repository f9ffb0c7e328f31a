"""What is asked of brokers below aiokafka's public clients: whether one can be used, and how many answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

_T = TypeVar("_T")


def client_of(client_or_admin: Any) -> Any:
    """The ``AIOKafkaClient`` inside an aiokafka consumer, producer or admin client; a bare one as it is."""
    return getattr(client_or_admin, "_client", None) or getattr(client_or_admin, "client", client_or_admin)


async def once_more_if_closed(send: Callable[[], Awaitable[_T]]) -> _T:
    """Send a request; once more, over a new connection, where a broker closes the connection on it.

    A broker does so with the first request after the session of a connection has ended, which is when its
    token ends (``connections.max.reauth.ms``): aiokafka (0.14) does not authenticate again before that. The
    broker has not looked at that request. One that it had looked at (it was stopped before it could answer)
    is done twice, so this is for requests that may be.

    Args:
        send: sends the request and waits for the answer.
    """
    try:
        return await send()
    except KafkaConnectionError:
        return await send()


async def ask(client: Any, node: int, request: Any) -> Any:
    """Send a request that changes nothing to a broker, and return its answer.

    Args:
        client: an ``AIOKafkaClient``.
        node: id of the broker.
        request: of aiokafka's protocol.

    Raises:
        KafkaError: the broker does not answer.
    """
    return await once_more_if_closed(lambda: client.send(node, request))


class AdminClient(AIOKafkaAdminClient):
    """One whose requests outlive the sessions of its connections. All of them may be sent twice."""

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        send = super()._send_request
        return await once_more_if_closed(lambda: send(request, node_id))

    async def _send_request_to_node(self, node_id: int, request: Any) -> Any:
        send = super()._send_request_to_node
        return await once_more_if_closed(lambda: send(node_id, request))


async def know_topics(client_or_consumer: Any, topics: Iterable[str]) -> None:
    """Have a client learn where topics lie, all with one request, before it is asked for their offsets.

    An aiokafka consumer (0.14) that is asked for offsets of topics that it does not know asks for one topic,
    rests for ``retry_backoff_ms``, and then for the next.

    Args:
        client_or_consumer: a started client, or what has one.
        topics: of which it shall know; it goes on to know of others.
    """
    client = client_of(client_or_consumer)
    known = client._topics.union(topics)
    if known:  # without a name all topics of the cluster would be asked for
        await client.set_topics(known)


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
        *(ask(client, node, MetadataRequest([])) for node in known), return_exceptions=True
    )
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, KafkaError | OSError | TimeoutError):
            raise answer
    told = [answer for answer in answers if not isinstance(answer, BaseException)]
    if told:
        client.cluster.update_metadata(max(told, key=lambda answer: len(answer.brokers)))
    return len(told)
