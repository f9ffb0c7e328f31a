"""Files that survive a crash: what `ArchiveWriter.append` has taken is on the disk, under its name.

A file that is written to has the ending ``.part`` and a lock of its writer's; when it is full it loses both.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from streams.archive.members import pack, whole_end
from streams.quantities import quantity

log = logging.getLogger(__name__)

ENDING: Final = ".jsonl.gz"
#: Behind it, of a file that is not finished.
PART: Final = ".part"
_NAMES: Final = 20


class Disk:
    """What is asked of the file system; tests put one in its place that forgets what was not synced."""

    def create(self, path: Path) -> int:
        """Make a file that is not there yet, and open it."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def lock(self, descriptor: int) -> bool:
        """Lock a file among processes, until it is closed; False when another one has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_at(self, descriptor: int, path: Path) -> bool:
        """Whether a file that is open still has that name."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), path.stat())
        return False

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of it at the end."""
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    def cut(self, descriptor: int, size: int) -> None:
        """Take back what lies behind so many bytes, and go on there."""
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)

    def sync(self, descriptor: int) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, path: Path, new: Path) -> None:
        """Give a file another name in its folder."""
        path.rename(new)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink(missing_ok=True)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)


class ArchiveWriter:
    """Appends lines to the files of one archiver; a call waits for one in another thread.

    Args:
        folder: of the files, shared by several archivers.
        name: what their names begin with.
        roll_bytes: size from which on the next lines go to another file.
        roll_s: seconds after which a file is finished.
        disk: the file system.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        roll_bytes: int,
        roll_s: float,
        disk: Disk | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._name = name
        self._roll_bytes = roll_bytes
        self._roll_s = roll_s
        self._disk = Disk() if disk is None else disk
        self._clock = clock
        self._lock = threading.RLock()
        self._path: Path | None = None
        self._descriptor = -1
        self._opened_at = 0.0
        #: Bytes of the file that are on the disk.
        self._size = 0
        #: Bytes that were written to all files.
        self.written = 0

    def append(self, lines: bytes | bytearray) -> None:
        """Write whole lines as one member; when it returns they would survive a power failure.

        Raises:
            OSError: they could not be written, and nothing of them counts as written; may be tried again.
        """
        member = pack(lines)
        with self._lock:
            self._append(member)

    def _append(self, member: bytes) -> None:
        if self.due():
            self.finish()
        if self._path is None:
            self._open()
        try:
            self._disk.write(self._descriptor, member)
        except OSError:
            self._take_back()
            raise
        try:
            self._disk.sync(self._descriptor)
        except OSError:
            # Only what was synced before is known to be on the disk, and a further sync would not tell more.
            self._leave()
            raise
        self._size += len(member)
        self.written += len(member)

    def due(self) -> bool:
        """Whether the file is large or old enough to be finished."""
        if self._path is None or not self._size:
            return False
        return self._size >= self._roll_bytes or self._clock() - self._opened_at >= self._roll_s

    def finish(self) -> None:
        """Give the file its last name; the next lines go to another one. Never raises for the disk."""
        with self._lock:
            self._finish()

    def _finish(self) -> None:
        if self._path is None:
            return
        path, empty = self._path, not self._size
        try:
            if empty:
                self._disk.remove(path)
            else:
                self._disk.rename(path, _finished(path))
                self._disk.sync_folder(self._folder)
        except OSError as error:
            # What is in it is safe under this name; the next archiver that starts here changes it.
            log.warning("%s keeps the ending %s: %s.", path, PART, error.strerror or error)
        self._close()

    def _open(self) -> None:
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        for _ in range(_NAMES):
            path = self._folder / f"{self._name}-{moment}-{secrets.token_hex(4)}{ENDING}{PART}"
            descriptor = self._disk.create(path)
            try:
                # An archiver that starts may have taken it for one that was left behind, and removed it.
                if self._disk.lock(descriptor) and self._disk.is_at(descriptor, path):
                    self._disk.sync_folder(self._folder)
                    self._path, self._descriptor = path, descriptor
                    self._size, self._opened_at = 0, self._clock()
                    return
            finally:
                if self._path is None:
                    with contextlib.suppress(OSError):
                        self._disk.remove(path)
                    self._disk.close(descriptor)
        raise OSError(errno.EBUSY, f"no file of one's own can be made in {self._folder}")

    def _take_back(self) -> None:
        try:
            self._disk.cut(self._descriptor, self._size)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        """Write to the file no more, and leave it as it is."""
        if self._path is not None and not self._size:
            with contextlib.suppress(OSError):
                self._disk.remove(self._path)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor, self._path, self._size = self._descriptor, -1, None, 0
        with contextlib.suppress(OSError):
            self._disk.close(descriptor)


def finish_left_behind(folder: Path, name: str) -> Iterator[str]:
    """Finish the files of archivers that have crashed: cut a torn end off, which was not committed.

    A file that is damaged before its end is left as it is.

    Args:
        folder: of the files.
        name: what their names begin with.

    Yields:
        A sentence for each.

    Raises:
        OSError: the folder cannot be read.
    """
    # Not those of another name that begins with this one.
    suffix = f"-{'[0-9]' * 8}T{'[0-9]' * 6}Z-{'[0-9a-f]' * 8}{ENDING}{PART}"
    for path in sorted(folder.glob(glob.escape(name) + suffix)):
        try:
            sentence = _finish_one(path)
        except OSError as error:
            sentence = f"{path} was left behind, and cannot be finished: {error.strerror or error}."
        if sentence is not None:
            yield sentence


def _finish_one(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        disk = Disk()
        if not disk.lock(descriptor) or not disk.is_at(descriptor, path):
            return None  # somebody writes to it, or has just finished it
        size = os.fstat(descriptor).st_size
        end, sound = whole_end(descriptor)
        if not sound:
            return (
                f"{path} was left behind, and is damaged before its end: look at the disk; "
                "`tocsin publish --raw` replays what can be read of it."
            )
        if not end:
            path.unlink()
            return None if not size else f"{path} was left behind with nothing that was committed: removed."
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
        path.rename(_finished(path))
        disk.sync_folder(path.parent)
        torn = (
            f", less its torn end of {quantity(size - end, 'byte')}, which was not committed"
            if size > end
            else ""
        )
        return f"{path} was left behind by an archiver that crashed: finished{torn}."
    finally:
        os.close(descriptor)


def _finished(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(PART))
