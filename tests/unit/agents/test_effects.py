"""Records that ingest sends out at once: an input offset is held back until they are confirmed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from faust.types import TP

from agents.effects import Effects
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.outgoing import Outgoing
from streams.transport.committable import CommittableOffsets
from streams.transport.outstanding import OutstandingOffsets

ERROR = TP("notifications.error", 0)
ALERT = Outgoing("alerts.error", b"{}", b"key")


class Producer:
    """Takes every record at once, and confirms when it is told to.

    Args:
        in_batch: records of one batch; with 0 none is open, and each record is sent by itself.
        too_large: values that the brokers refuse for their size.
    """

    closed = False

    def __init__(self, in_batch: int = 0, too_large: tuple[bytes, ...] = ()) -> None:
        self._in_batch = in_batch
        self._too_large = too_large
        self._taken = 0
        self.futures: list[asyncio.Future[Any]] = []
        self.again: list[list[Outgoing]] = []

    def put_now(self, _record: Outgoing) -> asyncio.Future[Any] | None:
        if not self._in_batch:
            return None
        if self._taken % self._in_batch == 0 or self.futures[-1].done():
            self.futures.append(asyncio.get_running_loop().create_future())
        self._taken += 1
        return self.futures[-1]

    async def enqueue(self, _record: Outgoing) -> asyncio.Future[Any]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    async def send(self, records: list[Outgoing]) -> None:
        if any(record.value in self._too_large for record in records):
            raise RecordRefusedForSizeError("too large")
        self.again.append(list(records))


class TakesOldForCurrent(CommittableOffsets):
    """A broken variant: confirmations of an assignment that has ended count in the next."""

    def is_current(self, tp: TP, outstanding: OutstandingOffsets) -> bool:
        return True


def smaller(record: Outgoing) -> Outgoing:
    return record._replace(value=b"small")


async def sent(
    offsets: CommittableOffsets, *numbers: int, in_batch: int = 0, too_large: tuple[bytes, ...] = ()
) -> tuple[Effects, Producer]:
    producer = Producer(in_batch, too_large)
    effects = Effects(producer, offsets)  # type: ignore[arg-type]
    for number in numbers:
        record = ALERT._replace(value=b"%d" % number)
        if not effects.send_now(ERROR, number, record, smaller):
            await effects.send(ERROR, number, record, smaller)
    return effects, producer


async def test_an_offset_is_held_back_until_its_record_is_confirmed() -> None:
    offsets = CommittableOffsets()
    effects, producer = await sent(offsets, 3, 5)
    offsets.counted(ERROR, 10)
    assert (effects.under_way, offsets.committable()) == (2, {ERROR: 3})
    producer.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert (effects.under_way, offsets.committable()) == (1, {ERROR: 5})
    producer.futures[1].set_result(None)
    assert await effects.wait(5.0)
    assert (effects.under_way, offsets.committable()) == (0, {ERROR: 10})


async def test_a_record_that_was_not_taken_is_sent_again_before_its_offset_is_free() -> None:
    offsets = CommittableOffsets()
    effects, producer = await sent(offsets, 3)
    offsets.counted(ERROR, 10)
    producer.futures[0].set_exception(KafkaConnectionError())
    await asyncio.sleep(0)
    assert offsets.committable() == {ERROR: 3}
    assert await effects.wait(5.0)
    assert producer.again == [[ALERT._replace(value=b"3")]]
    assert offsets.committable() == {ERROR: 10}


@pytest.mark.parametrize(("kind", "left"), [(CommittableOffsets, 1), (TakesOldForCurrent, 0)])
async def test_a_confirmation_of_another_assignment_frees_nothing_of_this(
    kind: type[CommittableOffsets], left: int
) -> None:
    """The control forgets that one is under way, so that the drain would not wait for it."""
    offsets = kind()
    effects, producer = await sent(offsets, 3)
    offsets.forget()
    effects.close()
    await effects.send(ERROR, 3, ALERT, smaller)
    offsets.counted(ERROR, 10)
    producer.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert effects.under_way == left
    assert offsets.committable() == {ERROR: 3}


async def test_records_of_one_batch_are_held_back_together_from_the_lowest_on() -> None:
    offsets = CommittableOffsets()
    effects, producer = await sent(offsets, 3, 5, 6, 8, 9, in_batch=3)
    offsets.counted(ERROR, 10)
    assert len(producer.futures) == 2
    assert (effects.under_way, offsets.committable()) == (5, {ERROR: 3})
    producer.futures[1].set_result(None)  # the later batch first
    await asyncio.sleep(0)
    assert (effects.under_way, offsets.committable()) == (3, {ERROR: 3})
    producer.futures[0].set_result(None)
    assert await effects.wait(5.0)
    assert (effects.under_way, effects._bytes, offsets.committable()) == (0, 0, {ERROR: 10})


async def test_a_batch_may_hold_records_of_several_partitions() -> None:
    offsets = CommittableOffsets()
    other = TP("notifications.critical", 1)
    effects, producer = await sent(offsets, 3, in_batch=10)
    assert effects.send_now(other, 7, ALERT, smaller)
    assert effects.send_now(ERROR, 4, ALERT, smaller)
    offsets.counted(ERROR, 10)
    offsets.counted(other, 20)
    assert offsets.committable() == {ERROR: 3, other: 7}
    producer.futures[0].set_result(None)
    assert await effects.wait(5.0)
    assert offsets.committable() == {ERROR: 10, other: 20}


async def test_a_batch_that_failed_is_sent_again_in_order_before_its_offsets_are_free() -> None:
    offsets = CommittableOffsets()
    effects, producer = await sent(offsets, 3, 5, in_batch=3)
    offsets.counted(ERROR, 10)
    producer.futures[0].set_exception(KafkaConnectionError())
    await asyncio.sleep(0)
    assert offsets.committable() == {ERROR: 3}
    assert await effects.wait(5.0)
    assert [[record.value for record in each] for each in producer.again] == [[b"3", b"5"]]
    assert (effects._bytes, offsets.committable()) == (0, {ERROR: 10})


@pytest.mark.parametrize("error", [MessageSizeTooLargeError, KafkaConnectionError])
async def test_of_a_batch_that_is_refused_for_its_size_only_what_is_too_large_is_cut(
    error: type[Exception],
) -> None:
    offsets = CommittableOffsets()
    effects, producer = await sent(offsets, 3, 5, 6, in_batch=3, too_large=(b"5",))
    offsets.counted(ERROR, 10)
    producer.futures[0].set_exception(error())
    assert await effects.wait(5.0)
    assert [[record.value for record in each] for each in producer.again] == [[b"3"], [b"small"], [b"6"]]
    assert offsets.committable() == {ERROR: 10}


async def test_what_is_under_way_is_bounded_in_bytes() -> None:
    offsets = CommittableOffsets()
    effects, producer = await sent(offsets, in_batch=10**6)
    large = ALERT._replace(value=bytes(100_000))
    number = 0
    while effects.send_now(ERROR, number, large, smaller):
        number += 1
    assert 1 < number < 100
    waiting = asyncio.create_task(effects.send(ERROR, number, large, smaller))
    await asyncio.sleep(0)
    assert effects.blocked
    assert not waiting.done()
    producer.futures[0].set_result(None)
    await waiting
    assert effects.under_way == 1


async def test_a_batch_of_another_assignment_frees_nothing_of_this() -> None:
    offsets = CommittableOffsets()
    effects, producer = await sent(offsets, 3, in_batch=1)
    offsets.forget()
    effects.close()
    assert effects.send_now(ERROR, 3, ALERT, smaller)
    offsets.counted(ERROR, 10)
    producer.futures[0].set_exception(KafkaConnectionError())
    await asyncio.sleep(0)
    assert (effects.under_way, offsets.committable(), producer.again) == (1, {ERROR: 3}, [])
