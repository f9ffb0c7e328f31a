"""What several commands share: options, safe text, lines to standard output, signals."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import re
import select
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click
import orjson

from streams.notifications.priority import Priority
from streams.notifications.visible import is_hidden
from streams.notifications.visible import visible as visible  # noqa: PLC0414

# ---------------------------------------------------------------- options

brokers_option = click.option(
    "--brokers", metavar="HOST:PORT,...", help="Kafka bootstrap addresses.  [default: TOCSIN_BROKERS]"
)


class Duration(click.ParamType):
    """A time span such as ``90s``, ``10m``, ``1h30m`` or ``2d``, in seconds."""

    name = "duration"
    _units: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of ``value``."""
        if isinstance(value, int | float):
            return float(value)
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is not a time span; write it as 90s, 10m, 1h30m or 2d.", param, ctx)
        return sum(float(number) * self._units[unit] for number, unit in parts)


class PriorityName(click.ParamType):
    """A priority by its name, in any case."""

    name = "priority"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Priority:
        """The priority that ``value`` names."""
        found = Priority.parse(str(value))
        if found is None:
            self.fail(f"{value!r} is unknown; use one of {', '.join(Priority).lower()}.", param, ctx)
        return found


# ---------------------------------------------------------------- text


def visible_bytes(content: bytes) -> str:
    """Bytes as UTF-8 text; what is not UTF-8, or not safe to show, is escaped."""
    return visible(content.decode("utf-8", "backslashreplace"))


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters of ``text``."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def utc(time_ms: int | None) -> str:
    """Milliseconds since 1970 as an RFC 3339 time; ``-`` when it is no time."""
    if time_ms is None or time_ms < 0:
        return "-"
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return "-"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_line(value: bytes | None) -> str | None:
    r"""A JSON object as it was written, in one line; None when it is none.

    Only what JSON allows without changing the meaning is done: line ends between tokens become blanks, and
    unsafe characters (which are within strings, there) become ``\u`` escapes. An object that lies in a JSON
    string is taken out.
    """
    try:
        found = orjson.loads((value or b"").removeprefix(b"\xef\xbb\xbf"))
        text = (value or b"").removeprefix(b"\xef\xbb\xbf").decode()
        if isinstance(found, str):
            text, found = found, orjson.loads(found)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    line = text.strip().translate({0x0A: " ", 0x0D: " ", 0x09: " "})
    if line.isascii() and line.isprintable():
        return line
    return "".join(_json_escape(c) if is_hidden(c) else c for c in line)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


# ---------------------------------------------------------------- output and signals


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


def run(main: Coroutine[Any, Any, int], *, interrupted: int) -> int:
    """Run ``main`` to its exit code; SIGINT and SIGTERM cancel it.

    Args:
        main: what to run.
        interrupted: exit code when a signal ended it.
    """

    async def guarded() -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(main)
        signalled = False

        def cancel() -> None:
            nonlocal signalled
            signalled = True
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            # Not the main thread, in a test: no signals there.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, cancel)
        try:
            return await task
        except asyncio.CancelledError:
            if signalled:
                return interrupted
            raise

    # What aiokafka logs on its way to a failure is said by our own sentence.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with quiet_pipe():
        try:
            return asyncio.run(guarded())
        except KeyboardInterrupt:
            return interrupted
