"""Whole numbers in a file that processes map into memory: one writes, others read at once.

Each number is written by itself, in one piece. ``struct.pack_into`` clears all of them first, and a reader
that came by then saw zeros.
"""

from __future__ import annotations

import mmap
from pathlib import Path


class SharedNumbers:
    """So many numbers of 64 bits with a sign, 0 at first.

    Args:
        path: the file; made when missing.
        count: how many.
    """

    def __init__(self, path: Path, count: int) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * count))
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), 8 * count)).cast("q")

    def __setitem__(self, index: int, number: int) -> None:
        """Write one."""
        self._numbers[index] = number

    def all(self) -> list[int]:
        """All of them; each as it was written last."""
        return self._numbers.tolist()
