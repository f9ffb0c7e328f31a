"""A partition that a broker refuses to send is asked for again after a pause, and said; others go on."""

from __future__ import annotations

import asyncio
import inspect
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11
from aiokafka.protocol.metadata import MetadataRequest

from streams.log_lines import LimitedLog
from streams.upstream import refused_fetches as module
from streams.upstream.refused_fetches import REST_S, _RestingSend, rest_after_refusals

CORRUPT = 2


@pytest.fixture(autouse=True)
def _fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_log", LimitedLog(module.__name__))


class Broker:
    """Answers fetches at once: with an error for some partitions, and with nothing for all others."""

    def __init__(self, refuses: dict[tuple[str, int], int]) -> None:
        self.refuses = refuses
        #: What was asked for, of each request.
        self.asked: list[set[tuple[str, int]]] = []

    async def send(self, _node: int, request: Any, **_options: Any) -> Any:
        await asyncio.sleep(0)
        if not isinstance(request, FetchRequest):
            return "other"
        self.asked.append({(topic, each[0]) for topic, wanted in request.topics for each in wanted})
        topics = [
            (
                topic,
                [(each[0], self.refuses.get((topic, each[0]), 0), 9, 9, 0, None, -1, b"") for each in wanted],
            )
            for topic, wanted in request.topics
        ]
        return FetchResponse_v11(0, 0, 0, topics)


def request(*partitions: int, topic: str = "a") -> FetchRequest:
    return FetchRequest(500, 1, 100, 1, [(topic, [(each, 7, 10) for each in partitions])], "rack")


async def test_what_is_refused_rests_and_the_others_do_not() -> None:
    now = [100.0]
    broker = Broker({("a", 1): CORRUPT})
    send = _RestingSend(broker.send, lambda: now[0])
    found = await send(1, request(0, 1))
    assert [(part[0], part[1]) for part in found.topics[0][1]] == [(0, 0), (1, CORRUPT)]
    await send(1, request(0, 1))
    now[0] += REST_S
    await send(1, request(0, 1))
    assert broker.asked == [{("a", 0), ("a", 1)}, {("a", 0)}, {("a", 0), ("a", 1)}]
    # A partition of the same number of another topic is another one.
    await send(1, request(1, topic="b"))
    assert broker.asked[-1] == {("b", 1)}


async def test_a_request_that_is_made_anew_asks_for_the_same() -> None:
    seen: list[FetchRequest] = []

    async def send(_node: int, asked: FetchRequest) -> Any:
        seen.append(asked)
        return FetchResponse_v11(0, 0, 0, [("a", [(1, CORRUPT, 9, 9, 0, None, -1, b"")])])

    resting = _RestingSend(send)
    given = request(0, 1)
    await resting(1, given)
    await resting(1, given)
    assert vars(seen[1]) == vars(given) | {"_topics": [("a", [(0, 7, 10)])]}


async def test_where_everything_rests_nothing_is_asked_until_it_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            waited.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    now = [100.0]
    broker = Broker({("a", 0): CORRUPT, ("a", 1): CORRUPT})
    send = _RestingSend(broker.send, lambda: now[0])
    await send(1, request(0, 1))
    now[0] += 0.25
    assert (await send(1, request(0, 1))).topics == []
    assert (len(broker.asked), waited) == (1, [REST_S - 0.25])


@pytest.mark.parametrize("code", [0, 1, 3, 6, 29])
async def test_what_aiokafka_acts_upon_is_left_to_it(code: int) -> None:
    broker = Broker({("a", 0): code})
    send = _RestingSend(broker.send)
    await send(1, request(0))
    await send(1, request(0))
    assert len(broker.asked) == 2
    assert await send(1, MetadataRequest([])) == "other"


async def test_it_is_said_once_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    send = _RestingSend(Broker({("a", 1): CORRUPT}).send, lambda: now[0])
    for _ in range(20):
        await send(1, request(0, 1))
        now[0] += REST_S
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == (
        "A broker does not send a, partition 1, from offset 7 on (CORRUPT_MESSAGE): look at its log and its "
        "disks. It is asked again until it does."
    )


async def fetches(broker: Broker, turns: int, *, rests: bool) -> int:
    """How often aiokafka's own fetcher asks for a partition within so many turns of the event loop."""
    client = SimpleNamespace(
        _loop=asyncio.get_running_loop(),
        _metadata_max_age_ms=300_000,
        cluster=SimpleNamespace(leader_for_partition=lambda _: 1),
        send=broker.send,
    )
    if rests:
        rest_after_refusals(SimpleNamespace(_client=client))
    state = SubscriptionState()
    fetcher = Fetcher(client, state)
    tp = TopicPartition("a", 0)
    state.assign_from_user({tp})
    state.seek(tp, 7)
    for _ in range(turns):
        await asyncio.sleep(0)
    await fetcher.close()
    return len(broker.asked)


async def test_the_fetcher_of_aiokafka_asks_once_in_a_while() -> None:
    assert await fetches(Broker({("a", 0): CORRUPT}), 500, rests=True) == 1


async def test_stock_aiokafka_asks_again_at_once() -> None:
    """The control: without it, hundreds of requests in as many turns."""
    assert await fetches(Broker({("a", 0): CORRUPT}), 500, rests=False) > 50


def test_a_consumer_keeps_its_client_where_it_is_looked_for() -> None:
    assert "self._client = AIOKafkaClient(" in inspect.getsource(AIOKafkaConsumer.__init__)
