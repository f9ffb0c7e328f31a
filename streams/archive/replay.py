"""Reading archives again: their records in order, each place once."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

from streams.archive.lines import Archived, LineError, archived
from streams.archive.members import MAGIC, Fault, read_members


class Torn(str):
    """The sentence for a file that ends in the middle of what was written: that was not committed."""

    __slots__ = ()


class Places:
    """Which offsets of which partitions were there already; a run of offsets takes the room of one."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], tuple[list[int], list[int]]] = {}

    def add(self, topic: str, partition: int, offset: int) -> bool:
        """Note a place; whether it is new."""
        starts, ends = self._runs.setdefault((topic, partition), ([], []))
        at = bisect_right(starts, offset)
        if at and offset < ends[at - 1]:
            return False
        joins_left = at > 0 and ends[at - 1] == offset
        joins_right = at < len(starts) and starts[at] == offset + 1
        if joins_left and joins_right:
            ends[at - 1] = ends[at]
            del starts[at], ends[at]
        elif joins_left:
            ends[at - 1] = offset + 1
        elif joins_right:
            starts[at] = offset
        else:
            starts.insert(at, offset)
            ends.insert(at, offset + 1)
        return True


def is_archive(start: bytes) -> bool:
    """Whether a file that begins so may be an archive."""
    return start.startswith(MAGIC)


def read_archive(path: Path) -> Iterator[Archived | str]:
    """The records of one file, and a sentence for each part that cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        rest = b""
        for part in read_members(descriptor):
            if isinstance(part, Fault):
                yield _fault(path, part)
                rest = b""
                continue
            *lines, rest = (rest + part.data).split(b"\n")
            for line in lines:
                yield _record(path, line)
        if rest:
            yield f"{path}: its last line is not whole."
    finally:
        os.close(descriptor)


def replayed(paths: Iterable[Path], places: Places) -> Iterator[Archived | str]:
    """The records of several files, those that are there twice once, and sentences as `read_archive` has.

    Args:
        paths: of the files.
        places: what was replayed already; noted here.

    Raises:
        OSError: a file cannot be read.
    """
    for path in paths:
        for found in read_archive(path):
            if isinstance(found, str) or places.add(found.topic, found.partition, found.offset):
                yield found


def _record(path: Path, line: bytes) -> Archived | str:
    try:
        return archived(line)
    except LineError as error:
        return f"{path}: a line is left out: {error}."


def _fault(path: Path, fault: Fault) -> str:
    if fault.end is None:
        return Torn(f"{path}: torn at byte {fault.offset}; what came before is replayed.")
    return f"{path}: damaged from byte {fault.offset} to {fault.end}; what is around it is replayed."
