"""Reads archive files to be replayed: each record once, and whatever cannot be replayed is told of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from streams.archive.files import PART
from streams.archive.lines import Archived, LineError, archived
from streams.archive.members import MAGIC, Fault, read_members
from streams.archive.places import MissingPlaces, SeenPlaces

#: A line that is longer is none of an archive's: nothing behind it is kept in memory.
_MOST_LINE: Final = 128 * 2**20

#: Told of what should be there and is not: how many records, as far as is known, and a sentence.
OnLost = Callable[[int, str], None]


def is_archive(start: bytes) -> bool:
    """Whether a file that begins so may be an archive."""
    return start.startswith(MAGIC)


class ArchiveFiles:
    """The records of some archive files, in the order of the files.

    A record that lies in them twice is given once: an archiver that crashed has written again what it had not
    committed. Twice means the same topic, partition, offset, time and content; a topic that was made again
    under its name is another one.

    Args:
        paths: of the files.
        on_lost: told of what cannot be replayed; at the end of what the archive itself marks as missing.
        on_note: told, in a sentence, what is as it may be after a crash.
    """

    def __init__(self, paths: Sequence[Path], on_lost: OnLost, on_note: Callable[[str], None]) -> None:
        self._paths = paths
        self._on_lost = on_lost
        self._on_note = on_note
        self._seen = SeenPlaces()
        self._missing = MissingPlaces()
        #: Records that were left out, having been given before.
        self.repeats = 0

    def records(self) -> Iterator[Archived]:
        """The records.

        Raises:
            OSError: a file cannot be read.
        """
        for path in self._paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                for each in self._of(path, descriptor):
                    log = each.topic, each.partition, each.topic_id
                    if each.unreadable is not None:
                        self._missing.add(log, each.offset, each.end_offset, each.unreadable)
                    elif self._seen.add(log, each.offset, each.checksum):
                        yield each
                    else:
                        self.repeats += 1
            finally:
                os.close(descriptor)
        for (topic, partition, _), offsets, why in self._missing.without(self._seen):
            where = f"{offsets.start}" if len(offsets) == 1 else f"{offsets.start} to {offsets.stop - 1}"
            self._on_lost(
                len(offsets), f"{topic}, partition {partition}, offset {where}: not in the archive ({why})."
            )

    def _of(self, path: Path, descriptor: int) -> Iterator[Archived]:
        rest, number = b"", 0
        for part in read_members(descriptor):
            if isinstance(part, Fault):
                rest = b""
                if part.end is not None:
                    self._on_lost(1, f"{path}: damaged from byte {part.offset} to {part.end - 1}.")
                elif path.name.endswith(PART):
                    self._on_note(
                        f"{path}: its end is torn, as after a crash; that was not committed, so it is in "
                        "later files."
                    )
                else:
                    self._on_lost(1, f"{path}: damaged from byte {part.offset} to its end.")
                continue
            *lines, rest = (rest + part.data).split(b"\n")
            if part.end is not None and rest:
                lines, rest = [*lines, rest], b""
            for line in lines:
                number += 1
                if not line:
                    continue
                try:
                    yield archived(line)
                except LineError as error:
                    self._on_lost(1, f"{path}, line {number}: {error}.")
            if len(rest) > _MOST_LINE:
                self._on_lost(1, f"{path}, line {number + 1}: it is too long, and not read any further.")
                return
