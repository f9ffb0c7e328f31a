"""Records that ingest sends out at once: an input offset is held back until they are confirmed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from agents.effects import Effects
from streams.outgoing import Outgoing
from streams.transport.committable import CommittableOffsets
from streams.transport.outstanding import OutstandingOffsets

ERROR = TP("notifications.error", 0)
ALERT = Outgoing("alerts.error", b"{}", b"key")


class Producer:
    """Takes every record at once, and confirms when it is told to."""

    closed = False

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[Any]] = []
        self.again: list[Outgoing] = []

    def enqueue_now(self, _record: Outgoing) -> asyncio.Future[Any]:
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    async def send(self, records: list[Outgoing]) -> None:
        self.again += records


class TakesOldForCurrent(CommittableOffsets):
    """A broken variant: confirmations of an assignment that has ended count in the next."""

    def is_current(self, tp: TP, outstanding: OutstandingOffsets) -> bool:
        return True


async def sent(offsets: CommittableOffsets, *numbers: int) -> tuple[Effects, Producer]:
    producer = Producer()
    effects = Effects(producer, offsets)  # type: ignore[arg-type]
    for number in numbers:
        await effects.send(ERROR, number, ALERT, lambda: ALERT)
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
    assert producer.again == [ALERT]
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
    await effects.send(ERROR, 3, ALERT, lambda: ALERT)
    offsets.counted(ERROR, 10)
    producer.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert effects.under_way == left
    assert offsets.committable() == {ERROR: 3}
