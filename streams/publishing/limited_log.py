"""Logging at a limited rate, so that trouble in publishing does not flood the service's log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable


class LimitedLog:
    """Logs the first line of each kind at once, then at most one per ``interval_s`` seconds.

    A kind is the text before its arguments are filled in. The next line that is logged says
    how many of its kind were left out.
    """

    def __init__(
        self, name: str, interval_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logging.getLogger(name)
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}

    def warning(self, text: str, *args: object) -> bool:
        """Log ``text % args`` as a warning, unless one of its kind was logged just now; never raises.

        Returns:
            Whether a line was logged.
        """
        now = self._clock()
        with self._lock:
            logged_at, left_out = self._seen.get(text, (None, 0))
            if logged_at is not None and now - logged_at < self._interval_s:
                self._seen[text] = (logged_at, left_out + 1)
                return False
            self._seen[text] = (now, 0)
        try:
            if left_out:
                text, args = text + " (and %d more like this)", (*args, left_out)
            self._logger.warning(text, *args)
        except Exception:  # noqa: BLE001 -- a broken log handler must not take down the service
            return False
        return True
