"""The driver that writes each message to Python's log."""

from __future__ import annotations

import logging

from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from streams.outgoing import Outgoing
from streams.publishing.driver import DirectDriver
from streams.settings import Settings

_LEVELS = {
    Priority.CRITICAL: logging.CRITICAL,
    Priority.ERROR: logging.ERROR,
    Priority.WARN: logging.WARNING,
    Priority.INFO: logging.INFO,
    Priority.DEBUG: logging.DEBUG,
}


class LogDriver(DirectDriver):
    """Logs ``<topic> <value>``, one line a message, at the level that the topic's last part names.

    Args:
        settings: not used.
        logger: name of the logger.
        max_chars: longer values are cut to this many characters.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,  # noqa: ARG002 -- every driver takes it
        logger: str = "tocsin.notifications",
        max_chars: int = 8192,
    ) -> None:
        super().__init__()
        self._logger = logging.getLogger(logger)
        self._max_chars = max_chars

    def deliver(self, message: Outgoing) -> None:
        """Log one message."""
        priority = Priority.parse(message.topic.rpartition(".")[2])
        level = _LEVELS.get(priority, logging.INFO) if priority else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        text = (message.value or b"")[: self._max_chars * 4].decode("utf-8", "backslashreplace")
        if len(text) > self._max_chars:
            text = text[: self._max_chars] + "…"
        # A line break within would let a publisher forge lines of the log.
        self._logger.log(level, "%s %s", message.topic, visible(text))
