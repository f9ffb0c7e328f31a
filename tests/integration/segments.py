"""Damage to what a broker has on its disk."""

from __future__ import annotations

import struct
from pathlib import Path

from streams.upstream.corrupt_batches import HEADER

#: What is changed -> place in the batch, and the bit.
FLIPS = {
    "value": (HEADER.size + 20, 0x04),
    "checksum": (17, 0x04),
    "last offset": (26, 0x04),
    "last offset, by far": (23, 0x40),
    "number of records": (60, 0x40),
    "time": (36, 0x40),
    "offset": (7, 0x40),
    "offset, by far": (3, 0x40),
    "length": (11, 0x04),
    "length, by far": (9, 0x40),
}


def flip(data_dir: Path, topic: str, partition: int, what: str, offset: int) -> None:
    """Change one bit of the batch that begins at ``offset`` in the only segment of a partition.

    Args:
        data_dir: of a local Kafka of one broker, which reads its files anew whenever it is asked.
        topic: of the partition.
        partition: its number.
        what: of the batch, one of ``FLIPS``.
        offset: the first one of the batch.
    """
    (segment,) = (data_dir / "broker-1" / "data" / f"{topic}-{partition}").glob("*.log")
    data = segment.read_bytes()
    at = 0
    while (found := struct.unpack_from(">q", data, at)[0]) != offset:
        assert found < offset, f"no batch begins at {offset}"
        at += 12 + struct.unpack_from(">i", data, at + 8)[0]
    place, bit = FLIPS[what]
    with segment.open("r+b") as file:
        file.seek(at + place)
        file.write(bytes([data[at + place] ^ bit]))
