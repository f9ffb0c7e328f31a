"""What a sender of batches does with messages that say where they go."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest

from streams.broker.producers.batches import BatchSender, _Batch, size_of
from streams.outgoing import Outgoing


@pytest.fixture
async def sender() -> Any:
    """One whose topic has three partitions, and whose producer is not connected."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    made = BatchSender({}, lambda *_: None, linger_s=3600)
    made._producer = producer
    yield made
    producer._closed = True
    await made.close(0)


def slots(sender: BatchSender, *messages: Outgoing) -> Iterator[int]:
    """The places of the batches that are open after the messages."""
    for message in messages:
        sender.add(message)
        lane = sender._lanes[message.topic]
        if not lane.partitions:
            lane.partitions = (0, 1, 2)
            lane.waiting.clear()
            sender._append(lane, message)
    yield from sender._lanes["t"].open


async def test_a_partition_comes_before_a_key_and_a_key_before_the_turn(sender: Any) -> None:
    assert list(slots(sender, Outgoing("t", b"v", b"key", 2))) == [2]
    assert list(slots(sender, Outgoing("t", b"v"))) == [2, -1]
    by_key = aiokafka.producer.producer.DefaultPartitioner()(b"other", [0, 1, 2], [0, 1, 2])
    assert set(slots(sender, Outgoing("t", b"v", b"other"))) == {2, -1, by_key}


def test_what_a_message_is_charged_with() -> None:
    assert size_of(Outgoing("t", b"1234")) == 132
    assert size_of(Outgoing("t", None, b"key")) == 131
    assert size_of(Outgoing("t", b"", headers=[("a", b"bc")])) == 195


class Builder:
    """Takes so many records."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.closed = False

    def append(self, **_record: Any) -> object | None:
        self._left -= 1
        return object() if self._left >= 0 else None

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("takes", [[6], [5, 1], [4, 4], [1, 2, 9]])
async def test_a_batch_that_is_made_again_loses_nothing(takes: list[int]) -> None:
    """Times that lie further apart take more bytes, so that what filled one batch fills a little more."""
    sender = BatchSender({}, lambda *_: None)
    builders = [Builder(most) for most in takes]
    left = iter(builders)
    sender._producer = SimpleNamespace(create_batch=lambda: next(left))
    full = _Batch(Builder(6), [Outgoing("t", b"%d" % number) for number in range(6)], attempts=2)
    made = sender._made_again(full)
    assert [message for batch in made for message in batch.messages] == full.messages
    assert [each.builder for each in made] == builders
    assert all(builder.closed for builder in builders)
    assert {batch.attempts for batch in made} == {2}
