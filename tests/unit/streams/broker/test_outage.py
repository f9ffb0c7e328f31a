"""The sentences about an outage: of all brokers, or of so many that nothing can be written."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError, RequestTimedOutError
from aiokafka.protocol.metadata import MetadataRequest

from streams.broker.outage import Outage, _answering


def test_an_outage_is_said_a_few_times_and_its_end_once() -> None:
    outage = Outage("a:1")
    said = [outage.asked(now - 0.1, now, 0) for now in range(100, 300)]
    assert [line for line in said if line] == [
        f"Waiting for the broker at a:1: no answer for {seconds} s." for seconds in (3, 10, 30, 60, 120, 180)
    ]
    assert outage.lost_s(300) == pytest.approx(200.1)
    assert outage.reason(300) == "No Kafka broker has answered for 200 s."
    assert outage.asked(299.0, 300.0, 1) == "Broker at a:1 is back after 200 s."
    assert (outage.lost_s(301), outage.reason(301)) == (0, None)
    assert outage.asked(301.0, 302.0, 1) is None


def test_one_request_that_fails_is_no_outage() -> None:
    outage = Outage("a:1")
    assert outage.asked(100.0, 100.5, 0) is None
    assert (outage.lost_s(101.0), outage.reason(101.0)) == (0, None)
    assert outage.asked(101.5, 102.0, 1) is None


def test_fewer_brokers_than_writes_need_are_an_outage() -> None:
    outage = Outage("a:1,b:1,c:1", needed=2)
    assert outage.asked(100.0, 100.0, 2) is None
    assert outage.asked(110.0, 110.0, 1) is None
    assert outage.asked(114.0, 114.0, 1) == (
        "Waiting for brokers at a:1,b:1,c:1: only 1 of the 2 that writes need answered in the last 4 s."
    )
    assert outage.reason(115.0) == "Only 1 of the 2 Kafka brokers that writes need answered in the last 5 s."
    assert outage.asked(116.0, 116.0, 0) is None
    assert outage.reason(117.0) == "No Kafka broker has answered for 7 s."
    assert outage.asked(118.0, 118.0, 3) == "Enough brokers at a:1,b:1,c:1 are back after 8 s."
    assert outage.reason(119.0) is None


def test_one_broker_of_three_that_is_away_is_no_outage() -> None:
    outage = Outage("a:1,b:1,c:1", needed=2)
    assert [outage.asked(now, now, 2) for now in range(100, 200)] == [None] * 100
    assert outage.reason(200.0) is None


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
    assert asyncio.run(_answering(cluster)) == number
    assert cluster.known == known


def test_what_is_no_failure_of_a_broker_is_not_swallowed() -> None:
    cluster: Any = _Cluster({1: [1], 2: ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        asyncio.run(_answering(cluster))
