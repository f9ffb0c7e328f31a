"""The driver that appends messages to a file, one line of JSON each."""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from streams.outgoing import Outgoing
from streams.publishing.buffered import ThreadDriver
from streams.settings import ConfigurationError, Settings

#: Seconds between two tries to write.
_AGAIN_S = 0.5


class FileDriver(ThreadDriver):
    """Appends to a file; a full one becomes ``<path>.1``, what had that name ``<path>.2``, and so on.

    A thread writes, so a disk that hangs holds up nobody; while it is full, or cannot be written for another
    reason, messages are kept and tried again. Several processes may write to one file. A line
    that a crash has torn stays alone: what is written next begins on a new line.
    ``tocsin publish <path>`` publishes what is in a file.

    Args:
        settings: not used.
        path: of the file; its folder must exist.
        max_bytes: size that a file does not pass, unless one message alone is larger.
        keep: files of earlier messages that are kept.
        fsync: whether a message counts as delivered only once it would survive a power failure.
        buffer_bytes: bound of the messages not yet written.
        max_wait_s: the longest that ``push`` and ``apush`` hold up the caller. ``push`` called in
            a thread that runs an event loop never waits.
        max_message_bytes: larger messages fail at once.
        exit_wait_s: how long the interpreter's exit waits for what is still buffered.

    Raises:
        ConfigurationError: the file cannot be opened, or an option cannot be used.
    """

    def __init__(
        self,
        *,
        path: str | os.PathLike[str],
        settings: Settings | None = None,  # noqa: ARG002 -- every driver takes it
        max_bytes: int = 64 * 2**20,
        keep: int = 5,
        fsync: bool = False,
        buffer_bytes: int = 32 * 2**20,
        max_wait_s: float = 0.25,
        max_message_bytes: int = 2**20,
        exit_wait_s: float = 2.0,
    ) -> None:
        if max_bytes < 1 or keep < 0:
            raise ConfigurationError(f"max_bytes={max_bytes}, keep={keep}: use at least 1 and 0.")
        # Absolute: a service that becomes a daemon changes its folder.
        self._path = Path(path).absolute()
        self._max_bytes = max_bytes
        self._keep = keep
        self._fsync = fsync
        super().__init__(
            "file",
            str(self._path),
            buffer_bytes=buffer_bytes,
            max_wait_s=max_wait_s,
            max_message_bytes=max_message_bytes,
            exit_wait_s=exit_wait_s,
        )
        try:
            os.close(self._opened())
        except OSError as error:
            raise ConfigurationError(
                f"The driver file cannot write to {self._path}: {error.strerror or error}."
            ) from error

    def _fresh(self) -> None:
        super()._fresh()
        # In a forked process that of the parent stays open there, and is not used here.
        self._descriptor = -1

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._let_go()

    def _deliver(self, messages: list[Outgoing]) -> None:
        at = 0
        while at < len(messages):
            try:
                with self._writable(len(_line(messages[at]))) as room:
                    end, lines = at, b""
                    while end < len(messages):
                        line = _line(messages[end])
                        if lines and len(lines) + len(line) > room:
                            break
                        lines += line
                        end += 1
                    self._write(lines)
            except OSError as error:
                self._log.warning("%s cannot be written: %s", self._path, error.strerror or error)
                self._let_go()
                self._set_away(True)
                if self._gave_up():
                    return
                self._pause(_AGAIN_S)
            else:
                self._set_away(False)
                self._settled(messages[at:end], None)
                at = end

    def _write(self, lines: bytes) -> None:
        """Write lines as a whole, or raise and take back what was written of them."""
        before = os.fstat(self._descriptor).st_size
        left = memoryview(lines)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            if self._fsync:
                os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise

    @contextmanager
    def _writable(self, wanted: int) -> Iterator[int]:
        """Open the file and lock it among processes; yields the bytes that it has room for."""
        if self._descriptor < 0:
            self._descriptor = self._opened()
        while True:
            # On the file itself: whoever holds it may write to it or rename it.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            found = os.fstat(self._descriptor)
            if not self._is_current(found):
                # Another process has renamed it, or somebody has deleted it.
                self._let_go()
                self._descriptor = self._opened()
                continue
            if found.st_size and found.st_size + wanted > self._max_bytes:
                self._rotate()
                self._let_go()
                self._descriptor = self._opened()
                continue
            break
        try:
            if found.st_size and os.pread(self._descriptor, 1, found.st_size - 1) != b"\n":
                os.write(self._descriptor, b"\n")
            yield self._max_bytes - found.st_size
        finally:
            if self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _is_current(self, found: os.stat_result) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)

    def _rotate(self) -> None:
        if self._keep == 0:
            self._path.unlink(missing_ok=True)
            return
        for number in range(self._keep, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.replace(older)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _line(message: Outgoing) -> bytes:
    """A message as a line: its JSON as it is, or what is no JSON in base64."""
    value = message.value or b""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        text = base64.b64encode(value).decode()
        return orjson.dumps({"topic": message.topic, "base64": text}, option=orjson.OPT_APPEND_NEWLINE)
    if b"\n" in value or b"\r" in value:
        return orjson.dumps(found, option=orjson.OPT_APPEND_NEWLINE)
    return value + b"\n"
