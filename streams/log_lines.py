"""How often a line of the log is written, and what it says about itself to whoever writes the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from streams.forks import renew_after_fork

#: ``extra`` of a line that whoever writes it bounds: it comes at once, or it would come too late.
BOUNDED: Final = {"bounded": True}


@dataclass(slots=True)
class Window:
    """The lines of one kind in a stretch of time.

    Attributes:
        began: seconds.
        written: lines that were admitted.
        left_out: lines that were not.
        last: the last of those.
    """

    began: float
    written: int = 0
    left_out: int = 0
    last: Any = None


class LineLimit:
    """Admits the first lines of each kind, and counts what it leaves out until that is told.

    There are two ways to tell: with the next line of the kind, which begins a new window (`end`), or once a
    window is over, whether or not a line comes (`ended`). Pure: the time is an argument, in seconds. Not
    thread-safe.

    Args:
        first: lines of one kind that are admitted in a window.
        window_s: seconds that a window lasts.
    """

    def __init__(self, first: int, window_s: float) -> None:
        self._first = first
        self._window_s = window_s
        self._windows: dict[Hashable, Window] = {}

    def admits(self, kind: Hashable, now: float, line: Any = None, *, also: bool = True) -> bool:
        """Whether to write a line; if not, it is counted, and kept as the last one.

        Args:
            kind: what is bounded on its own.
            now: the time.
            line: the line.
            also: whether the other limits that the line is under admit it.
        """
        window = self._windows.setdefault(kind, Window(now))
        if also and window.written < self._first:
            window.written += 1
            return True
        window.left_out += 1
        window.last = line
        return False

    def has_room(self, kind: Hashable) -> bool:
        """Whether another line of the kind would be admitted."""
        window = self._windows.get(kind)
        return window is None or window.written < self._first

    def end(self, kind: Hashable, now: float) -> int:
        """End the window of a kind if its time is over; returns how many lines it left out."""
        window = self._windows.get(kind)
        if window is None or now - window.began < self._window_s:
            return 0
        del self._windows[kind]
        return window.left_out

    def ended(self, now: float, most: int) -> Iterator[Window]:
        """End the windows whose time is over, and beyond ``most`` kinds the oldest ones, too.

        A kind of which something was left out goes on in a window in which nothing more is admitted, until
        one passes in which there was nothing to leave out.
        """
        for kind, window in list(self._windows.items()):
            drop = len(self._windows) > most
            if not drop and now - window.began < self._window_s:
                continue
            if window.left_out:
                yield window
            if drop or not window.left_out:
                del self._windows[kind]
            else:
                window.began, window.left_out, window.last = now, 0, None

    @property
    def left_out(self) -> bool:
        """Whether some line is still to be told of."""
        return any(window.left_out for window in self._windows.values())


class LimitedLog:
    """A logger that warns of each kind of trouble at once, then at most once in ``interval_s`` seconds.

    A kind is the text before its arguments are filled in. The next line that is logged says how many of its
    kind were left out. May be used from several threads.

    Args:
        name: of the logger.
        interval_s: seconds between two lines of one kind.
        clock: seconds, only for differences.
    """

    def __init__(
        self, name: str, interval_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logging.getLogger(name)
        self._limit = LineLimit(1, interval_s)
        self._clock = clock
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Make the lock anew: in a forked process nobody would release the old one."""
        self._lock = threading.Lock()

    def warning(self, text: str, *args: object) -> bool:
        """Log ``text % args`` as a warning, unless one of its kind was logged just now; never raises.

        Returns:
            Whether a line was logged.
        """
        now = self._clock()
        with self._lock:
            left_out = self._limit.end(text, now)
            if not self._limit.admits(text, now):
                return False
        try:
            if left_out:
                text, args = text + " (and %d more like this)", (*args, left_out)
            self._logger.warning(text, *args)
        except Exception:  # noqa: BLE001 -- a broken log handler must not take down the service
            return False
        return True
