"""Folders of programs that run for minutes, gone when they end, also when they are told to."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn


@contextmanager
def scratch_folder(prefix: str, parent: str | None = None) -> Iterator[Path]:
    """A folder of a program's own.

    SIGTERM and SIGHUP end the program meanwhile as Ctrl-C does, with all that it has to tidy up.

    Args:
        prefix: of its name.
        parent: where it lies; None for where temporary files lie.
    """
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
            yield Path(name)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
