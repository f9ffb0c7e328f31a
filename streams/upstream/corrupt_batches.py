"""Batches that are not as they were written: which offsets they have, and where reading goes on.

A broker keeps and sends batches as bytes, and looks at nothing but their place and length. When a byte has
changed on its disk, the checksum tells, and covers all of a batch but its offset, length and version.
aiokafka raises at such a batch whenever it comes to it, moves nothing, and takes the records of other
partitions along.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, NamedTuple
from weakref import proxy

from aiokafka import TopicPartition

from streams.records import UnreadableRecord
from streams.upstream.unpacking import LEAST_LIMIT

#: Of a batch, before its records.
HEADER: Final = struct.Struct(">qiibIhiqqqhii")
#: Base offset, length.
_BEGINNING: Final = struct.Struct(">qi")
_LENGTH_WITHOUT_RECORDS: Final = HEADER.size - _BEGINNING.size
_VERSION: Final = 2
#: Epoch of the leader, in a batch that stands for what a broker does not find.
_NOT_FOUND: Final = -2
#: Milliseconds between the first and the last record of a batch; with more, neither time is believed.
_LONGEST_MS: Final = 86_400_000
#: Records of a batch whose values are looked for.
_MOST_SALVAGED: Final = 20_000


class Corrupt(NamedTuple):
    """A batch that is corrupt, or a hole in what the broker can read.

    Attributes:
        first: the first of its offsets that was not yet read.
        end: the offset after its last one.
        why: what is wrong.
    """

    first: int
    end: int
    why: str

    def sentence(self, tp: TopicPartition) -> str:
        """What is wrong, with its place."""
        return (
            f"The offsets {self.first} to {self.end - 1} of {tp.topic}, partition {tp.partition}, cannot be "
            f"read ({self.why}): look at the disks of the brokers that hold it"
        )


def judge(
    batch: Any, expected: int, end_of_log: int | None, *, first: bool, checked: bool = True
) -> Corrupt | None:
    """What is wrong with a batch; None when it is as it was written.

    Args:
        batch: of `LenientRecords`.
        expected: offset to read next.
        end_of_log: no offset is as high; None when that is not known.
        first: whether it is the first of an answer: then ``expected`` may lie in its midst.
        checked: whether its checksum is looked at.

    Returns:
        Without offsets when it lies before the one to read next, and is just to be passed over.
    """
    own_end = None
    if not checked or batch.validate_crc():
        base = batch.base_offset
        if base == expected or (first and base < expected):
            return None
        following, end = batch.following, batch.next_offset
        most = end_of_log if following is None or following < expected else following
        if base > expected and end > base and (most is None or end <= most):
            return None  # compaction has left a hole
        why = "its offset is not that of its place"
    else:
        header = batch.header()
        own_end = _own_end(header, expected, end_of_log)
        found = header is not None and header[2] == _NOT_FOUND
        why = "the broker does not find it on its disk" if found else "its checksum is wrong"
    if batch.following == expected:
        return Corrupt(expected, expected, why)
    return Corrupt(expected, own_end or _end(batch, expected, end_of_log), why)


def _own_end(header: tuple[int, ...] | None, expected: int, end_of_log: int | None) -> int | None:
    """The end that the header says, where it says it twice and it can be."""
    if header is None:
        return None
    base, last_delta, number = header[0], header[6], header[12]
    end = base + last_delta + 1
    agrees = bool(last_delta + 1 == number and base <= expected < end)
    return end if agrees and (end_of_log is None or end <= end_of_log) else None


def _end(batch: Any, expected: int, end_of_log: int | None) -> int:
    """The end by what lies behind the batch, or by a part of its header, or just one offset further."""
    following = batch.following
    if following is not None and following > expected and (end_of_log is None or following <= end_of_log):
        return int(following)
    header = batch.header()
    if header is not None:
        base, last_delta, number = header[0], header[6], header[12]
        ends = [base + last_delta + 1, base + number]
        possible = [end for end in ends if end > expected and (end_of_log is None or end <= end_of_log)]
        if base <= expected and possible:
            return int(min(possible))
    return expected + 1


def stand_ins(tp: TopicPartition, corrupt: Corrupt, batch: Any, limit: int) -> Iterator[UnreadableRecord]:
    """One for each offset, with the value that lies there, where that can still be told."""
    header = batch.header()
    timestamp = -1 if header is None else _timestamp(header[7], header[8])
    values = _salvaged(batch, corrupt, limit)
    error = f"the batch of the offsets {corrupt.first} to {corrupt.end - 1} is corrupt, {corrupt.why}"
    return (
        UnreadableRecord(
            tp.topic, tp.partition, offset, error, timestamp, corrupt=True, found=values.get(offset)
        )
        for offset in range(corrupt.first, corrupt.end)
    )


def _timestamp(first_ms: int, last_ms: int) -> int:
    """The last time of a batch, if both of its times are believable; counts live on times, so rather none."""
    return last_ms if 0 <= last_ms - first_ms <= _LONGEST_MS and first_ms > 0 else -1


def _salvaged(batch: Any, corrupt: Corrupt, limit: int) -> dict[int, bytes]:
    """Offset -> value, if the whole batch can be taken apart all the same; nothing else is told of it."""
    if corrupt.end - corrupt.first > _MOST_SALVAGED:
        return {}
    try:
        records, _ = batch.parsed(limit)
        found = {record.offset: record.value for record in records}
    except Exception:  # noqa: BLE001 - it is corrupt
        return {}
    wanted = range(corrupt.first, corrupt.end)
    if not found.keys() >= set(wanted):
        return {}
    return {offset: value for offset, value in found.items() if offset in wanted and value is not None}


def hole(first: int, end: int) -> bytes:
    """A batch that is corrupt, and has the offsets from ``first`` up to ``end`` and nothing else.

    It stands for what a broker has, by its offsets, and does not find on its disk.
    """
    number = end - first
    return HEADER.pack(
        first, _LENGTH_WITHOUT_RECORDS, _NOT_FOUND, _VERSION, 0, 0, number - 1, -1, -1, -1, -1, -1, number
    )


async def next_found(
    finds: Callable[[int], Awaitable[int | None]], offset: int, end_of_log: int
) -> int | None:
    """The first offset from ``offset`` on that a broker finds; None when it finds none before the end.

    It looks a record further, two, four and so on, and then between the last two: a broker finds places by an
    index of each few kilobytes, so it finds all behind the first that it finds.

    Args:
        finds: returns where reading goes on when an offset is asked for, or None.
        offset: where it finds nothing.
        end_of_log: no offset is as high.
    """
    before, step = offset - 1, 0
    while True:
        at = offset + step
        if at >= end_of_log:
            return None
        if (found := await finds(at)) is not None:
            break
        before, step = at, 2 * step or 1
    while at - before > 1:
        between = (before + at) // 2
        if (nearer := await finds(between)) is None:
            before = between
        else:
            at, found = between, nearer
    return found


class CorruptChangelogError(Exception):
    """Counts cannot be recovered, because a batch of a changelog is corrupt."""

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"A batch of a changelog is corrupt on a broker's disk ({error}), so the counts in it cannot be "
            "recovered: let a sound replica lead that partition, start this worker with a data folder that "
            "has the counts, or begin anew (docs/operations.md)."
        )


class LeavesOut:
    """As ``value_deserializer`` it marks a consumer that leaves corrupt batches out, and is told of each.

    Args:
        told: called with the partition and what is left out.
    """

    def __init__(self, told: Callable[[TopicPartition, Corrupt], None]) -> None:
        self.told = told
        #: Called with a stand-in for each of its offsets, once all records before them were handed out.
        self.stand_ins: Callable[[TopicPartition, list[UnreadableRecord]], None] | None = None

    def __call__(self, value: bytes | None) -> bytes | None:
        """Change nothing."""
        return value


class SoundRecords:
    """Stands in for `LenientRecords` in the ``PartitionRecords`` of a consumer that leaves out.

    A batch is judged when the one before it was read, so that ``next_fetch_offset`` may be moved past it.
    """

    def __init__(self, source: Any, end_of_log: int | None, leaves_out: LeavesOut) -> None:
        # The source has this object: referring back, it would keep what was fetched until the garbage
        # collector comes.
        self._source: Any = proxy(source)
        self._records = source._records
        self._end_of_log = end_of_log
        self._leaves_out = leaves_out
        self._ahead: Any = None
        self._first = True

    def size_in_bytes(self) -> int:
        """Bytes fetched."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Whether there is another batch; moves past those that are corrupt."""
        while self._ahead is None and self._records.has_next():
            batch, source = self._records.next_batch(), self._source
            first, self._first = self._first, False
            corrupt = judge(batch, source.next_fetch_offset, self._end_of_log, first=first)
            if corrupt is None:
                self._ahead = batch
                break
            if corrupt.end > corrupt.first:
                self._leaves_out.told(source._tp, corrupt)
                if self._leaves_out.stand_ins is not None:
                    some = list(stand_ins(source._tp, corrupt, batch, LEAST_LIMIT))
                    self._leaves_out.stand_ins(source._tp, some)
                source.next_fetch_offset = corrupt.end
                self._records.give_up()  # its length may be wrong, too
        return self._ahead is not None

    def next_batch(self) -> Any:
        """The next batch that is as it was written, or None."""
        batch, self._ahead = (self._ahead, None) if self.has_next() else (None, None)
        return batch
