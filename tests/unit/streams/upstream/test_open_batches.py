"""Records go into batches that aiokafka has open: to the partition that ``send`` takes, with its outcome."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka import TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataResponse_v0
from aiokafka.record.memory_records import MemoryRecords

from streams.broker.producers.confirmed import ConfirmedProducer
from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords, packed
from streams.upstream.open_batches import OpenBatches

HEADERS = [("ce_id", b"1")]


def know(producer: Any, **partitions: int) -> None:
    """Let the producer know topics with so many partitions, as an answer of a broker does."""
    producer._metadata.update_metadata(
        MetadataResponse_v0(
            [(1, "127.0.0.1", 9092)],
            [(0, topic, [(0, n, 1, [1], [1]) for n in range(count)]) for topic, count in partitions.items()],
        )
    )


@pytest.fixture
async def producer() -> Any:
    """A real one that is not connected: its batches stay where they are."""
    made = aiokafka.AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", max_batch_size=16_000)
    made.client._wait_on_metadata = _nothing
    know(made, t=8)
    yield made
    made._closed = True


async def _nothing(_topic: str) -> None:
    """The topic is known."""


async def sent(producer: Any, key: bytes, value: bytes = b"v") -> TopicPartition:
    """The partition to which ``send`` adds a record."""
    batches = producer._message_accumulator._batches
    before = {place: open_[-1].record_count for place, open_ in batches.items()}
    await producer.send("t", value, key=key, headers=HEADERS)
    [place] = [place for place, open_ in batches.items() if open_[-1].record_count != before.get(place, 0)]
    return place


async def test_the_partition_is_the_one_that_send_chooses(producer: Any) -> None:
    batches = OpenBatches(producer)
    for number in range(100):
        key = b"%016x" % (number * 7919)
        place = await sent(producer, key)
        count = producer._message_accumulator._batches[place][-1].record_count
        for _ in range(2):  # looked up, and remembered
            assert batches.put("t", b"w", key, HEADERS) is not None
        assert producer._message_accumulator._batches[place][-1].record_count == count + 2
        producer._message_accumulator._batches.clear()


async def test_the_record_is_written_as_send_writes_it(producer: Any) -> None:
    place = await sent(producer, b"k", b"value")
    OpenBatches(producer).put("t", b"value", b"k", HEADERS)
    data = bytes(producer._message_accumulator._batches[place][-1].get_data_buffer())
    first, second = list(MemoryRecords(data).next_batch())
    assert (first.key, first.value, first.headers) == (second.key, second.value, second.headers)


async def test_nothing_is_done_without_an_open_batch_that_has_room(producer: Any) -> None:
    batches = OpenBatches(producer)
    assert batches.put("t", b"v", b"k", ()) is None
    place = await sent(producer, b"k")
    assert batches.put("t", b"x" * 50_000, b"k", ()) is None, "it does not fit"
    assert batches.put("t", b"v", b"k", ()) is None, "the client has closed it"
    assert producer._message_accumulator._batches[place][-1].record_count == 1
    assert batches.put("unknown", b"v", b"k", ()) is None


async def test_nothing_is_done_in_a_client_that_is_closed_or_broken(producer: Any) -> None:
    batches = OpenBatches(producer)
    await sent(producer, b"k")
    producer._message_accumulator._exception = KafkaError("out of order")
    assert batches.put("t", b"v", b"k", ()) is None
    producer._message_accumulator._exception = None
    producer._message_accumulator._closed = True
    assert batches.put("t", b"v", b"k", ()) is None


async def test_a_topic_that_grows_has_its_keys_chosen_anew(producer: Any) -> None:
    batches = OpenBatches(producer)
    keys = [b"%016x" % (number * 7919) for number in range(50)]
    for key in keys:
        await sent(producer, key)
        assert batches.put("t", b"v", key, ()) is not None
    know(producer, t=13)
    for key in keys:
        place = await sent(producer, key)
        count = producer._message_accumulator._batches[place][-1].record_count
        assert batches.put("t", b"v", key, ()) is not None
        assert producer._message_accumulator._batches[place][-1].record_count == count + 1


def test_metadata_is_another_dictionary_when_it_is_looked_up_again() -> None:
    """Which is how a topic that has grown is noticed."""
    cluster = ClusterMetadata()
    holder: Any = SimpleNamespace(_metadata=cluster)
    know(holder, t=8)
    before = cluster._partitions
    know(holder, t=8)
    assert cluster._partitions is not before


async def test_a_confirmed_producer_gives_up_such_a_record_when_it_is_replaced(producer: Any) -> None:
    confirmed = ConfirmedProducer("test", {})
    confirmed._producer, confirmed._open = producer, OpenBatches(producer)
    await sent(producer, b"k")
    future = confirmed.put_now(Outgoing("t", b"v", b"k"))
    assert future is not None
    assert future in confirmed._unconfirmed
    producer._closed = True
    await confirmed._end(producer, 1.0)
    assert isinstance(future.exception(), KafkaError)


@pytest.mark.parametrize(
    "record",
    [Outgoing("t", b"v"), Outgoing("t", None, b"k"), Outgoing("t", b"v", b"k", partition=1)],
)
async def test_records_that_are_not_plain_alerts_take_the_usual_way(producer: Any, record: Outgoing) -> None:
    confirmed = ConfirmedProducer("test", {})
    assert confirmed.put_now(record) is None
    confirmed._producer, confirmed._open = producer, OpenBatches(producer)
    await sent(producer, b"k")
    assert confirmed.put_now(record) is None


async def test_records_have_one_future_for_their_batch(producer: Any) -> None:
    batches = OpenBatches(producer)
    place = await sent(producer, b"k", b"first")
    put = [batches.put("t", b"%d" % number, b"k", HEADERS) for number in range(2)]
    batch = producer._message_accumulator._batches[place][-1]
    assert put[0] is put[1]
    assert put[0] is not batch.future
    records = MemoryRecords(bytes(batch.get_data_buffer()))
    written = [(r.key, r.value, r.headers) for r in records.next_batch()]
    assert written == [(b"k", value, HEADERS) for value in (b"first", b"0", b"1")]
    batch.done(40)
    assert put[0] is not None
    assert (await put[0]).offset == 40


async def test_a_batch_that_fails_tells_its_future(producer: Any) -> None:
    batches = OpenBatches(producer)
    place = await sent(producer, b"k")
    future = batches.put("t", b"v", b"k", HEADERS)
    assert future is not None
    batch = producer._message_accumulator._batches[place][-1]
    batch.failure(KafkaError())
    with pytest.raises(KafkaError):
        await future
    told = [batch._drain_waiter, *(each for each, _ in batch._msg_futures)]
    assert all(isinstance(each.exception(), KafkaError) for each in told)


async def test_what_was_given_up_may_be_confirmed_later(producer: Any) -> None:
    """Who gives up a client ends our futures, and the client goes on with its own."""
    batches = OpenBatches(producer)
    place = await sent(producer, b"k")
    future = batches.put("t", b"v", b"k", HEADERS)
    assert future is not None
    future.set_exception(KafkaError("the client was replaced"))
    batch = producer._message_accumulator._batches[place][-1]
    batch.done(40)
    assert (await batch.future).offset == 40
    await asyncio.sleep(0)
    assert isinstance(future.exception(), KafkaError)
    assert batches._shared == {}


def pack(keys: list[bytes], values: list[bytes]) -> PackedRecords:
    records = [packed(key, value, HEADERS) for key, value in zip(keys, values, strict=True)]
    return PackedRecords("t", keys, records)


def waiting(producer: Any) -> dict[TopicPartition, list[list[Outgoing]]]:
    """What waits for each partition, batch by batch."""
    found = {}
    for place, batches in producer._message_accumulator._batches.items():
        found[place] = [
            [
                Outgoing("t", record.value, record.key, None, record.headers)
                for record in MemoryRecords(bytes(batch.get_data_buffer())).next_batch()
            ]
            for batch in batches
        ]
    return found


async def test_packed_records_lie_where_send_puts_them_in_order(producer: Any) -> None:
    keys = [b"%016x" % (number % 9 * 7919) for number in range(50)]
    values = [b"%d" % number for number in range(50)]
    records = pack(keys, values)
    put = OpenBatches(producer).put_packed(records, 0, 50)
    assert sorted(index for _, indexes in put for index in indexes) == list(range(50))
    assert all(indexes == sorted(indexes) for _, indexes in put)
    found = waiting(producer)
    assert len({id(future) for future, _ in put}) == len(put) == len(found) > 1
    for (_, indexes), [batch] in zip(put, found.values(), strict=True):
        assert batch == [records[index] for index in indexes]
    producer._message_accumulator._batches.clear()
    for key in set(keys):
        place = await sent(producer, key)
        assert any(record.key == key for batch in found[place] for record in batch)


async def test_where_packed_records_have_no_room_another_batch_waits_behind(producer: Any) -> None:
    batches = OpenBatches(producer)
    await sent(producer, b"k", b"first")
    values = [b"%d" % number + bytes(3_000) for number in range(12)]
    put = batches.put_packed(pack([b"k"] * 12, values), 0, 12)
    # A record that comes otherwise goes behind them, into the last batch.
    assert batches.put("t", b"last", b"k", HEADERS) is put[-1][0]
    assert [indexes for _, indexes in put] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    futures = [future for future, _ in put]
    [made] = producer._message_accumulator._batches.values()
    made[1].done(40)
    assert (await futures[0]).offset == 40
    assert not futures[1].done()
    [found] = waiting(producer).values()
    assert [len(each) for each in found] == [1, 5, 5, 3]
    assert [record.value for batch in found for record in batch] == [b"first", *values, b"last"]


async def test_a_record_larger_than_a_batch_has_one_of_its_own(producer: Any) -> None:
    batches = OpenBatches(producer)
    put = batches.put_packed(pack([b"k"] * 3, [b"a", bytes(50_000), b"b"]), 0, 3)
    assert [indexes for _, indexes in put] == [[0], [1], [2]]


async def test_what_send_adds_goes_into_the_batch_that_was_opened_for_packed_records(producer: Any) -> None:
    batches = OpenBatches(producer)
    batches.put_packed(pack([b"k"], [b"packed"]), 0, 1)
    future = await producer.send("t", b"sent", key=b"k", headers=HEADERS)
    [made] = producer._message_accumulator._batches.values()
    made[0].done(40)
    assert (await future).offset == 41
    [[found]] = waiting(producer).values()
    assert [record.value for record in found] == [b"packed", b"sent"]


async def test_packed_records_are_not_taken_where_they_could_not_be_sent(producer: Any) -> None:
    batches, records = OpenBatches(producer), pack([b"k"], [b"v"])
    assert batches.put_packed(PackedRecords("unknown", records.keys, records.records), 0, 1) == []
    compressing = aiokafka.AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", compression_type="gzip")
    know(compressing, t=8)
    assert OpenBatches(compressing).put_packed(records, 0, 1) == []
    compressing._closed = True
    producer._message_accumulator._closed = True
    assert batches.put_packed(records, 0, 1) == []
    producer._message_accumulator._closed = False
    assert len(batches.put_packed(records, 0, 1)) == 1
