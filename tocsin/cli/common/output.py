"""Lines to standard output, whose reader may go away."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterable, Iterator

import click


class Output:
    """Lines to standard output, in one write for many; colours only where a terminal shows them."""

    def __init__(self) -> None:
        self._color = False if os.environ.get("NO_COLOR") else None
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal of another encoding is no reason to stop.
            sys.stdout.reconfigure(errors="backslashreplace")

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines.

        Raises:
            BrokenPipeError: the reader has gone.
        """
        text = "".join(f"{line}\n" for line in lines)
        if text:
            click.echo(text, nl=False, color=self._color)

    @staticmethod
    def gone() -> bool:
        """Whether the reader of a pipe has gone, which a writer with nothing to say would not notice."""
        try:
            poll = select.poll()
            poll.register(sys.stdout.fileno(), 0)
            return any(event & select.POLLERR for _, event in poll.poll(0))
        except (OSError, ValueError):
            return False


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """End quietly, with exit code 0, when the reader of standard output goes away."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            # What is left in the buffer would fail once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
