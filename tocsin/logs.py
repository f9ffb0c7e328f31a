"""Logging of a worker: lines on standard error, as text or JSON, with what cannot be seen escaped.

Warnings and errors that repeat are bounded: an outage of the brokers makes the Kafka client say the same
thousands of times. Of each kind of line the first few are written, and once a minute how many were left out.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson

from streams.log_lines import LineLimit
from streams.notifications.visible import visible, visible_json, visible_lines
from streams.settings import Settings

_QUIET = {
    # Faust and aiokafka say at INFO what an operator can do nothing with.
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    # Faust logs the start and stop of each service under the module of its class.
    "streams.upstream.faust_consumer": logging.ERROR,
    "streams.upstream.faust_consumer_thread": logging.ERROR,
    "streams.upstream.faust_producer": logging.ERROR,
    "streams.upstream.faust_recovery": logging.ERROR,
    "streams.upstream.faust_tables": logging.ERROR,
    "streams.upstream.stores": logging.WARNING,
    "aiokafka": logging.WARNING,
    "aiokafka.consumer.group_coordinator": logging.ERROR,
    # It warns that topics are not its to create: the self-check creates them.
    "faust.transport.drivers.aiokafka": logging.ERROR,
}

#: At DEBUG they log what records hold, passwords among it, whole requests and answers as they are.
_NEVER_DEBUG = ("aiokafka.conn", "aiokafka.producer.producer")

#: Lines of one kind, and of one logger, that are written in a window; and the window in seconds.
_FIRST = 3
_FIRST_OF_LOGGER = 5
_WINDOW_S = 60.0
_OWN = ("tocsin", "agents", "tables", "streams")
#: Kinds that are told apart; beyond them the oldest window ends early.
_MOST_KINDS = 500
#: Characters of a message, and of the end of a traceback; in either may stand what somebody sent.
_MOST_MESSAGE = 10_000
_MOST_TRACEBACK = 20_000
_VARIES = re.compile(r"0x[0-9a-f]+|\d+")


class LimitedHandler(logging.StreamHandler[Any]):
    """Writes lines within limits, and within a minute what it left out, even when no further line comes.

    A kind is a logger and the text of a message before its arguments, numbers aside. The first few of a kind
    are written, then one summary a window, until a window passes in which there was nothing to leave out.
    A library's logger that says many different things is bounded as a whole, too.
    """

    def __init__(self, stream: Any, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._kinds = LineLimit(_FIRST, _WINDOW_S)
        self._libraries = LineLimit(_FIRST_OF_LOGGER, _WINDOW_S)
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        now = self._clock()
        self._summarise(now)
        if self._admits(record, now) or sys.is_finalizing():
            # A thread that is started while the interpreter ends never runs, and Python 3.11 waits for it.
            super().emit(record)
        elif self._timer is None:
            self._start_timer(_WINDOW_S)

    def _admits(self, record: logging.LogRecord, now: float) -> bool:
        if record.levelno < logging.WARNING or getattr(record, "bounded", False):
            return True
        kind = (record.name, _VARIES.sub("#", str(record.msg))[:200])
        if record.name.partition(".")[0] in _OWN:
            return self._kinds.admits(kind, now, record)
        admitted = self._kinds.admits(kind, now, record, also=self._libraries.has_room(record.name))
        self._libraries.admits(record.name, now, also=admitted)
        return admitted

    def _start_timer(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._on_time)
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError:
            self._timer = None  # the interpreter ends: close() tells of what was left out

    def _on_time(self) -> None:
        with self.lock or threading.RLock():
            self._timer = None
            self._summarise(self._clock())
            if self._kinds.left_out:
                self._start_timer(_WINDOW_S / 4)

    def _summarise(self, now: float, *, most_kinds: int = _MOST_KINDS) -> None:
        for window in self._kinds.ended(now, most_kinds):
            super().emit(_summary(window.last, window.left_out, now - window.began))
        for _ in self._libraries.ended(now, _MOST_KINDS):
            pass  # each of their kinds is told of above

    def close(self) -> None:
        """Tell of everything that was left out; called at the end of the process, too."""
        with self.lock or threading.RLock():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._summarise(self._clock(), most_kinds=0)
        super().close()


def _summary(last: logging.LogRecord, number: int, seconds: float) -> logging.LogRecord:
    text = f"{last.getMessage()} … and {number - 1} like it in the last {seconds:.0f} s"
    if number == 1:
        text = last.getMessage()
    made = logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, text, None, None)
    made.exc_info = last.exc_info if number == 1 else None
    return made


class _OneLine(logging.Formatter):
    """One line a record, whatever the message holds; the lines of a traceback follow it."""

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return _cut(visible(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return visible_lines(_end_of(super().formatException(ei)))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(_encodable(record.getMessage())),
        }
        if record.exc_info:
            line["exception"] = _encodable(_end_of(self.formatException(record.exc_info)))
        return visible_json(orjson.dumps(line, default=str).decode())


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_MESSAGE else f"{text[:_MOST_MESSAGE]}…"


def _end_of(text: str) -> str:
    return text if len(text) <= _MOST_TRACEBACK else f"…{text[-_MOST_TRACEBACK:]}"


def _encodable(text: str) -> str:
    # Lone surrogates are no JSON, and a line must not be lost for one.
    return text.encode("utf-8", "backslashreplace").decode()


def configure_logging(settings: Settings) -> None:
    """Send log lines to standard error in the form that the settings ask for."""
    handler = LimitedHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(
            _OneLine("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    quiet = dict.fromkeys(_NEVER_DEBUG, logging.INFO) if settings.log_level == "DEBUG" else _QUIET
    for name, level in quiet.items():
        logging.getLogger(name).setLevel(level)
