"""What one topic that takes nothing does to the others of a bridge; the rest is tested with Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import MessageSizeTooLargeError, TopicAuthorizationFailedError

from streams.bridges.to_kafka import KafkaWriter
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.settings import load_settings

AHEAD_BYTES = 10_000


class OneBoundForAll(KafkaWriter):
    """A broken variant: what is stuck takes the room of all others."""

    @property
    def full(self) -> bool:
        return self.bytes >= self._ahead_bytes


@pytest.fixture
async def writers() -> AsyncIterator[tuple[KafkaWriter, KafkaWriter]]:
    """One and its variant, neither of which is connected."""
    made = [kind(load_settings(), ahead_bytes=AHEAD_BYTES) for kind in (KafkaWriter, OneBoundForAll)]
    yield made[0], made[1]
    for writer in made:
        await writer.stop(0.0)


def record_of(writer: KafkaWriter, number: int) -> Outgoing:
    return list(writer._under_way.values())[number].record


async def test_a_topic_that_takes_nothing_leaves_room_for_others(
    writers: tuple[KafkaWriter, KafkaWriter],
) -> None:
    for writer, is_full in zip(writers, (False, True), strict=True):
        writer.post(b"x" * AHEAD_BYTES, priority=Priority.DEBUG)
        assert writer.full
        writer._settled([record_of(writer, 0)], TopicAuthorizationFailedError())
        assert writer.full is is_full
    writer, _ = writers
    assert "notifications.debug" in (writer.reason(Priority.DEBUG) or "")
    assert writer.reason(Priority.CRITICAL) is None
    assert writer.reason() == writer.reason(Priority.DEBUG)
    assert not writer.takes_nothing
    # What goes elsewhere has a bound as before.
    writer.post(b"y" * AHEAD_BYTES, priority=Priority.CRITICAL)
    assert writer.full


async def test_a_topic_takes_again_what_it_confirms(writers: tuple[KafkaWriter, KafkaWriter]) -> None:
    writer, _ = writers
    priorities = load_settings().priorities
    futures = [writer.post(b"x", priority=each) for each in priorities]
    for number in range(len(priorities)):
        assert not writer.takes_nothing
        writer._settled([record_of(writer, number)], TopicAuthorizationFailedError())
    assert writer.takes_nothing
    assert all(writer.reason(each) for each in priorities)
    writer._settled([record_of(writer, 0)], None)
    assert futures[0].done()
    assert not writer.takes_nothing
    assert [writer.reason(each) is None for each in priorities] == [True] + [False] * (len(priorities) - 1)
    assert writer.bytes == sum(writer._bytes_of.values())


async def test_a_topic_that_refuses_a_record_for_its_size_takes_others(
    writers: tuple[KafkaWriter, KafkaWriter],
) -> None:
    writer, _ = writers
    future = writer.post(b"x", priority=Priority.CRITICAL)
    record = record_of(writer, 0)
    writer._settled([record], TopicAuthorizationFailedError())
    writer._settled([record], MessageSizeTooLargeError())
    assert isinstance(future.exception(), RecordRefusedForSizeError)
    assert writer.reason(Priority.CRITICAL) is None
