"""Fetch lanes with a stand-in for the Kafka consumer: what hostile records and failures do to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

from streams.notifications import Priority
from streams.records import UnreadableRecord
from streams.scheduling.scheduler import ClassSpec, Scheduler
from streams.transport import fetch_lane as module
from streams.transport.fetch_lane import FetchLane
from streams.transport.lane import FETCH_WAIT_MS
from streams.upstream.lenient_records import LenientRecords

TOPIC = "notifications.debug"


class FakeConsumer:
    """One topic in memory; records at ``poison`` make every fetch that meets them raise."""

    def __init__(self, **_options: Any) -> None:
        self.position: dict[int, int] = {}
        self.fail_once: list[Exception] = []
        self.stopped: set[int] = set()
        self._fetcher = SimpleNamespace(_records={}, _fetch_max_wait_ms=FETCH_WAIT_MS)
        self._assignment = SimpleNamespace()
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=self._assignment))

    def told(self, partition: int, epoch: int, offset: int) -> None:
        """Tell of a leader epoch, as what takes batches apart does."""
        self._assignment.tocsin_on_epoch(partition, epoch, offset)

    log: dict[int, int]
    poison: set[tuple[int, int]]

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def assign(self, tps: list[TopicPartition]) -> None:
        self.position = {tp.partition: 0 for tp in tps}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.position[tp.partition] = offset

    def pause(self, *tps: TopicPartition) -> None:
        self.stopped.update(tp.partition for tp in tps)

    def resume(self, *tps: TopicPartition) -> None:
        self.stopped.difference_update(tp.partition for tp in tps)

    async def getmany(self, *tps: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        found: dict[Any, list[Any]] = {}
        for tp in tps:
            assert tp.partition not in self.stopped  # aiokafka would throw away what it has fetched of it
            records = []
            while self.position[tp.partition] < self.log[tp.partition] and len(records) < max_records:
                offset = self.position[tp.partition]
                if (tp.partition, offset) in self.poison:
                    # As aiokafka does: the good records before it are lost, and it goes on behind them.
                    raise RuntimeError("cannot take this apart")
                self.position[tp.partition] += 1
                records.append(
                    SimpleNamespace(offset=offset, value=b"0" * 10, key=None, headers=[], timestamp=0)
                )
            if records:
                found[tp] = records
        if not found:
            await asyncio.sleep(0.001)
        return found


@pytest.fixture
async def lane(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FetchLane]:
    monkeypatch.setattr(module.aiokafka, "AIOKafkaConsumer", FakeConsumer)
    FakeConsumer.log, FakeConsumer.poison = {0: 30, 1: 30}, set()
    scheduler: Scheduler[Priority, int, Any] = Scheduler([ClassSpec(Priority.DEBUG, 1.0, 0, 1 << 20)])
    told: list[BaseException] = []
    made = FetchLane(
        Priority.DEBUG,
        TOPIC,
        scheduler,
        {},
        fetch_bytes=1 << 16,
        on_records=lambda: None,
        on_failed=told.append,
    )
    yield made
    await made.revoke()
    assert told == []


async def drained(lane: FetchLane, count: int) -> dict[int, list[Any]]:
    """Take batches from the scheduler until ``count`` records came."""
    taken: dict[int, list[Any]] = {}
    async with asyncio.timeout(20):
        while sum(map(len, taken.values())) < count:
            dispatch = lane._scheduler.next()
            if dispatch is None:
                await asyncio.sleep(0.001)
                continue
            taken.setdefault(dispatch.partition, []).extend(dispatch.records)
            lane._scheduler.done(dispatch, 0.0001)
            lane.has_room()
    return taken


async def test_records_arrive_in_order_from_where_they_were_committed(lane: FetchLane) -> None:
    await lane.assign({0: 10, 1: None})
    taken = await drained(lane, 50)
    assert [record.offset for record in taken[0]] == list(range(10, 30))
    assert [record.offset for record in taken[1]] == list(range(30))


async def test_a_record_that_cannot_be_taken_apart_is_replaced_and_no_other_is_lost(lane: FetchLane) -> None:
    FakeConsumer.poison = {(0, 7), (0, 8), (1, 0), (1, 29)}
    await lane.assign({0: None, 1: None})
    taken = await drained(lane, 60)
    for partition in (0, 1):
        assert [record.offset for record in taken[partition]] == list(range(30))
    bad = {(p, r.offset) for p, records in taken.items() for r in records if isinstance(r, UnreadableRecord)}
    assert bad == FakeConsumer.poison


async def test_a_lane_goes_on_after_a_broker_failure(
    lane: FetchLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.0)
    failures = [KafkaConnectionError(), KafkaConnectionError()]
    real = FakeConsumer.getmany

    async def getmany(self: FakeConsumer, *tps: TopicPartition, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(self, *tps, **options)

    monkeypatch.setattr(FakeConsumer, "getmany", getmany)
    await lane.assign({0: None})
    assert len((await drained(lane, 30))[0]) == 30


async def test_an_error_that_ends_the_fetching_is_told(
    lane: FetchLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[BaseException] = []
    monkeypatch.setattr(lane, "_on_failed", told.append)
    monkeypatch.setattr(lane, "_on_records", lambda: 1 // 0)
    await lane.assign({0: None})
    async with asyncio.timeout(20):
        while not told:
            await asyncio.sleep(0)
    assert isinstance(told[0], ZeroDivisionError)


async def test_a_lane_that_is_full_pauses_and_one_with_room_fetches_on(
    lane: FetchLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler: Scheduler[Priority, int, Any] = Scheduler([ClassSpec(Priority.DEBUG, 1.0, 0, 1)])
    monkeypatch.setattr(lane, "_scheduler", scheduler)
    await lane.assign({0: None, 1: None})
    consumer: Any = lane._consumer
    async with asyncio.timeout(20):
        while consumer.stopped != {0, 1}:
            await asyncio.sleep(0)
        assert consumer._fetcher._fetch_max_wait_ms < FETCH_WAIT_MS
        assert len(scheduler) > 0
        while len(scheduler):
            dispatch = scheduler.next()
            assert dispatch is not None
            scheduler.done(dispatch, 0.0001)
        lane.has_room()
        while consumer.stopped == {0, 1}:
            await asyncio.sleep(0)


async def test_while_the_client_holds_enough_only_what_has_room_is_fetched(
    lane: FetchLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = 1 << 30
    monkeypatch.setattr(module, "held_by", lambda _consumer: held)
    monkeypatch.setattr(lane._scheduler, "wanted", lambda _priority: [1])
    await lane.assign({0: None, 1: None})
    consumer: Any = lane._consumer
    async with asyncio.timeout(20):
        while consumer.stopped != {0}:
            await asyncio.sleep(0)
        assert consumer._fetcher._fetch_max_wait_ms < FETCH_WAIT_MS
        held = 0
        while consumer.stopped:
            await asyncio.sleep(0.001)
    assert consumer._fetcher._fetch_max_wait_ms == FETCH_WAIT_MS


async def test_nothing_is_left_of_a_revoked_assignment(lane: FetchLane) -> None:
    await lane.assign({0: None})
    await drained(lane, 1)
    await lane.revoke()
    assert len(lane._scheduler) == 0
    assert lane.positions == {}
    assert lane.end_offset(0) is None


# ------------------------------------------------------------------ header names that are no text


class NotText(str):
    """A header name whose bytes on the wire are no UTF-8."""

    __slots__ = ()

    def encode(self, *_args: Any) -> bytes:
        return b"\xff\xfe"


def batch(names: list[str], compression: int) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(
        2,
        compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for index, name in enumerate(names):
        builder.append(index, 1000, b"k", b"v%d" % index, [(name, b"h")])
    return bytes(builder.build())


@pytest.mark.parametrize("compression", [0, _DefaultRecordBatchBuilderPy.CODEC_GZIP])
def test_bad_header_names_are_escaped_and_nothing_else_changes(compression: int) -> None:
    data = batch(["a", NotText("x"), "b"], compression) + batch(["c"], compression)
    records = LenientRecords(data)
    read = []
    while records.has_next():
        found = records.next_batch()
        assert found.validate_crc()
        read += list(found)
    assert [record.value for record in read] == [b"v0", b"v1", b"v2", b"v0"]
    assert [record.headers[0][0] for record in read] == ["a", r"\xff\xfe", "b", "c"]
    assert records.next_batch() is None


def test_aiokafka_alone_raises_for_such_names() -> None:
    """The control: when this fails, the stand-in is no longer needed."""
    with pytest.raises(UnicodeDecodeError):
        list(MemoryRecords(batch(["a", NotText("x")], 0)).next_batch())


def test_the_stand_in_has_what_the_fetcher_asks_for() -> None:
    records = LenientRecords(batch(["a"], 0))
    assert records.size_in_bytes() > 0
    found = records.next_batch()
    for name in (
        "base_offset",
        "next_offset",
        "is_control_batch",
        "is_transactional",
        "producer_id",
        "timestamp_type",
    ):
        assert hasattr(found, name)


async def test_records_that_were_deleted_unread_are_said_and_told(
    lane: FetchLane, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[int, int, int]] = []
    lane._on_never_read = lambda *hole: told.append(hole)
    await lane.assign({0: 10, 1: None})
    await drained(lane, 50)
    lane._was_reset(0, 30, 100)
    (said,) = caplog.messages
    assert said.startswith(f"70 records of {TOPIC}, partition 0, were deleted before they were read: give ")
    assert told == [(0, 100, 70)]
    assert lane.positions == {0: 100, 1: 30}
    # A log that goes back has lost nothing that was not read, and is told of once.
    back: list[int] = []
    lane._on_diverged = back.append
    lane._was_reset(1, 30, 0)
    lane._was_reset(1, 30, 0)
    assert (told, lane.positions, back) == ([(0, 100, 70)], {0: 100, 1: 30}, [1])


class HeldNotes:
    """Notes epochs that were met, once it may go on."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self.may_go_on = asyncio.Event()

    async def __call__(self, met: Any) -> list[int]:
        self.noted.extend(met)
        await self.may_go_on.wait()
        return []


async def test_no_record_of_a_new_leader_epoch_is_taken_over_before_it_is_noted(lane: FetchLane) -> None:
    held = lane._on_epochs = HeldNotes()
    await lane.assign({0: 10, 1: None}, epochs={0: 4})
    lane._consumer.told(0, 4, 10)  # type: ignore[union-attr]
    lane._consumer.told(1, 5, 0)  # type: ignore[union-attr]
    while not held.noted:
        await asyncio.sleep(0)
    assert held.noted == [(1, 5, 0)]
    assert lane._scheduler.next() is None
    held.may_go_on.set()
    await drained(lane, 50)


@pytest.mark.parametrize("parted", [[1], [0, 1]])
async def test_a_lane_whose_epochs_do_not_fit_what_was_read_takes_nothing_over(
    lane: FetchLane, parted: list[int]
) -> None:
    back: list[int] = []
    lane._on_diverged = back.append

    async def note(_: Any) -> list[int]:
        return parted

    lane._on_epochs = note
    await lane.assign({0: 10, 1: None})
    lane._consumer.told(1, 5, 0)  # type: ignore[union-attr]
    while not back:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert (back, lane._scheduler.next()) == (parted, None)


async def test_nothing_behind_an_epoch_is_committed_before_that_is_noted(
    lane: FetchLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read again, a partition committed behind the end of its known epochs looks as if it had lost that."""
    held = HeldNotes()

    def marker(_: Any, tp: TopicPartition) -> tuple[int, int]:
        return lane.positions[tp.partition], lane.positions[tp.partition] + 1

    monkeypatch.setattr(module, "passed_over", marker)
    FakeConsumer.log = {0: 0, 1: 0}
    lane._on_epochs = held
    await lane.assign({0: None, 1: None})
    assert lane.with_markers() == [0, 1]
    lane._consumer.told(1, 5, 0)  # type: ignore[union-attr]
    assert lane.with_markers() == [0]
    while not held.noted:
        await asyncio.sleep(0)
    assert lane.with_markers() == [0]
    held.may_go_on.set()
    async with asyncio.timeout(20):
        while lane.with_markers() != [0, 1]:
            await asyncio.sleep(0.001)
