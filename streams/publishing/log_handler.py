"""Python's log as notifications, after the LoggingNotificationHandler of oslo.messaging."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.notifications.priority import Priority
from streams.publishing.driver import Driver, load_driver
from streams.publishing.notifier import Notifier

if TYPE_CHECKING:
    from streams.settings import Settings

#: The least number of a level for each priority, the most urgent first; what is lower is DEBUG.
_LEVELS = (
    (logging.CRITICAL, Priority.CRITICAL),
    (logging.ERROR, Priority.ERROR),
    (logging.WARNING, Priority.WARN),
    (logging.INFO, Priority.INFO),
)
_OWN = "tocsin"


class NotificationHandler(logging.Handler):
    """Publishes each record of Python's log as a notification.

        logging.getLogger().addHandler(NotificationHandler("kafka", "compute.host1", level=logging.ERROR))

    The payload is that of oslo.messaging's handler: ``name``, ``levelno``, ``levelname``, ``exc_info`` (as
    text), ``pathname``, ``lineno``, ``msg``, ``funcName``, ``thread``, ``processName``, ``process`` and
    ``extra``. The priority is that of the record's level; a level between two of Python's has that of the
    lower one, and one called AUDIT or SAMPLE, as OpenStack has them, its own.

    What Tocsin says itself is left out, and so is whatever is said while a record is published, or in the
    threads of a driver: it would come back for ever. ``emit`` never raises.

    Args:
        driver: a driver, which remains the caller's to close, or the name of one, which this handler closes.
        publisher_id: who sends, as ``worker_type.host``; the name of the program and the host when None.
        event_type: of the notifications.
        level: records below it are left out.
        settings: for the driver and the names of topics; read from the environment when None.
        topic_prefix: names the topics instead.
        options: of a driver that is given by its name.

    Raises:
        ConfigurationError: the driver cannot be made, or the settings cannot be used.
    """

    def __init__(
        self,
        driver: Driver | str = "kafka",
        publisher_id: str | None = None,
        *,
        event_type: str = "logrecord",
        level: int | str = logging.NOTSET,
        settings: Settings | None = None,
        topic_prefix: str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(driver, str):
            driver = load_driver(driver, settings=settings, **options)
            self._closes = True
        elif options:
            raise TypeError(f"{', '.join(options)}: options are for a driver that is given by its name")
        else:
            self._closes = False
        if publisher_id is None:
            publisher_id = f"{Path(sys.argv[0]).stem or 'python'}.{socket.gethostname()}"
        self.notifier = Notifier(publisher_id, driver, settings=settings, topic_prefix=topic_prefix)
        self._event_type = event_type
        self._here = threading.local()
        super().__init__(level)

    def filter(self, record: logging.LogRecord) -> Any:
        """Leave out what Tocsin says itself, before any lock is taken, and what filters leave out."""
        name = record.name
        if name == _OWN or name.startswith(f"{_OWN}."):
            return False
        if getattr(self._here, "publishing", False) or threading.current_thread().name.startswith(f"{_OWN}-"):
            return False
        return super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Publish one record."""
        self._here.publishing = True
        try:
            self.notifier.publish(_priority(record), self._event_type, _payload(record))
        except Exception:  # noqa: BLE001 -- as every handler does it: the service goes on
            self.handleError(record)
        finally:
            self._here.publishing = False

    def close(self) -> None:
        """Close the driver, if it was made here, and let go of the handler."""
        if self._closes:
            self.notifier.driver.close()
        super().close()


def _priority(record: logging.LogRecord) -> Priority:
    if (named := Priority.parse(record.levelname)) in (Priority.AUDIT, Priority.SAMPLE):
        return named
    return next((priority for least, priority in _LEVELS if record.levelno >= least), Priority.DEBUG)


def _payload(record: logging.LogRecord) -> dict[str, Any]:
    trace = record.exc_text
    if trace is None and record.exc_info:
        trace = logging.Formatter().formatException(record.exc_info)
    return {
        "name": record.name,
        "levelno": record.levelno,
        "levelname": record.levelname,
        "exc_info": trace,
        "pathname": record.pathname,
        "lineno": record.lineno,
        "msg": record.getMessage(),
        "funcName": record.funcName,
        "thread": record.thread,
        "processName": record.processName,
        "process": record.process,
        "extra": getattr(record, "extra", None),
    }
