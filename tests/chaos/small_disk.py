"""A small disk of its own (tmpfs) for a data folder: it can be full, and it can become read-only."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_TIMEOUT_S = 20.0
_CHUNK = 64 * 1024


class MountRefusedError(RuntimeError):
    """This machine lets nobody mount a tmpfs here; the text is the reason, fit for a visible skip."""


class SmallDisk:
    """A mounted tmpfs; see `mounted`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> int:
        """Take all the room that is left; returns the bytes taken by the ballast."""
        # Unbuffered: a buffered file would try to write its rest once more at its close, and raise there.
        with self._ballast.open("ab", buffering=0) as file:
            for size in (_CHUNK, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        return self._ballast.stat().st_size

    def make_room(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    def read_only(self, on: bool) -> None:
        """Remount read-only or writable; read-only is refused while a file is open for writing."""
        _run("mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.path))


@contextlib.contextmanager
def mounted(path: Path, size: int) -> Iterator[SmallDisk]:
    """Mount a tmpfs of `size` bytes on the folder `path` for the time of the block.

    Raises `MountRefusedError` where the process lacks the rights.
    """
    path.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tocsin-test", str(path))
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: a process that was killed a moment ago may still hold files.
        _run("umount", "-l", str(path))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise MountRefusedError(f"no command {command[0]} on this machine") from error
    if done.returncode:
        raise MountRefusedError(f"uid {os.getuid()} may not {' '.join(command)}: {done.stderr.strip()}")
