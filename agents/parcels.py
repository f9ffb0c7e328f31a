"""Records that are confirmed together, with the input offsets that wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from faust.types import TP

from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords
from streams.transport.outstanding import OutstandingOffsets

#: Makes the record to send instead of one that the brokers refuse for its size.
Smaller = Callable[[Outgoing], Outgoing]
#: When the first and the last of some records were published, in milliseconds since 1970.
Published = tuple[int, int]


class Parcel:
    """Records that lie in one batch of the client, in order.

    Attributes:
        number: of the parcel, in the order of sending.
        topic: of the records.
        parts: input partition and offsets, their records, and what makes one smaller.
        floors: for each input partition, the lowest offset of it that has a record here.
        nbytes: that the records are charged with.
        published: input partition, times of the first and the last record, and how many, of those whose
            latency is wanted.
        began: when the first of them was handed over, on the monotonic clock.
    """

    __slots__ = ("began", "floors", "length", "nbytes", "number", "parts", "published", "topic")

    def __init__(self, number: int, topic: str, began: float) -> None:
        self.number = number
        self.began = began
        self.topic = topic
        self.parts: list[tuple[TP, Sequence[int], Sequence[Outgoing] | PackedRecords, Smaller]] = []
        self.floors: dict[OutstandingOffsets, tuple[TP, int]] = {}
        self.published: list[tuple[TP, Published, int]] = []
        self.nbytes = 0
        self.length = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[TP, int, Outgoing, Smaller]]:
        """Each record with its input partition and offset, and what makes it smaller."""
        for tp, offsets, records, smaller in self.parts:
            for offset, record in zip(offsets, records, strict=True):
                yield tp, offset, record, smaller

    def add(
        self,
        tp: TP,
        offsets: Sequence[int],
        records: Sequence[Outgoing] | PackedRecords,
        smaller: Smaller,
        nbytes: int,
        published: Published | None,
    ) -> None:
        """Put records of an input partition behind those that are here."""
        self.parts.append((tp, offsets, records, smaller))
        if published is not None:
            self.published.append((tp, published, len(offsets)))
        self.length += len(offsets)
        self.nbytes += nbytes
