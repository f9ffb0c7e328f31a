"""Where leader epochs end: the bytes of version 3 of the request, and what is made of answers."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError, NotLeaderForPartitionError
from faust.types import TP

from streams.upstream import leader_epochs as module
from streams.upstream.leader_epochs import epoch_ends


class Client:
    """Two brokers: one leads the even partitions, the other the odd ones."""

    def __init__(self, *, code: int = 0, leader: int | None = None) -> None:
        self.code = code
        self.asked: dict[int, Any] = {}
        self.cluster = SimpleNamespace(
            leader_for_partition=lambda tp: tp.partition % 2 if leader is None else leader
        )

    async def send(self, node: int, request: Any) -> Any:
        built = request.prepare({23: (2, 4)})
        assert built.API_VERSION == 3
        self.asked[node] = built
        parts = [
            (topic, [(self.code, number, epoch, 10 * number) for number, _, epoch in wanted])
            for topic, wanted in built.topics
        ]
        return module._EpochEndsResponse(0, parts)


async def test_each_leader_is_asked_once() -> None:
    client = Client()
    epochs = {TP("a", 0): 3, TP("a", 1): 4, TP("b", 2): 5, TP("a", 3): 6}
    assert await epoch_ends(client, epochs) == {
        tp: (epoch, 10 * tp.partition) for tp, epoch in epochs.items()
    }
    assert {node: len(built.topics) for node, built in client.asked.items()} == {0: 2, 1: 1}


def test_a_request_has_the_bytes_of_its_definition() -> None:
    built = module._EpochEndsRequest({TP("ab", 7): 9}).prepare({23: (2, 4)})
    assert built.encode() == bytes.fromhex("ffffffff 00000001 0002 6162 00000001 00000007 ffffffff 00000009")


def test_an_answer_is_read_as_its_definition_says() -> None:
    data = bytes.fromhex("00000000 00000001 0002 6162 00000001 0000 00000007 00000009 000000000000000c")
    assert module._EpochEndsResponse.decode(BytesIO(data)).topics == [("ab", [(0, 7, 9, 12)])]


async def test_topics_that_may_not_be_read_have_no_answer() -> None:
    assert await epoch_ends(Client(code=29), {TP("a", 0): 3}) == {}


async def test_a_leader_that_is_not_known_or_is_another_one_is_an_error() -> None:
    with pytest.raises(NodeNotReadyError):
        await epoch_ends(Client(leader=-1), {TP("a", 0): 3})
    with pytest.raises(NotLeaderForPartitionError):
        await epoch_ends(Client(code=6), {TP("a", 0): 3})
