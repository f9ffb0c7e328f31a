"""Produce requests, packed at once. Uses private parts of aiokafka.

aiokafka (0.14) joins the batches of a request level by level, so that each is copied eight times on its way
to the socket; here it is copied once when its checksum is known. Of versions 3 to 7, which are alike; 7 is
the newest that aiokafka speaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from aiokafka.protocol import produce
from aiokafka.protocol.types import Schema

from streams.upstream.unjoined import Message, Unjoined

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
    """Let producers of this process pack so; may be called again.

    ``encode`` of a produce request is then a `Message`, which only a connection of aiokafka's can send.
    """
    for version in _VERSIONS:
        version.SCHEMA = _QUICK_REQUEST


class _QuickRequest(Schema):
    """A request with its topics last, their partitions, and a batch for each."""

    def encode(self, item: Sequence[Any]) -> Any:
        """The request as a `Message`, which nothing but the connection that sends it may ask for."""
        *others, topics = item
        pieces: list[Any] = [
            field.encode(value) for field, value in zip(self.fields[:-1], others, strict=True)
        ]
        pieces.append(_INT.pack(len(topics or ())))
        for topic, partitions in topics or ():
            name = topic.encode()
            pieces += _SHORT.pack(len(name)), name, _INT.pack(len(partitions))
            for partition, batch in partitions:
                pieces.append(_PART.pack(partition, len(batch)))
                pieces += batch.pieces if isinstance(batch, Unjoined) else (batch,)
        return Message(pieces)


_STOCK: Final = produce.ProduceRequest_v3.SCHEMA
_QUICK_REQUEST: Final = _QuickRequest(*zip(_STOCK.names, _STOCK.fields, strict=True))
