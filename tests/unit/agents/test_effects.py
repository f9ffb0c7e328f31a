"""Records that ingest sends out at once: an input offset is held back until they are confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from faust.types import TP

from agents import effects as module
from agents.effects import Effects
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords, packed
from streams.transport.committable import CommittableOffsets
from streams.transport.outstanding import OutstandingOffsets
from streams.upstream.stores import PartitionGoneError

ERROR = TP("notifications.error", 0)
ALERT = Outgoing("alerts.error", b"{}", b"key", None, [])


class Producer:
    """Takes every record at once, and confirms when it is told to.

    Args:
        in_batch: records of one batch; with 0 none is open, and each record is sent by itself.
        too_large: values that the brokers refuse for their size.
    """

    closed = False
    takes_packed = True

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

    def put_packed_now(
        self, records: PackedRecords, first: int, end: int
    ) -> list[tuple[asyncio.Future[Any], list[int]]]:
        put: dict[asyncio.Future[Any], list[int]] = {}
        if self.takes_packed:
            for index in range(first, end):
                if (future := self.put_now(records[index])) is not None:
                    put.setdefault(future, []).append(index)
        return list(put.items())

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


def packed_alerts(values: Sequence[bytes]) -> PackedRecords:
    assert ALERT.key is not None
    return PackedRecords(
        ALERT.topic, [ALERT.key] * len(values), [packed(ALERT.key, value) for value in values]
    )


def smaller(record: Outgoing) -> Outgoing:
    return record._replace(value=b"small")


async def more_than_has_room(effects: Effects) -> asyncio.Task[None]:
    """Send 20 records of 300 kB, of which seven have room; the others wait."""
    records = packed_alerts([bytes(300_000)] * 20)
    task = asyncio.create_task(effects.send_all(ERROR, range(20), records, smaller))
    for _ in range(5):
        await asyncio.sleep(0)
    return task


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


class KeepsWhatWasSent(Effects):
    """A broken variant: what is under way at the end of an assignment stays its own."""

    def close(self) -> None:
        parcels = self._parcels
        super().close()
        self._parcels = parcels


@pytest.mark.parametrize(
    ("kind", "of_offsets", "left"),
    [(Effects, CommittableOffsets, 1), (KeepsWhatWasSent, TakesOldForCurrent, 0)],
)
async def test_a_confirmation_of_another_assignment_frees_nothing_of_this(
    kind: type[Effects], of_offsets: type[CommittableOffsets], left: int
) -> None:
    """The control forgets that one is under way, so that the drain would not wait for it."""
    offsets = of_offsets()
    producer = Producer()
    effects = kind(producer, offsets)  # type: ignore[arg-type]
    await effects.send(ERROR, 3, ALERT, smaller)
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


@pytest.mark.parametrize("takes_packed", [True, False])
async def test_many_are_sent_together_and_confirmed_with_their_batches(takes_packed: bool) -> None:
    """Or each by itself, where the client cannot take them together."""
    offsets = CommittableOffsets()
    offsets.counted(ERROR, 100)
    producer = Producer(in_batch=4)
    producer.takes_packed = takes_packed
    effects = Effects(producer, offsets)  # type: ignore[arg-type]
    await effects.send_all(ERROR, range(20, 32), packed_alerts([b"%d" % n for n in range(12)]), smaller)
    assert (effects.under_way, len(producer.futures)) == (12, 3)
    assert offsets.committable() == {ERROR: 20}
    floors = []
    for future in producer.futures:
        future.set_result(None)
        await asyncio.sleep(0)
        floors.append(offsets.committable()[ERROR])
    assert floors == [24, 28, 100]
    assert (effects.under_way, effects._bytes) == (0, 0)


async def test_what_fails_of_many_is_sent_again_in_order() -> None:
    offsets = CommittableOffsets()
    offsets.counted(ERROR, 100)
    producer = Producer(in_batch=3)
    effects = Effects(producer, offsets)  # type: ignore[arg-type]
    records = packed_alerts([b"%d" % number for number in range(6)])
    await effects.send_all(ERROR, range(6), records, smaller)
    producer.futures[1].set_exception(KafkaConnectionError("gone"))
    producer.futures[0].set_result(None)
    assert await effects.wait(5)
    assert producer.again == [[ALERT._replace(value=b"%d" % number) for number in (3, 4, 5)]]
    assert offsets.committable() == {ERROR: 100}


async def test_of_many_only_so_many_bytes_are_under_way() -> None:
    producer = Producer(in_batch=10)
    effects = Effects(producer, CommittableOffsets())  # type: ignore[arg-type]
    task = await more_than_has_room(effects)
    assert effects.blocked
    assert effects.under_way == 7  # of 2 MiB, the one that reaches it included
    while not task.done():
        for future in producer.futures:
            if not future.done():
                future.set_result(None)
        await asyncio.sleep(0)
    await task
    assert effects.under_way <= 7


class WaitsForHalf(Effects):
    """A broken variant: what has room waits for more of it, so that no request follows another at once."""

    async def _room_for(self, topic: str, tp: TP) -> None:
        if not self._may_send(topic):
            await super()._room_for(topic, tp)
            while self._bytes >= 2**20:
                await asyncio.sleep(0)


@pytest.mark.parametrize(("kind", "goes_on"), [(Effects, True), (WaitsForHalf, False)])
async def test_what_waits_for_room_goes_on_as_soon_as_there_is_any(
    kind: type[Effects], goes_on: bool
) -> None:
    producer = Producer(in_batch=1)
    effects = kind(producer, CommittableOffsets())  # type: ignore[arg-type]
    task = asyncio.create_task(
        effects.send_all(ERROR, range(9), packed_alerts([bytes(300_000)] * 9), smaller)
    )
    while not effects.blocked:
        await asyncio.sleep(0)
    producer.futures[0].set_result(None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (len(producer.futures) > 7) is goes_on
    task.cancel()


class SendsOn(Effects):
    """A broken variant: what comes next does not wait for what is sent again."""

    def _may_send(self, topic: str) -> bool:
        return True


class Noting(Producer):
    """Notes the values in the order in which the client gets them."""

    def __init__(self, in_batch: int) -> None:
        super().__init__(in_batch)
        self.got: list[bytes | None] = []

    def put_now(self, record: Outgoing) -> asyncio.Future[Any] | None:
        self.got.append(record.value)
        return super().put_now(record)

    async def send(self, records: list[Outgoing]) -> None:
        for record in records:
            self.got.append(record.value)
            await asyncio.sleep(0)
        await super().send(records)


async def order_after_a_failure(kind: type[Effects]) -> list[bytes | None]:
    """Values in the order in which the client gets them after two batches have failed, and one more comes."""
    producer = Noting(in_batch=2)
    effects = kind(producer, CommittableOffsets())  # type: ignore[arg-type]
    await effects.send_all(ERROR, range(4), packed_alerts([b"%d" % number for number in range(4)]), smaller)
    for future in producer.futures:
        future.set_exception(KafkaConnectionError("gone"))
    producer.got.clear()
    await asyncio.sleep(0)  # they are told of it
    await effects.send(ERROR, 4, ALERT._replace(value=b"4"), smaller)
    producer.futures[-1].set_result(None)
    assert await effects.wait(5)
    return producer.got


async def test_the_order_within_a_topic_holds_when_batches_fail() -> None:
    in_order = [b"0", b"1", b"2", b"3", b"4"]
    assert await order_after_a_failure(Effects) == in_order
    assert await order_after_a_failure(SendsOn) != in_order


async def test_another_topic_does_not_wait_for_what_is_sent_again() -> None:
    class Stuck(Producer):
        async def send(self, records: list[Outgoing]) -> None:
            await asyncio.Event().wait()

    producer = Stuck(in_batch=1)
    effects = Effects(producer, CommittableOffsets())  # type: ignore[arg-type]
    assert effects.send_now(ERROR, 0, ALERT, smaller)
    producer.futures[0].set_exception(KafkaConnectionError("gone"))
    await asyncio.sleep(0)
    assert not effects.send_now(ERROR, 1, ALERT, smaller)
    assert effects.send_now(ERROR, 1, ALERT._replace(topic="alerts.critical"), smaller)
    effects.close()


async def test_a_record_refused_for_its_size_holds_nothing_up() -> None:
    producer = Producer(in_batch=1, too_large=(b"{}", b"small"))
    effects = Effects(producer, CommittableOffsets())  # type: ignore[arg-type]
    assert effects.send_now(ERROR, 0, ALERT, smaller)
    producer.futures[0].set_exception(KafkaConnectionError("gone"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert effects.send_now(ERROR, 1, ALERT, smaller)
    effects.close()


async def test_nobody_waits_for_a_producer_that_is_closed() -> None:
    class Closed(Producer):
        closed = True

        async def send(self, records: list[Outgoing]) -> None:
            raise asyncio.CancelledError

    producer = Closed(in_batch=1)
    effects = Effects(producer, CommittableOffsets())  # type: ignore[arg-type]
    assert effects.send_now(ERROR, 0, ALERT, smaller)
    producer.futures[0].set_exception(KafkaConnectionError("gone"))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await effects.send(ERROR, 1, ALERT, smaller)
    effects.close()


async def test_the_record_that_waits_longest_tells_for_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    effects, producer = await sent(CommittableOffsets(), 3, in_batch=1)
    now = 107.0
    await effects.send(ERROR, 5, ALERT, smaller)
    now = 110.0
    assert effects.unconfirmed_s() == 10.0
    producer.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert effects.unconfirmed_s() == 3.0
    producer.futures[1].set_result(None)
    await asyncio.sleep(0)
    assert effects.unconfirmed_s() == 0.0
    await effects.send(ERROR, 6, ALERT, smaller)
    effects.close()
    assert effects.unconfirmed_s() == 0.0


class FloorsAsFirstSeen(Effects):
    """A broken variant: of a batch of the client, the offset that came first counts as the lowest."""

    def _sent(self, future: Any, topic: str, tp: TP, offsets: Sequence[int], *rest: Any) -> None:
        parcel = self._parcels.get(future)
        first = None if parcel is None else parcel.floors.get(self._offsets.outstanding(tp))
        super()._sent(future, topic, tp, offsets if first is None else [first[1]], *rest)


@pytest.mark.parametrize(("kind", "held_back_at"), [(Effects, 100), (FloorsAsFirstSeen, 450)])
async def test_a_later_offset_in_the_same_batch_does_not_free_an_earlier_one(
    kind: type[Effects], held_back_at: int
) -> None:
    """A batch of an assignment that has ended was woken, and sends on while the next begins further back."""
    offsets = CommittableOffsets()
    producer = Producer(in_batch=10)
    effects = kind(producer, offsets)  # type: ignore[arg-type]
    assert effects.send_now(ERROR, 500, ALERT, smaller)
    assert effects.send_now(ERROR, 100, ALERT, smaller)
    offsets.counted(ERROR, 450)
    assert offsets.committable() == {ERROR: held_back_at}
    producer.futures[0].set_result(None)
    await asyncio.sleep(0)
    assert offsets.committable() == {ERROR: 450}


async def test_whoever_waits_when_the_assignment_ends_sends_nothing_into_the_next() -> None:
    producer = Producer(in_batch=10)
    effects = Effects(producer, CommittableOffsets())  # type: ignore[arg-type]
    task = await more_than_has_room(effects)
    assert effects.blocked
    effects.close()
    with pytest.raises(PartitionGoneError):
        await task
    assert effects.under_way == 0


@pytest.mark.parametrize("error", [None, KafkaConnectionError("gone")])
async def test_whoever_is_at_the_client_when_the_assignment_ends_gives_up_too(
    error: Exception | None,
) -> None:
    may_go_on = asyncio.Event()

    class Slow(Producer):
        async def enqueue(self, record: Outgoing) -> asyncio.Future[Any]:
            await may_go_on.wait()
            if error is not None:
                raise error
            return await super().enqueue(record)

    effects = Effects(Slow(), CommittableOffsets())  # type: ignore[arg-type]
    task = asyncio.create_task(effects.send(ERROR, 1, ALERT, smaller))
    await asyncio.sleep(0)
    effects.close()
    may_go_on.set()
    with pytest.raises(PartitionGoneError):
        await task
    assert (effects.under_way, effects._bytes, effects._failed) == (0, 0, {})


async def test_what_the_client_holds_of_an_ended_assignment_still_takes_room() -> None:
    """Else each rebalance while the brokers take nothing would let as much again pile up."""
    producer = Producer(in_batch=7)
    effects = Effects(producer, CommittableOffsets())  # type: ignore[arg-type]
    for _ in range(2):
        task = await more_than_has_room(effects)
        effects.close()
        with pytest.raises(PartitionGoneError):
            await task
    assert producer._taken == 7
    producer.futures[0].set_exception(KafkaConnectionError("gone"))
    await asyncio.sleep(0)
    assert effects._bytes == 0
    assert effects.send_now(ERROR, 1, ALERT, smaller)
    assert producer.again == []


async def test_what_the_client_itself_refuses_for_its_size_is_sent_smaller() -> None:
    class Refusing(Producer):
        async def enqueue(self, _record: Outgoing) -> asyncio.Future[Any]:
            raise RecordRefusedForSizeError("larger than a request may be")

    producer = Refusing(too_large=(ALERT.value or b"",))
    offsets = CommittableOffsets()
    effects = Effects(producer, offsets)  # type: ignore[arg-type]
    await effects.send(ERROR, 7, ALERT, smaller)
    offsets.counted(ERROR, 10)
    assert offsets.committable() == {ERROR: 7}
    assert await effects.wait(5)
    assert producer.again == [[ALERT._replace(value=b"small")]]
    assert offsets.committable() == {ERROR: 10}


@pytest.mark.parametrize(("after_s", "told"), [(0.0, [True, False, False]), (3600.0, [False])])
async def test_a_long_wait_for_room_is_told_and_a_short_one_is_not(
    monkeypatch: pytest.MonkeyPatch, after_s: float, told: list[bool]
) -> None:
    monkeypatch.setattr(module, "_TELL_AFTER_S", after_s)
    heard: list[tuple[TP, bool]] = []
    producer = Producer(in_batch=10)
    effects = Effects(
        producer,  # type: ignore[arg-type]
        CommittableOffsets(),
        on_waiting=lambda tp, waits: heard.append((tp, waits)),
    )
    records = packed_alerts([bytes(300_000)] * 8)
    task = asyncio.create_task(effects.send_all(ERROR, range(8), records, smaller))
    async with asyncio.timeout(30):
        while not effects.blocked or len(heard) < len(told) - 2:
            await asyncio.sleep(0)
        producer.futures[0].set_result(None)
        await task
    assert heard in ([(ERROR, each) for each in told], [(ERROR, each) for each in told[:2]])
