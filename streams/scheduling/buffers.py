"""Fetched records that wait for service: first in, first out per partition, bounded per class.

Records are opaque. A chunk (what one fetch brought for one partition) is kept as it came and is never copied
on arrival; a batch is a slice of it. The bytes of a chunk count until its last record has been taken, since
until then the chunk keeps all its records in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

R = TypeVar("R")
P = TypeVar("P", bound=Hashable)


class PartitionBuffer(Generic[R]):
    """Chunks of one partition, in offset order, with an index into the first."""

    __slots__ = ("_chunks", "_index", "held_bytes", "length")

    def __init__(self) -> None:
        """Make an empty buffer."""
        self._chunks: deque[tuple[Sequence[R], int, float]] = deque()
        self._index = 0
        #: Bytes of all chunks that have records left.
        self.held_bytes = 0
        #: Records that wait.
        self.length = 0

    def add(self, records: Sequence[R], nbytes: int, now: float = 0.0) -> None:
        """Append a chunk that is not empty and follows the last one; ``now`` is kept with it."""
        self._chunks.append((records, nbytes, now))
        self.held_bytes += nbytes
        self.length += len(records)

    def head(self) -> R:
        """The next record; there must be one."""
        return self._chunks[0][0][self._index]

    def since(self) -> float:
        """When the next record came; there must be one."""
        return self._chunks[0][2]

    def take(self, max_records: int, max_bytes: int | None) -> tuple[list[R], int]:
        """Take the next records, at least one and at most ``max_records``.

        Args:
            max_records: 1 or more.
            max_bytes: bytes to stop at, by the average record size of each chunk (the size of single records
                is not known here); one record is taken even when it is larger. None for no limit.

        Returns:
            The records and their bytes (a chunk's bytes are split evenly over its records, and sum up
            exactly).
        """
        chunks = self._chunks
        batch: list[R] | None = None
        taken = 0
        size = 0
        while chunks and taken < max_records:
            records, nbytes, _ = chunks[0]
            index = self._index
            length = len(records)
            count = min(length - index, max_records - taken)
            if max_bytes is not None and nbytes > 0:
                fit = int((max_bytes - size) * length / nbytes)
                if fit < count:
                    if fit <= 0:
                        if taken:
                            break
                        fit = 1
                    count = fit
            end = index + count
            part = records[index:end] if index or end < length else records
            if batch is None:
                batch = part if isinstance(part, list) and part is not records else list(part)
            else:
                batch.extend(part)
            taken += count
            if end == length:
                chunks.popleft()
                self._index = 0
                self.held_bytes -= nbytes
                size += nbytes - nbytes * index // length
            else:
                self._index = end
                size += nbytes * end // length - nbytes * index // length
        self.length -= taken
        return batch or [], size


class ClassBuffer(Generic[P, R]):
    """The records of one class that wait, over all assigned partitions.

    The bound: a caller that adds a chunk only while `room_bytes` is above 0 keeps
    ``buffered_bytes < bound_bytes + one chunk`` and ``len(self) < bound_records + one chunk``, whatever the
    lag, the record size and the number of partitions. One that also fetches only what `wants` allows gives
    each partition less than ``bound_bytes / partitions`` plus one chunk.

    Taking costs the same however many partitions there are and however much waits: the ring holds only
    partitions from which records can be taken.
    """

    __slots__ = (
        "_allowance",
        "_bound_bytes",
        "_bound_records",
        "_busy",
        "_hungry",
        "_length",
        "_partitions",
        "_ring",
        "buffered_bytes",
    )

    def __init__(self, bound_bytes: int, bound_records: int | None = None) -> None:
        """Make a buffer without partitions.

        Args:
            bound_bytes: bound of `buffered_bytes`, above 0.
            bound_records: bound of the number of records, above 0; None for no bound of its own.

        Raises:
            ValueError: a bound that is not above 0.
        """
        if bound_bytes < 1 or (bound_records is not None and bound_records < 1):
            raise ValueError("the bounds of a buffer must be above 0")
        self._bound_bytes = bound_bytes
        self._bound_records = bound_records
        self._partitions: dict[P, PartitionBuffer[R]] = {}
        self._ring: deque[P] = deque()
        # A busy partition stays so when it is revoked and assigned again, until its batch is released.
        self._busy: set[P] = set()
        # Partitions that may be fetched, the one that waits longest for data first.
        self._hungry: dict[P, None] = {}
        self._allowance = float(bound_bytes)
        self._length = 0
        #: Bytes of all chunks that have records left.
        self.buffered_bytes = 0

    def __len__(self) -> int:
        """Records that wait."""
        return self._length

    @property
    def ready(self) -> bool:
        """Whether `take` would find records."""
        return bool(self._ring)

    @property
    def partitions(self) -> Iterable[P]:
        """The assigned partitions."""
        return self._partitions.keys()

    @property
    def room_bytes(self) -> int:
        """Bytes that may still be added: the bound less what is buffered; 0 or less means add nothing.

        Below 0 by less than one chunk, if every chunk was added while there was room. 0 as well when the
        bound of records is reached.
        """
        room = self._bound_bytes - self.buffered_bytes
        if room > 0 and self._bound_records is not None and self._length >= self._bound_records:
            return 0
        return room

    def wants(self, partition: P) -> bool:
        """Whether ``partition`` may be fetched, as far as fairness over partitions goes.

        True while it holds nothing, or less than its part of the bound. Room is another matter: ask
        `room_bytes` too. A partition that is assigned while the class is full wants data at once, and gets
        the room that the others, now above their smaller part, give up.
        """
        return partition in self._hungry

    def wanted(self) -> list[P]:
        """The partitions to fetch now, the one that waits longest for data first; none when there is no room.

        Add their chunks only while `room_bytes` is above 0.
        """
        return list(self._hungry) if self.room_bytes > 0 else []

    def heads(self) -> list[R]:
        """The record of every partition that waits longest."""
        return [buffer.head() for buffer in self._partitions.values() if buffer.length]

    def oldest(self) -> tuple[P, float] | None:
        """Of the partitions that can be served now, the one whose head came first, and when that was."""
        waiting = self._partitions
        first = min(self._ring, key=lambda partition: waiting[partition].since(), default=None)
        return None if first is None else (first, waiting[first].since())

    def assign(self, partitions: Iterable[P]) -> None:
        """Accept records of ``partitions`` as well. Those already assigned keep what they hold."""
        for partition in partitions:
            if partition not in self._partitions:
                self._partitions[partition] = PartitionBuffer()
        self._share_out()

    def revoke(self, partitions: Iterable[P]) -> None:
        """Forget ``partitions`` and all their records. Unknown ones are ignored."""
        gone = set()
        for partition in partitions:
            held = self._partitions.pop(partition, None)
            if held is not None:
                gone.add(partition)
                self._length -= held.length
                self.buffered_bytes -= held.held_bytes
        if gone:
            self._ring = deque(partition for partition in self._ring if partition not in gone)
            self._share_out()

    def add(self, partition: P, records: Sequence[R], nbytes: int, now: float = 0.0) -> bool:
        """Append a chunk as fetched: consecutive records of one partition, in offset order.

        Args:
            partition: where they come from.
            records: any sequence that can be sliced; it must not change afterwards.
            nbytes: size of all of them together.
            now: what `oldest` says of them, in seconds.

        Returns:
            False, with nothing kept, when the partition is not assigned (a fetch that comes too late).
        """
        held = self._partitions.get(partition)
        if held is None:
            return False
        count = len(records)
        if count == 0:
            return True
        if held.length == 0 and partition not in self._busy:
            self._ring.append(partition)
        held.add(records, nbytes, now)
        self._length += count
        self.buffered_bytes += nbytes
        self._hungry.pop(partition, None)
        if held.held_bytes < self._allowance:
            self._hungry[partition] = None
        return True

    def take(
        self,
        max_records: int,
        max_bytes: int | None = None,
        *,
        hold: bool = False,
        partition: P | None = None,
    ) -> tuple[P, list[R], int]:
        """Take consecutive records of one partition; the partitions take turns.

        Args:
            max_records: 1 or more.
            max_bytes: see `PartitionBuffer.take`.
            hold: leave the partition out until `release`, so that at most one of its batches is in service.
            partition: take from this one, out of turn; it must be ready, as one that `oldest` names is.

        Returns:
            The partition, its records, their bytes.

        Raises:
            LookupError: there is nothing to take; see `ready`.
        """
        if not self._ring:
            raise LookupError("no partition has records to take")
        if partition is None:
            partition = self._ring.popleft()
        else:
            self._ring.remove(partition)
        held = self._partitions[partition]
        before = held.held_bytes
        records, nbytes = held.take(max_records, max_bytes)
        self._length -= len(records)
        if held.held_bytes != before:
            self.buffered_bytes += held.held_bytes - before
            if held.held_bytes < self._allowance or not held.length:
                self._hungry[partition] = None
        if hold:
            self._busy.add(partition)
        elif held.length:
            self._ring.append(partition)
        return partition, records, nbytes

    def release(self, partition: P) -> None:
        """Let a partition take turns again whose batch was taken with ``hold``."""
        if partition not in self._busy:
            return
        self._busy.remove(partition)
        held = self._partitions.get(partition)
        if held is not None and held.length:
            self._ring.append(partition)

    def _share_out(self) -> None:
        """Compute again what each partition may hold, and who may be fetched."""
        self._allowance = self._bound_bytes / max(1, len(self._partitions))
        hungry = {
            partition: None
            for partition, held in self._partitions.items()
            if not held.length or held.held_bytes < self._allowance
        }
        # Those that were waiting keep their places; new ones come after them.
        self._hungry = {partition: None for partition in self._hungry if partition in hungry} | hungry
