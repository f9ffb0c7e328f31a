"""When an arm's agent began to handle each CRITICAL notification that bears a number.

Only the standard library is used, so that an arm in an environment of its own can import this.
"""

from __future__ import annotations

import os
import re
import struct
import time
from pathlib import Path

#: In a notification of the publisher "steady", and in what an arm forwards of it.
NUMBER = re.compile(rb'"bench_number": ?(\d+)')
_ENTRY = struct.Struct("=2q")
#: Name of the file in the folder of an arm's ``RunSpec``.
FILE = "handled"


class HandledTimes:
    """Notes of one arm, in a file that outlives it."""

    def __init__(self, folder: str | Path) -> None:
        """Add to the file in ``folder``; made when missing."""
        self._file = os.open(Path(folder) / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, value: bytes) -> None:
        """The agent takes up this record now; without a number in it, nothing is noted.

        Where the spec says that no record bears one (option ``unnumbered``), arms leave this out.
        """
        now = time.monotonic_ns()
        if match := NUMBER.search(value):
            os.write(self._file, _ENTRY.pack(int(match[1]), now))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read_handled(folder: str | Path) -> dict[int, int]:
    """Monotonic time in ns by number; that of the first time, if a record was handled again."""
    path = Path(folder) / FILE
    times: dict[int, int] = {}
    if path.exists():
        data = path.read_bytes()
        for number, at in _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]):
            times.setdefault(number, at)
    return times
