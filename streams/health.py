"""What the probes say about a worker: three questions with different answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from streams.settings import Settings

if TYPE_CHECKING:
    from streams.app import TocsinApp

#: Seconds without a finished batch, while records are buffered, after which a worker is stuck.
_STUCK_S = 60.0


class WorkerHealth:
    """Answers for /livez, /readyz and /startupz, and the figures for /metrics."""

    def __init__(self, app: TocsinApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._draining = False
        self._started = False
        #: What ended the worker, if anything did.
        self.error: BaseException | None = None

    def failed(self, error: BaseException) -> None:
        """The worker cannot go on."""
        self.error = self.error or error

    def draining(self) -> None:
        """The worker was told to stop."""
        self._draining = True
