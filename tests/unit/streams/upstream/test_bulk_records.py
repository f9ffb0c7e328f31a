"""Records handed out as parsed: the same as aiokafka's own, whatever the batches hold."""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchError, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c_py

from streams.records import UnreadableRecord
from streams.upstream.bulk_records import (
    AS_PARSED,
    LEAST_LIMIT,
    BulkFetchResult,
    _Unread,
    held_by,
    install_bulk_records,
    size_of,
    tell_epochs,
    wait_at_broker,
)
from streams.upstream.corrupt_batches import LeavesOut
from streams.upstream.lenient_records import LenientRecords, _Batch

TP = TopicPartition("notifications.debug", 3)
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
Stock = fetcher.FetchResult if fetcher.FetchResult is not BulkFetchResult else BulkFetchResult.__base__


class NotText(str):
    """A header name whose bytes on the wire are no UTF-8."""

    __slots__ = ()

    def encode(self, *_args: Any) -> bytes:
        return b"\xff\xfe"


def batch(base: int, values: list[bytes | None], *, bad: int = -1, compression: int = 0) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 1 << 26)
    for index, value in enumerate(values):
        name = NotText("x") if index == bad else "name"
        builder.append(index, 1000 + index, b"k%d" % index, value, [(name, b"h")])
    built = bytearray(builder.build())
    built[0:8] = base.to_bytes(8, "big")
    return bytes(built)


class State:
    """What a fetch result asks of the assignment."""

    active = True
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, _tp: Any) -> State:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def result(
    kind: Any,
    data: bytes,
    position: int,
    *,
    marker: Any = AS_PARSED,
    isolation: int = READ_UNCOMMITTED,
    records: Any = LenientRecords,
) -> tuple[Any, State]:
    state = State(position)
    source = PartitionRecords(TP, records(data), None, position, None, marker, True, isolation)
    return kind(TP, assignment=state, partition_records=source, backoff=0.0), state


def drained(found: Any, state: State, most: int | None) -> tuple[list[Any], list[int]]:
    """All records as tuples, and the position after each call."""
    records, positions = [], []
    while found.has_more():
        records += [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in found.getall(most)]
        positions.append(state.position)
    return records, positions


@pytest.mark.parametrize("most", [1, 2, 3, 7, 100, None])
@pytest.mark.parametrize("position", [0, 2, 5, 6])
@pytest.mark.parametrize("bad", [-1, 0, 2])
@pytest.mark.parametrize("compression", [0, GZIP, SNAPPY, LZ4, ZSTD])
def test_the_records_and_positions_are_those_of_aiokafka(
    most: int | None, position: int, bad: int, compression: int
) -> None:
    data = batch(0, [b"a", None, b"c", b"d"], bad=bad, compression=compression) + batch(10, [b"e", b"f"])
    expected, expected_positions = drained(*result(Stock, data, position, marker=None), most)
    got, positions = drained(*result(BulkFetchResult, data, position), most)
    assert got == expected
    assert positions[-1] == expected_positions[-1] == 12


@pytest.mark.parametrize("compression", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("most", [1, 2, 500])
def test_each_record_of_a_batch_that_unpacks_to_too_much_has_a_stand_in(
    compression: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Unread, "limit", LEAST_LIMIT)
    zeros = bytes(LEAST_LIMIT // 2)
    bomb = batch(2, [b"c", zeros, zeros], compression=compression)
    data = batch(0, [b"a", b"b"], compression=compression) + bomb + batch(5, [b"f"], compression=compression)
    found, state = result(BulkFetchResult, data, 0)
    got = []
    while found.has_more():
        got += found.getall(most)
    assert [record.offset for record in got] == list(range(6))
    # First of all, since these megabytes would be shown in full.
    assert [record.value is None for record in got] == [False, False, True, True, True, False]
    assert [record.value for record in got] == [b"a", b"b", None, None, None, b"f"]
    for record in got[2:5]:
        assert isinstance(record, UnreadableRecord)
        assert (record.topic, record.partition) == TP
        assert record.error == "its batch unpacks to more than 8,388,608 bytes"
        assert record.timestamp == 1002
    assert state.position == 6


@pytest.mark.parametrize("compression", [GZIP, SNAPPY, LZ4, ZSTD])
def test_consumers_of_other_records_get_stand_ins_too(
    compression: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `tail`, `verify` and the followers of internal topics read."""
    monkeypatch.setattr(_Batch, "limit", LEAST_LIMIT)
    zeros = bytes(LEAST_LIMIT // 2)
    bomb = batch(2, [b"c", zeros, zeros], compression=compression)
    data = batch(0, [b"a", b"b"], compression=compression) + bomb + batch(5, [b"f"], compression=compression)
    source = PartitionRecords(TP, LenientRecords(data), None, 0, None, None, True, READ_UNCOMMITTED)
    got = list(source)
    assert [(record.offset, record.value) for record in got] == [
        *[(0, b"a"), (1, b"b")],
        *[(2, None), (3, None), (4, None)],
        (5, b"f"),
    ]
    assert [record.timestamp for record in got[2:5]] == [1002] * 3
    assert source.next_fetch_offset == 6


def test_the_limit_leaves_room_for_the_largest_record_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Unread, "limit", LEAST_LIMIT)
    data = batch(0, [bytes(LEAST_LIMIT)], compression=ZSTD)
    assert result(BulkFetchResult, data, 0)[0].getall()[0].value is None
    install_bulk_records(LEAST_LIMIT)
    assert len(result(BulkFetchResult, data, 0)[0].getall()[0].value) == LEAST_LIMIT


def test_a_call_unpacks_few_large_batches() -> None:
    data = b"".join(batch(offset, [bytes(1_500_000)], compression=ZSTD) for offset in range(4))
    found, state = result(BulkFetchResult, data, 0)
    _, positions = drained(found, state, 500)
    assert positions[:4] == [1, 2, 3, 4]


def test_a_consumer_that_does_not_ask_for_it_gets_consumer_records() -> None:
    for isolation in (READ_UNCOMMITTED, READ_COMMITTED):
        found, _ = result(BulkFetchResult, batch(0, [b"a"]), 0, marker=None, isolation=isolation)
        assert found.getall()[0].topic == TP.topic


# --- Transactions -----------------------------------------------------------------------------------

ABORT, COMMIT = 0, 1


def of_transaction(base: int, producer: int, values: list[bytes]) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, 0, 1, producer, 0, 0, 1 << 20)
    for index, value in enumerate(values):
        builder.append(index, 1000 + index, None, value, [])
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def marker(base: int, producer: int, kind: int) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, 0, 1, producer, 0, -1, 1 << 20)
    builder.append(0, 1000, struct.pack(">hh", 0, kind), b"\0\0\0\0\0\0", [])
    made = bytearray(builder.build())
    made[22] |= 0x20  # the attribute bit that marks a control batch
    struct.pack_into(">I", made, 17, calc_crc32c_py(bytes(made[21:])))
    return base.to_bytes(8, "big") + bytes(made[8:])


#: Offsets 0 to 14; producer 7 aborts, commits and aborts, producer 8 commits, between records of neither.
LOG = [
    of_transaction(0, 7, [b"aborted", b"aborted"]),
    of_transaction(2, 8, [b"c", b"d"]),
    batch(4, [b"e"]),
    marker(5, 7, ABORT),
    of_transaction(6, 7, [b"g", b"h"]),
    marker(8, 7, COMMIT),
    marker(9, 8, COMMIT),
    of_transaction(10, 7, [b"aborted"]),
    batch(11, [b"l"]),
    of_transaction(12, 7, [b"aborted"]),
    marker(13, 7, ABORT),
]
TRANSACTIONS = [(7, 0), (7, 10)]  # those that were aborted: producer, first offset


@pytest.mark.parametrize("most", [1, 2, 100])
@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("isolation", [READ_UNCOMMITTED, READ_COMMITTED])
def test_records_of_transactions_are_those_of_aiokafka(most: int, first: int, isolation: int) -> None:
    def read(kind: Any, reader: Any) -> tuple[list[tuple[int, bytes]], int, State]:
        data = b"".join(LOG[first:])
        begin = int.from_bytes(data[:8], "big")
        state = State(begin)
        aborted = [each for each in TRANSACTIONS if each[1] >= begin or begin <= 5]
        source = PartitionRecords(TP, LenientRecords(data), aborted, begin, None, reader, True, isolation)
        found = kind(TP, assignment=state, partition_records=source, backoff=0.0)
        records: list[tuple[int, bytes]] = []
        while found.has_more():
            records += [(record.offset, record.value) for record in found.getall(most)]
        return records, state.position, state

    expected, end, _ = read(Stock, None)
    got, position, state = read(BulkFetchResult, AS_PARSED)
    assert (got, position) == (expected, end)
    assert position == 14
    assert (b"aborted" in dict(got).values()) == (isolation == READ_UNCOMMITTED)
    # What lies behind the last record, and is none: what lag and commits pass.
    assert vars(state)["tocsin_passed_over"] == (got[-1][0] + 1, 14)


def test_a_wrong_checksum_gives_stand_ins_and_the_rest_is_fetched_again() -> None:
    data = bytearray(batch(0, [b"a", b"b"]) + batch(2, [b"c", b"d"]) + batch(4, [b"e"]))
    data[len(batch(0, [b"a", b"b"])) + 70] ^= 1
    found, state = result(BulkFetchResult, bytes(data), 0)
    assert [record.value for record in found.getall(2)] == [b"a", b"b"]
    stand_ins = found.getall(2)
    assert [(it.offset, it.corrupt, it.value) for it in stand_ins] == [(2, True, None), (3, True, None)]
    assert all(isinstance(it, UnreadableRecord) for it in stand_ins)
    assert found.getall(2) == []
    assert state.position == 4
    assert not found.has_more()  # so that the rest is fetched again: the length may have been wrong


def test_stock_aiokafka_raises_at_a_wrong_checksum_and_moves_nothing() -> None:
    """The control."""
    data = bytearray(batch(0, [b"a", b"b"]))
    data[-1] ^= 1
    found, state = result(Stock, bytes(data), 0, marker=None, records=MemoryRecords)
    with pytest.raises(CorruptRecordException):
        found.getall(2)
    assert state.position == 0


def test_records_of_an_assignment_that_ended_are_not_handed_out() -> None:
    found, state = result(BulkFetchResult, batch(0, [b"a"]), 0)
    state.active = False
    assert found.getall() == []
    assert not found.has_more()


def test_leader_epochs_are_told_before_their_records_are_handed_out() -> None:
    def of(epoch: int, base: int) -> bytes:
        return batch(base, [b"a", b"b"])[:12] + epoch.to_bytes(4, "big") + batch(base, [b"a", b"b"])[16:]

    told: list[tuple[int, int, int]] = []
    state = State(0)
    tell_epochs(
        SimpleNamespace(_subscription=SimpleNamespace(subscription=SimpleNamespace(assignment=state))),
        lambda *met: told.append(met),
    )
    data = LenientRecords(of(3, 0) + of(3, 2) + of(5, 4))
    source = PartitionRecords(TP, data, None, 0, None, AS_PARSED, True, READ_UNCOMMITTED)
    found = BulkFetchResult(TP, assignment=state, partition_records=source, backoff=0.0)
    assert told == []
    assert [record.offset for record in found.getall(2)] == [0, 1]
    assert told == [(3, 3, 0)]
    assert [record.offset for record in found.getall(None)] == [2, 3, 4, 5]
    assert told == [(3, 3, 0), (3, 5, 4)]


async def test_a_real_consumer_has_an_assignment_that_can_be_told_of() -> None:
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    consumer.assign([TP])
    tell_epochs(consumer, lambda *_: None)
    assert consumer._subscription.subscription.assignment.tocsin_on_epoch
    await consumer.stop()


def test_control_batches_are_stepped_over() -> None:
    builder = _DefaultRecordBatchBuilderPy(2, 0, 1, 7, 0, 0, 1 << 20)
    builder.append(0, 1000, b"\0\0\0\1", b"\0\0\0\0\0\0", [])
    control = bytearray(builder.build())
    control[22] |= 0x20  # the attribute bit that marks a control batch
    data = bytes(control) + batch(1, [b"a"])
    source = PartitionRecords(TP, LenientRecords(data), None, 0, None, AS_PARSED, False, READ_UNCOMMITTED)
    found = BulkFetchResult(TP, assignment=State(0), partition_records=source, backoff=0.0)
    assert [(record.offset, record.value) for record in found.getall()] == [(1, b"a")]


def test_the_fetcher_makes_them_by_the_name_that_is_replaced() -> None:
    install_bulk_records()
    assert fetcher.FetchResult is BulkFetchResult
    assert "FetchResult" in fetcher.Fetcher._proc_fetch_request.__code__.co_names


def test_keys_headers_and_missing_values_count_for_the_size() -> None:
    plain = SimpleNamespace(key=None, value=b"12345", headers=[])
    assert size_of([plain, plain]) == 2 * (64 + 5)
    assert size_of(
        [plain, SimpleNamespace(key=b"kk", value=None, headers=[("abc", b"x" * 90), ("n", None)])]
    ) == (64 + 5 + 64 + 2 + 3 + 90 + 1)


def test_the_parser_alone_has_the_attributes_that_are_used() -> None:
    (record,) = MemoryRecords(batch(5, [b"a"])).next_batch()
    assert (record.offset, record.timestamp, record.key, record.value) == (5, 1000, b"k0", b"a")
    assert list(record.headers) == [("name", b"h")]


def test_what_a_consumer_holds_is_counted_as_it_came() -> None:
    first, _ = result(BulkFetchResult, batch(0, [b"a" * 1000]), 0)
    second, _ = result(BulkFetchResult, batch(0, [b"b" * 500]), 0)
    fetched = {
        TP: first,
        TP._replace(partition=4): second,
        TP._replace(partition=5): FetchError(error=None, backoff=0),
    }
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(_records=fetched))
    assert held_by(consumer) == len(batch(0, [b"a" * 1000])) + len(batch(0, [b"b" * 500]))


async def test_a_real_consumer_keeps_what_it_fetched_and_its_wait_where_they_are_looked_for() -> None:
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    consumer._fetcher = fetcher.Fetcher(consumer._client, consumer._subscription, fetch_max_wait_ms=500)
    fetched, _ = result(BulkFetchResult, batch(0, [b"a" * 1000]), 0)
    assert held_by(consumer) == 0
    consumer._fetcher._records[TP] = fetched
    assert held_by(consumer) == len(batch(0, [b"a" * 1000]))
    assert consumer._fetcher._fetch_max_wait_ms == 500
    wait_at_broker(consumer, 20)
    assert consumer._fetcher._fetch_max_wait_ms == 20
    for name in ("_records", "_fetch_max_wait_ms"):
        assert name in fetcher.Fetcher._proc_fetch_request.__code__.co_names or (
            name in fetcher.Fetcher._get_actions_per_node.__code__.co_names
        )
    await consumer.stop()


@pytest.fixture
def no_collection() -> Iterator[None]:
    """No garbage collector, so that only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Referring(BulkFetchResult):
    """The control: refers back to itself by a method of its own, as it once did."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        assert self._unread is not None
        self._unread._passed = self.has_more


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("kind", [BulkFetchResult, Referring])
@pytest.mark.parametrize("calls", [0, 1, 2])
def test_what_was_fetched_is_freed_with_its_fetch_result(kind: type[BulkFetchResult], calls: int) -> None:
    found, _ = result(kind, batch(0, [b"a", b"b"]) + batch(2, [b"c"]), 0)
    freed = [weakref.ref(found), weakref.ref(found._partition_records), weakref.ref(found._unread)]
    for _ in range(calls):
        found.getall(2)
    assert found.has_more() == (calls < 2)
    del found
    is_freed = [each() is None for each in freed]
    assert all(is_freed) if kind is BulkFetchResult else not is_freed[0]


@pytest.mark.usefixtures("no_collection")
def test_what_was_fetched_to_leave_out_what_is_corrupt_is_freed_too() -> None:
    told: list[Any] = []
    leaves_out = LeavesOut(lambda *place: told.append(place))
    found, state = result(BulkFetchResult, batch(0, [b"a", b"b"]), 0, marker=leaves_out)
    freed = [weakref.ref(found), weakref.ref(found._partition_records)]
    assert drained(found, state, 1)[1][-1] == 2
    del found
    assert [each() for each in freed] == [None, None]
