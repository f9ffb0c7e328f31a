"""A batch of packed records is the one that aiokafka makes of the same records."""

from __future__ import annotations

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from streams.packed_records import packed
from streams.upstream.packed_batches import PackedBatch

TEXTS = st.none() | st.binary(max_size=9) | st.just(b"long" * 3000)
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=8)
RECORDS = st.lists(st.tuples(st.integers(0, 2**41), TEXTS, TEXTS, HEADERS), min_size=1, max_size=9)
MOST = 30_000


@given(RECORDS, st.integers(-1, 2**60), st.integers(-1, 2**14), st.integers(0, 2**30))
def test_it_has_the_bytes_of_aiokafkas_own(
    records: list[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]],
    producer: int,
    epoch: int,
    sequence: int,
) -> None:
    stock, ours = BatchBuilder(MOST, 0), PackedBatch(MOST)
    for at_ms, key, value, headers in records:
        theirs = stock.append(timestamp=at_ms, key=key, value=value, headers=headers)
        found = ours.append(timestamp=at_ms, key=key, value=value, headers=headers)
        assert (theirs is None) == (found is None)
        if theirs is not None:
            assert (found.offset, found.timestamp, found.size) == (
                theirs.offset,
                theirs.timestamp,
                theirs.size,
            )
        assert (ours.closed(), ours.record_count(), ours.size()) == (
            stock.closed(),
            stock.record_count(),
            stock.size(),
        )
    for each in (stock, ours):
        each._set_producer_state(producer, epoch, sequence)
    assert bytes(ours._build()) == bytes(stock._build())
    assert ours.size() == len(ours._build())


def test_many_records_are_added_together() -> None:
    records = [packed(b"k", b"%d" % number) for number in range(10_000)]
    batch = PackedBatch(2**20)
    assert batch.add(records, 1) == 9_999
    batch._set_producer_state(7, 1, 3)
    [whole] = [MemoryRecords(bytes(batch._build())).next_batch()]
    assert whole.validate_crc()
    assert [(record.offset, record.value) for record in whole] == [
        (n - 1, b"%d" % n) for n in range(1, 10_000)
    ]


def test_it_is_closed_where_there_is_no_room() -> None:
    records = [packed(None, bytes(400))] * 4
    batch = PackedBatch(1000)
    assert batch.add(records) == 2
    assert batch.closed()
    assert batch.add(records[:1]) == 0
    assert batch.append(timestamp=None, key=None, value=b"") is None
    assert batch.record_count() == 2


@pytest.mark.parametrize("changed", [0, 5])
def test_a_checksum_tells_a_changed_byte(changed: int) -> None:
    """The control of the comparison with aiokafka's: the checksum is of what it should be."""
    batch = PackedBatch(1000)
    batch.add([packed(b"k", b"v")])
    data = bytearray(bytes(batch._build()))
    data[-1] ^= changed
    assert MemoryRecords(bytes(data)).next_batch().validate_crc() is not bool(changed)
