"""A disk of the tests: at a crash it has what was synced, and it can be full."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from streams.archive.files import Disk


class CrashError(BaseException):
    """The machine has lost its power."""


class ForgetfulDisk(Disk):
    """Keeps in memory what was written, what was synced, and which names were.

    Args:
        crash_at: number of the operation before which it crashes; a write is half done then.
        refuse: numbers of operations that fail for want of room.
    """

    def __init__(self, crash_at: int = -1, refuse: frozenset[int] = frozenset()) -> None:
        self._crash_at = crash_at
        self._refuse = refuse
        self.operations = 0
        #: Descriptor -> what the system has, and what the disk has.
        self._written: list[bytearray] = []
        self._synced: list[bytes] = []
        self._names: dict[Path, int] = {}
        self._synced_names: dict[Path, int] = {}

    def _operation(self) -> None:
        number, self.operations = self.operations, self.operations + 1
        if number == self._crash_at:
            raise CrashError
        if number in self._refuse:
            raise OSError(errno.ENOSPC, "No space left on device")

    def survivors(self) -> list[bytes]:
        """The contents of the files that are there after a crash."""
        return [self._synced[each] for each in self._synced_names.values()]

    def create(self, path: Path) -> int:
        self._operation()
        assert path not in self._names
        self._written.append(bytearray())
        self._synced.append(b"")
        self._names[path] = len(self._written) - 1
        return self._names[path]

    def lock(self, descriptor: int) -> bool:
        return True

    def is_at(self, descriptor: int, path: Path) -> bool:
        return self._names.get(path) == descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        try:
            self._operation()
        except (OSError, CrashError):
            self._written[descriptor] += data[: len(data) // 2]
            raise
        self._written[descriptor] += data

    def cut(self, descriptor: int, size: int) -> None:
        self._operation()
        del self._written[descriptor][size:]

    def sync(self, descriptor: int) -> None:
        self._operation()
        self._synced[descriptor] = bytes(self._written[descriptor])

    def sync_folder(self, folder: Path) -> None:
        self._operation()
        self._synced_names = dict(self._names)

    def rename(self, path: Path, new: Path) -> None:
        self._operation()
        self._names[new] = self._names.pop(path)

    def remove(self, path: Path) -> None:
        self._operation()
        self._names.pop(path, None)

    def close(self, descriptor: int) -> Any:
        return None
