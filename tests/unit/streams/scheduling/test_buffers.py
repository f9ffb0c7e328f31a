"""Buffers and batch sizes: single rules."""

from __future__ import annotations

import pytest

from streams.scheduling.batch_size import BatchSize
from streams.scheduling.buffers import ClassBuffer, PartitionBuffer


def test_batches_run_over_chunk_ends_and_bytes_sum_up():
    buffer = PartitionBuffer()
    buffer.add([0, 1, 2], 10)
    buffer.add(range(3, 5), 7)
    first, size1 = buffer.take(2, None)
    assert first == [0, 1]
    assert buffer.held_bytes == 17, "a chunk counts until its last record is taken"
    rest, size2 = buffer.take(10, None)
    assert rest == [2, 3, 4]
    assert size1 + size2 == 17
    assert buffer.length == buffer.held_bytes == 0


def test_batch_is_not_the_chunk_itself():
    chunk = [1, 2]
    buffer = PartitionBuffer()
    buffer.add(chunk, 2)
    batch, _ = buffer.take(5, None)
    batch.append(3)
    assert chunk == [1, 2]


def test_byte_cap_goes_by_average_size_and_lets_one_record_through():
    buffer = PartitionBuffer()
    buffer.add(list(range(10)), 1000)
    assert buffer.take(100, 350) == ([0, 1, 2], 300)
    assert buffer.take(100, 1) == ([3], 100)
    buffer.add([10], 5000)
    records, _ = buffer.take(100, 700)
    assert records == [4, 5, 6, 7, 8, 9], "the large one does not fit any more"


def test_huge_lazy_chunk_stays_lazy():
    buffer = ClassBuffer(10**15)
    buffer.assign([0])
    buffer.add(0, range(10**12), 10**14)
    assert len(buffer) == 10**12
    assert buffer.take(3)[1] == [0, 1, 2]


def test_partitions_take_turns():
    buffer = ClassBuffer(1000)
    buffer.assign("abc")
    for partition in "abc":
        buffer.add(partition, [partition] * 3, 3)
    assert [buffer.take(1)[0] for _ in range(9)] == list("abcabcabc")
    assert not buffer.ready
    with pytest.raises(LookupError):
        buffer.take(1)


def test_held_partition_is_left_out_until_released_even_across_revoke_and_assign():
    buffer = ClassBuffer(1000)
    buffer.assign("ab")
    buffer.add("a", [1, 2], 2)
    assert buffer.take(1, hold=True)[0] == "a"
    assert not buffer.ready
    buffer.revoke("a")
    buffer.assign("a")
    buffer.add("a", [1], 1)
    assert not buffer.ready
    assert len(buffer) == 1
    buffer.release("a")
    assert buffer.take(1)[:2] == ("a", [1])
    buffer.release("a")
    assert not buffer.ready


def test_release_after_revoke_brings_nothing_back():
    buffer = ClassBuffer(1000)
    buffer.assign("a")
    buffer.add("a", [1, 2], 2)
    buffer.take(1, hold=True)
    buffer.revoke("a")
    buffer.release("a")
    assert (len(buffer), buffer.buffered_bytes, buffer.ready) == (0, 0, False)


def test_late_chunk_of_a_partition_that_is_not_assigned_is_dropped():
    buffer = ClassBuffer(1000)
    buffer.assign("a")
    buffer.revoke("a")
    assert not buffer.add("a", [1], 1)
    assert len(buffer) == 0


def test_empty_chunk_is_ignored():
    buffer = ClassBuffer(1000)
    buffer.assign("a")
    assert buffer.add("a", [], 0)
    assert not buffer.ready


def test_room_counts_bytes_and_records():
    buffer = ClassBuffer(100, bound_records=4)
    buffer.assign("a")
    assert buffer.room_bytes == 100
    buffer.add("a", [1], 90)
    assert buffer.room_bytes == 10
    buffer.add("a", [2], 90)
    assert buffer.room_bytes == -80
    buffer.take(2)
    buffer.add("a", [1, 2, 3, 4], 4)
    assert buffer.room_bytes == 0
    assert buffer.wanted() == []


def test_partition_wants_up_to_its_part_of_the_bound():
    buffer = ClassBuffer(100)
    buffer.assign("ab")
    assert buffer.wants("a")
    buffer.add("a", [1], 49)
    assert buffer.wants("a")
    buffer.add("a", [2], 1)
    assert not buffer.wants("a")
    assert buffer.wants("b")
    buffer.take(1)
    assert buffer.wants("a")
    assert not buffer.wants("z"), "not assigned"


def test_partition_assigned_to_a_full_class_wants_and_the_old_one_does_not():
    buffer = ClassBuffer(100)
    buffer.assign("a")
    buffer.add("a", [1, 2], 100)
    assert buffer.room_bytes == 0
    buffer.assign("b")
    assert buffer.wants("b")
    assert not buffer.wants("a")
    assert buffer.wanted() == []
    buffer.take(2)
    assert buffer.wanted()[0] == "b", "waits longest"


def test_wanted_puts_the_longest_waiting_first():
    buffer = ClassBuffer(1000)
    buffer.assign("abc")
    assert buffer.wanted() == ["a", "b", "c"]
    buffer.add("a", [1], 1)
    assert buffer.wanted() == ["b", "c", "a"]
    buffer.revoke("b")
    assert buffer.wanted() == ["c", "a"]
    buffer.assign("d")
    assert buffer.wanted() == ["c", "a", "d"]


def test_tiny_bound_still_lets_every_partition_in():
    buffer = ClassBuffer(1)
    buffer.assign(range(100))
    assert len(buffer.wanted()) == 100


@pytest.mark.parametrize("bounds", [(0, None), (10, 0)])
def test_bounds_must_be_positive(bounds):
    with pytest.raises(ValueError, match="bounds"):
        ClassBuffer(*bounds)


def test_batch_size_starts_with_one_record_and_at_most_doubles():
    size = BatchSize(0.002, 500)
    sizes = [size.limit]
    for _ in range(10):
        size.learn(size.limit, size.limit * 1e-6)
        sizes.append(size.limit)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 500]


def test_batch_size_settles_at_the_target_time():
    size = BatchSize(0.002, 5000)
    for _ in range(60):
        size.learn(size.limit, 150e-6 + size.limit * 10e-6)
    assert 150e-6 + size.limit * 10e-6 == pytest.approx(0.002, rel=0.05)


def test_batch_size_shrinks_at_once_and_recovers():
    size = BatchSize(0.002, 5000)
    for _ in range(30):
        size.learn(size.limit, size.limit * 10e-6)
    settled = size.limit
    size.learn(size.limit, 0.1)
    assert size.limit <= settled / 50
    for _ in range(40):
        size.learn(size.limit, size.limit * 10e-6)
    assert size.limit == pytest.approx(settled, rel=0.05)


def test_small_batches_neither_grow_nor_shrink_the_limit_much():
    """Single records, dear for the fixed cost of a batch, do not spoil what large batches taught."""
    size = BatchSize(0.002, 5000)
    for _ in range(30):
        size.learn(size.limit, 100e-6 + size.limit * 10e-6)
    settled = size.limit
    size.learn(1, 110e-6)
    assert size.limit >= settled * 0.8
    grown = BatchSize(0.002, 5000)
    for _ in range(100):
        grown.learn(1, 1e-6)
    assert grown.limit == 2, "one record at a time proves nothing about large batches"


def test_batch_size_is_at_least_one_and_ignores_empty_batches():
    size = BatchSize(0.002, 100)
    size.learn(1, 60.0)
    assert size.limit == 1
    size.learn(0, 60.0)
    assert size.limit == 1
    for _ in range(20):
        size.learn(size.limit, 0.0)
    assert size.limit >= 64


@pytest.mark.parametrize("values", [(0, 1), (0.1, 0)])
def test_batch_size_refuses_nonsense(values):
    with pytest.raises(ValueError, match="target"):
        BatchSize(*values)
