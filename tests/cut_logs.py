"""Logs of a stopped broker that end earlier than they did, as after a power loss with one replica."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

#: First offset of a batch, its length behind these fields, and where the last offset's distance lies.
_HEAD: Final = struct.Struct(">qi")
_LAST_AT: Final = 23
_DATA: Final = "broker-1/data"
#: What a broker makes anew from the segments, once it sees that it did not end in good order.
_DERIVED: Final = ("*.index", "*.timeindex", "*.txnindex", "*.snapshot")


def end_of(kafka: Path, topic: str, partition: int) -> int:
    """The offset after the last record that lies on the disk."""
    end = 0
    for segment in _segments(kafka, topic, partition):
        for _, _, last in _batches(segment.read_bytes()):
            end = last + 1
    return end


def cut(kafka: Path, topic: str, partition: int, end: int) -> None:
    """Let a log end before offset ``end``, or before the batch that it lies in; the broker must not run.

    Args:
        kafka: folder of the local Kafka, of one broker.
        topic: whose log it is.
        partition: of the topic.
        end: the first offset that is gone.
    """
    folder = kafka / _DATA / f"{topic}-{partition}"
    for segment in _segments(kafka, topic, partition):
        data = segment.read_bytes()
        kept = 0
        for _, stop, last in _batches(data):
            if last >= end:
                break
            kept = stop
        segment.write_bytes(data[:kept])
    for pattern in _DERIVED:
        for file in folder.glob(pattern):
            file.unlink()
    # A broker that stopped in good order, or flushed, would trust these more than the segments.
    for name in (".kafka_cleanshutdown", "recovery-point-offset-checkpoint"):
        (kafka / _DATA / name).unlink(missing_ok=True)


def _segments(kafka: Path, topic: str, partition: int) -> list[Path]:
    return sorted((kafka / _DATA / f"{topic}-{partition}").glob("*.log"))


def _batches(data: bytes) -> list[tuple[int, int, int]]:
    """Where each batch begins and stops, and its last offset."""
    found, at = [], 0
    while at + _HEAD.size + _LAST_AT < len(data):
        base, length = _HEAD.unpack_from(data, at)
        if length <= 0:
            break  # what the broker has set aside for more
        stop = at + _HEAD.size + length
        (distance,) = struct.unpack_from(">i", data, at + _LAST_AT)
        found.append((at, stop, base + distance))
        at = stop
    return found
