"""What can be told of a batch that has changed on its way or on a disk, byte by byte and bit by bit."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords

from streams.records import UnreadableRecord
from streams.upstream.bulk_records import AS_PARSED, BulkFetchResult
from streams.upstream.corrupt_batches import Corrupt, LeavesOut, hole, judge, next_found, stand_ins
from streams.upstream.lenient_records import LenientRecords
from tests.unit.streams.upstream.test_bulk_records import State, batch

TP = TopicPartition("notifications.critical", 3)
SIZE = 4
BATCHES = 6
BAD = 2


class Log(State):
    """A partition whose end is known."""

    highwater = SIZE * BATCHES


def values(number: int) -> list[bytes]:
    return [b"%d" % (SIZE * number + index) for index in range(SIZE)]


def whole() -> list[bytes]:
    return [batch(SIZE * number, list(values(number))) for number in range(BATCHES)]


def read(log: list[bytes], reader: object) -> tuple[list[tuple[int, bytes | None]], int]:
    """All of a log, as a broker that finds places by what headers say would give it; offset and value."""
    state, found = Log(0), []
    for _ in range(4 * SIZE * BATCHES):
        if state.position >= Log.highwater:
            break
        # Whole batches, from the one of this offset on.
        data = b"".join(log[min(state.position // SIZE, BATCHES - 1) :])
        source = PartitionRecords(
            TP, LenientRecords(data), None, state.position, None, reader, True, READ_UNCOMMITTED
        )
        result = BulkFetchResult(TP, assignment=state, partition_records=source, backoff=0.0)
        while result.has_more():
            found += [
                (record.offset, None if isinstance(record, UnreadableRecord) else record.value)
                for record in result.getall(3)
            ]
    return found, state.position


#: Bytes of a batch whose change is noticed: all but those of its offset, version, and leader's epoch.
NOTICED = [*range(17, 61), 65, 70]


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("place", NOTICED)
def test_each_offset_of_a_batch_with_a_changed_bit_has_a_stand_in_and_all_others_are_read(
    place: int, bit: int
) -> None:
    log = whole()
    changed = bytearray(log[BAD])
    changed[place] ^= 1 << bit
    log[BAD] = bytes(changed)
    found, position = read(log, AS_PARSED)
    expected = [
        (offset, None if offset // SIZE == BAD else b"%d" % offset) for offset in range(SIZE * BATCHES)
    ]
    assert (found, position) == (expected, SIZE * BATCHES)
    # Again from the midst: the same, as after a restart.
    told: list[Corrupt] = []
    left, position = read(log, LeavesOut(lambda _, corrupt: told.append(corrupt)))
    assert [offset for offset, _ in left] == [offset for offset, value in expected if value is not None]
    assert position == SIZE * BATCHES
    assert {offset for it in told for offset in range(it.first, it.end)} == set(
        range(SIZE * BAD, SIZE * (BAD + 1))
    )


@pytest.mark.parametrize("moved", [8, 64, -3, 2**40])
def test_an_offset_that_is_not_that_of_its_place_is_told(moved: int) -> None:
    """No checksum covers it."""
    log = whole()
    log[BAD] = (SIZE * BAD + moved).to_bytes(8, "big") + log[BAD][8:]
    found, position = read(log, AS_PARSED)
    assert [offset for offset, _ in found] == list(range(SIZE * BATCHES))
    assert [offset for offset, value in found if value is None] == list(range(SIZE * BAD, SIZE * (BAD + 1)))
    assert position == SIZE * BATCHES


@pytest.mark.parametrize("version", [0, 1])
def test_a_batch_of_another_version_is_told(version: int) -> None:
    """When it is the first of an answer; of later ones it is not looked at, and all else is whole."""
    log = whole()
    log[BAD] = log[BAD][:16] + bytes([version]) + log[BAD][17:]
    first = LenientRecords(b"".join(log[BAD:])).next_batch()
    assert judge(first, SIZE * BAD, None, first=True) == Corrupt(8, 12, "its checksum is wrong")
    found, _ = read(log, AS_PARSED)
    assert [offset for offset, _ in found] == list(range(SIZE * BATCHES))


def test_a_hole_that_compaction_left_is_none_of_it() -> None:
    records = LenientRecords(batch(10, [b"a", b"b"]) + batch(20, [b"c"]))
    assert judge(records.next_batch(), 3, 21, first=True) is None
    assert judge(records.next_batch(), 12, 21, first=False) is None


def test_what_still_can_be_told_of_values_is_for_the_dead_letters_alone() -> None:
    data = bytearray(batch(0, [b"one", b"two"]))
    data[-3] ^= 1  # in the header of the last record
    (whole_batch,) = [LenientRecords(bytes(data)).next_batch()]
    corrupt = judge(whole_batch, 0, 2, first=True)
    assert corrupt == Corrupt(0, 2, "its checksum is wrong")
    made = list(stand_ins(TP, corrupt, whole_batch, 2**20))
    assert [(it.offset, it.value, it.found) for it in made] == [(0, None, b"one"), (1, None, b"two")]
    assert [it.timestamp for it in made] == [1001, 1001]
    assert "offsets 0 to 1 of notifications.critical, partition 3" in corrupt.sentence(TP)


def test_times_that_cannot_be_are_not_told() -> None:
    data = bytearray(batch(0, [b"one"]))
    data[35] ^= 0x40  # of the last time: some hundred million years
    whole_batch = LenientRecords(bytes(data)).next_batch()
    corrupt = judge(whole_batch, 0, 1, first=True)
    assert corrupt is not None
    assert [it.timestamp for it in stand_ins(TP, corrupt, whole_batch, 2**20)] == [-1]


def test_a_hole_has_its_offsets_and_nothing_else() -> None:
    made = LenientRecords(hole(7, 5000)).next_batch()
    corrupt = judge(made, 7, 9000, first=True)
    assert corrupt == Corrupt(7, 5000, "the broker does not find it on its disk")
    found = list(stand_ins(TP, corrupt, made, 2**20))
    assert [it.offset for it in found] == list(range(7, 5000))
    assert {(it.found, it.timestamp, it.corrupt) for it in found} == {(None, -1, True)}


@pytest.mark.parametrize("again_from", range(36, 80))
def test_the_first_place_that_is_found_again_is_looked_for(again_from: int) -> None:
    asked: list[int] = []

    async def finds(offset: int) -> int | None:
        asked.append(offset)
        return None if 35 <= offset < again_from else offset

    assert asyncio.run(next_found(finds, 35, 100)) == again_from
    assert len(asked) <= 16


def test_where_nothing_is_found_up_to_the_end_there_is_no_place() -> None:
    async def finds(_: int) -> int | None:
        return None

    assert asyncio.run(next_found(finds, 35, 100)) is None
    assert asyncio.run(next_found(finds, 35, -1)) is None
