"""What is asked of brokers below aiokafka's public clients."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError
from aiokafka.protocol.metadata import MetadataRequest

from streams.broker.client_options import client_options
from streams.settings import load_settings
from streams.upstream.clients import answering, client_of, connect_client, try_broker

NOBODY = "127.0.0.1:1"


async def test_the_client_of_each_kind_of_client() -> None:
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=NOBODY)
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=NOBODY)
    admin = AIOKafkaAdminClient(bootstrap_servers=NOBODY)
    for each in (consumer, producer, admin):
        client = client_of(each)
        assert isinstance(client, AIOKafkaClient)
        assert client_of(client) is client
    producer._closed = True  # else it warns that it was not stopped


def test_a_single_connection_takes_the_options_of_a_client() -> None:
    taken = inspect.signature(create_conn).parameters
    for protocol in ({}, {"security_protocol": "SASL_SSL", "sasl_username": "u", "sasl_password": "p"}):
        options = client_options(load_settings(**protocol))
        assert set(options) - {"bootstrap_servers"} <= set(taken)
    assert "request_timeout_ms" in taken


async def test_a_broker_that_is_away_cannot_be_used() -> None:
    with pytest.raises((OSError, KafkaConnectionError)):
        await try_broker("127.0.0.1", 1, {}, 1.0)


async def test_a_client_that_cannot_connect_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[AIOKafkaClient] = []
    close = AIOKafkaClient.close

    async def told(self: AIOKafkaClient) -> None:
        closed.append(self)
        await close(self)

    monkeypatch.setattr(AIOKafkaClient, "close", told)
    with pytest.raises(KafkaConnectionError):
        await connect_client({"bootstrap_servers": NOBODY}, "t")
    assert len(closed) == 1


class _Cluster:
    """Three brokers, of which some do not answer; each knows of those that it names."""

    def __init__(self, answers: dict[int, Any]) -> None:
        self.cluster = self
        self._answers = answers
        self.known = sorted(answers)

    def brokers(self) -> list[Any]:
        return [SimpleNamespace(nodeId=node) for node in self.known]

    def update_metadata(self, answer: Any) -> None:
        self.known = answer.brokers

    async def send(self, node: int, request: MetadataRequest) -> Any:
        answer = self._answers[node]
        if isinstance(answer, BaseException):
            raise answer
        return SimpleNamespace(brokers=answer)


@pytest.mark.parametrize(
    ("answers", "number", "known"),
    [
        ({1: [1, 2, 3], 2: [1, 2, 3], 3: [1, 2, 3]}, 3, [1, 2, 3]),
        ({1: [1, 2, 3], 2: NodeNotReadyError(), 3: RequestTimedOutError()}, 1, [1, 2, 3]),
        # One that has just started may know only itself.
        ({1: [1], 2: [1, 2, 3], 3: OSError()}, 2, [1, 2, 3]),
        ({1: NodeNotReadyError(), 2: TimeoutError()}, 0, [1, 2]),
        # A broker that is new is asked the next time.
        ({1: [1, 2]}, 1, [1, 2]),
    ],
)
def test_every_broker_is_asked_and_those_that_answer_tell_of_the_others(
    answers: dict[int, Any], number: int, known: list[int]
) -> None:
    cluster: Any = _Cluster(answers)
    assert asyncio.run(answering(cluster)) == number
    assert cluster.known == known


def test_what_is_no_failure_of_a_broker_is_not_swallowed() -> None:
    cluster: Any = _Cluster({1: [1], 2: ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        asyncio.run(answering(cluster))
