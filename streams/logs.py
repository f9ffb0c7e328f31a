"""Logging of a worker: lines on standard error, as text or JSON, with control characters escaped."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson

from streams.settings import Settings

_QUIET = {
    # Faust and aiokafka say at INFO what an operator can do nothing with.
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    # Faust logs the start and stop of each service under the module of its class.
    "streams.transport.faust_private": logging.ERROR,
    "aiokafka": logging.WARNING,
    "aiokafka.consumer.group_coordinator": logging.ERROR,
    # It warns that topics are not its to create: the self-check creates them.
    "faust.transport.drivers.aiokafka": logging.ERROR,
}


class _OneLine(logging.Formatter):
    """One line a record, whatever the message holds."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.exc_info else text.replace("\r", "\\r").replace("\n", "\\n")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(settings: Settings) -> None:
    """Send log lines to standard error in the form that the settings ask for."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(
            _OneLine("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    if settings.log_level != "DEBUG":
        for name, level in _QUIET.items():
            logging.getLogger(name).setLevel(level)
