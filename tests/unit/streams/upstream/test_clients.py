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
from streams.upstream.clients import AdminClient, answering, ask, client_of, connect_client, try_broker

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
        if isinstance(answer, list) and answer and isinstance(answer[0], BaseException):
            raise answer.pop(0)
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
        # The session of a connection has ended: the broker answers over a new one.
        ({1: [KafkaConnectionError(), 1]}, 1, [1]),
        ({1: [KafkaConnectionError(), KafkaConnectionError(), 1]}, 0, [1]),
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


class _Closing:
    """A client whose broker closes the connection on the first requests of each kind, as often as is said."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.sent: list[tuple[int, Any]] = []
        self.cluster = SimpleNamespace(controller=SimpleNamespace(nodeId=1))

    def get_random_node(self) -> int:
        return 1

    async def ready(self, node: int) -> bool:
        return True

    async def send(self, node: int, request: Any) -> str:
        self.sent.append((node, request))
        if len(self.sent) <= self._times:
            raise KafkaConnectionError("closed")
        return "answer"

    _request_timeout_ms = 1000


def _requests(admin: AIOKafkaAdminClient) -> list[Any]:
    return [
        lambda: admin._send_request("r"),
        lambda: admin._send_request("r", 1),
        lambda: admin._send_to_controller("r"),
    ]


@pytest.mark.parametrize("kind", [0, 1, 2])
async def test_an_admin_asks_again_where_the_session_of_its_connection_has_ended(kind: int) -> None:
    admin = AdminClient(bootstrap_servers=NOBODY)
    client: Any = _Closing(1)
    admin._client = client
    assert await _requests(admin)[kind]() == "answer"
    assert client.sent == [(1, "r")] * 2
    admin._client = client = _Closing(2)
    with pytest.raises(KafkaConnectionError):
        await _requests(admin)[kind]()
    # Negative control: aiokafka's own does not ask again.
    stock = AIOKafkaAdminClient(bootstrap_servers=NOBODY)
    stock._client = _Closing(1)
    with pytest.raises(KafkaConnectionError):
        await _requests(stock)[kind]()


async def test_a_request_is_sent_once_more_and_no_more() -> None:
    once, twice = _Closing(1), _Closing(2)
    assert await ask(once, 7, "r") == "answer"
    assert once.sent == [(7, "r")] * 2
    with pytest.raises(KafkaConnectionError):
        await ask(twice, 7, "r")
    assert len(twice.sent) == 2


def test_aiokafka_sends_all_requests_of_an_admin_by_two_ways() -> None:
    functions = inspect.getmembers(AIOKafkaAdminClient, inspect.isfunction)
    ways = {name for name, function in functions if "self._client.send(" in inspect.getsource(function)}
    # Nothing of Tocsin's deletes records.
    assert ways == {"_send_request", "_send_request_to_node", "delete_records"}
