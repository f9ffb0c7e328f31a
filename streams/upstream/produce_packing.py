"""Produce requests, packed at once. Uses private parts of aiokafka.

aiokafka (0.14) joins the batches of a request level by level, so that each is copied eight times on its way
to the socket; here half of these copies are left out. Of versions 3 to 7, which are alike; 7 is the newest
that aiokafka speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from aiokafka.protocol import produce
from aiokafka.protocol.types import Array, Schema

#: Length of a text, and of a list.
_SHORT: Final = Struct(">h")
_INT: Final = Struct(">i")
#: Partition, and bytes of its batch.
_PART: Final = Struct(">ii")
_VERSIONS: Final = (
    produce.ProduceRequest_v3,
    produce.ProduceRequest_v4,
    produce.ProduceRequest_v5,
    produce.ProduceRequest_v6,
    produce.ProduceRequest_v7,
)


def install_produce_packing() -> None:
    """Let producers of this process pack so; may be called again."""
    for version in _VERSIONS:
        version.SCHEMA = _QUICK_REQUEST


class _Batches(Array):
    """Topics, their partitions, and a batch for each."""

    def __init__(self, known: Array) -> None:
        self.array_of = known.array_of

    def encode(self, items: Sequence[tuple[str, Sequence[tuple[int, Any]]]] | None) -> bytes:
        packed: list[Any] = [_INT.pack(len(items or ()))]
        for topic, partitions in items or ():
            name = topic.encode()
            packed += _SHORT.pack(len(name)), name, _INT.pack(len(partitions))
            for partition, batch in partitions:
                packed += _PART.pack(partition, len(batch)), batch
        return b"".join(packed)


_STOCK: Final = produce.ProduceRequest_v3.SCHEMA
_QUICK_REQUEST: Final = Schema(
    *(
        (name, _Batches(field) if name == "topics" else field)
        for name, field in zip(_STOCK.names, _STOCK.fields, strict=True)
    )
)
