"""Records of Python's log become notifications, and never come back as records."""

from __future__ import annotations

import io
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.driver import DirectDriver
from streams.publishing.drivers.log import LogDriver
from streams.publishing.drivers.memory import MemoryDriver
from streams.publishing.drivers.routing import RoutingDriver
from streams.publishing.log_handler import NotificationHandler
from streams.settings import load_settings

BOUND_S = 60.0


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def driver(root: logging.Logger) -> MemoryDriver:
    """What a handler of the root logger publishes to."""
    made = MemoryDriver()
    root.addHandler(NotificationHandler(made, "compute.host1", topic_prefix="n."))
    return made


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, Priority.CRITICAL),
        (logging.ERROR, Priority.ERROR),
        (logging.WARNING, Priority.WARN),
        (logging.INFO, Priority.INFO),
        (logging.DEBUG, Priority.DEBUG),
        (1, Priority.DEBUG),
        (35, Priority.WARN),
        (1000, Priority.CRITICAL),
    ],
)
def test_levels_become_priorities(root: logging.Logger, level: int, priority: Priority):
    driver = MemoryDriver()
    root.setLevel(1)
    root.addHandler(NotificationHandler(driver, "p", topic_prefix="n."))
    logging.getLogger("service").log(level, "said")
    assert [message.priority for message in driver.messages] == [priority]


def test_openstacks_audit_has_its_own(driver: MemoryDriver):
    record = logging.LogRecord("service", logging.INFO + 1, "file.py", 1, "said", (), None)
    record.levelname = "AUDIT"
    logging.getLogger("service").handle(record)
    assert [message.priority for message in driver.messages] == [Priority.AUDIT]


def test_the_payload_is_that_of_oslo(driver: MemoryDriver):
    try:
        int("no such thing")
    except ValueError:
        logging.getLogger("service").exception("%s failed", "it", extra={"extra": {"request_id": "r"}})
    (message,) = driver.messages
    assert (message.topic, message.event_type, message.publisher_id) == (
        "n.error",
        "logrecord",
        "compute.host1",
    )
    payload = message.payload
    assert "ValueError: invalid literal" in payload.pop("exc_info")
    assert payload.pop("pathname").endswith("test_log_handler.py")
    for name in ("lineno", "thread", "process"):
        assert payload.pop(name) > 0
    assert payload == {
        "name": "service",
        "levelno": logging.ERROR,
        "levelname": "ERROR",
        "msg": "it failed",
        "funcName": "test_the_payload_is_that_of_oslo",
        "processName": "MainProcess",
        "extra": {"request_id": "r"},
    }


# --- Never its own records -----------------------------------------------------------------


class Talkative(DirectDriver):
    """Says something in the log for each message, under a name that is not Tocsin's, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def deliver(self, message: Outgoing) -> None:
        self.calls += 1
        logging.getLogger("library.below").error("about to fail")
        raise OSError("no such luck")


def test_what_a_driver_says_while_it_publishes_is_left_out(root: logging.Logger):
    driver = Talkative()
    root.addHandler(NotificationHandler(driver, "p", topic_prefix="n."))
    logging.getLogger("service").error("said")
    assert driver.calls == 1


def test_the_log_driver_does_not_come_back(root: logging.Logger):
    driver = LogDriver(logger="elsewhere")
    root.addHandler(NotificationHandler(driver, "p", topic_prefix="n."))
    logging.getLogger("service").error("said")
    assert driver.stats.pushed == 1


def test_nor_does_it_from_a_thread_of_a_driver(root: logging.Logger):
    routes: dict[str, Any] = {"g": {"log": {}}}
    options = {"log": {"logger": "elsewhere"}}
    with RoutingDriver(settings=load_settings(), routes=routes, options=options) as driver:
        root.addHandler(NotificationHandler(driver, "p", topic_prefix="n."))
        logging.getLogger("service").error("said")
        assert driver.flush(BOUND_S)
        assert driver.stats.pushed == 1


def test_what_tocsin_says_is_left_out(driver: MemoryDriver):
    logging.getLogger("tocsin.publishing.kafka").error("away")
    logging.getLogger("tocsin").error("away")
    logging.getLogger("tocsinlike").error("said")
    assert [message.payload["name"] for message in driver.messages] == ["tocsinlike"]


def test_a_handler_without_the_guard_would_go_round_for_ever(root: logging.Logger):
    class Unguarded(NotificationHandler):
        """The negative control."""

        def filter(self, record: logging.LogRecord) -> Any:
            return logging.Handler.filter(self, record) if driver.calls < 50 else False

    driver = Talkative()
    root.addHandler(Unguarded(driver, "p", topic_prefix="n."))
    logging.getLogger("service").error("said")
    assert driver.calls == 50


# --- Making one ----------------------------------------------------------------------------


def test_a_configuration_of_logging_can_name_it(root: logging.Logger):
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "notify": {
                    "class": "tocsin.NotificationHandler",
                    "driver": "memory",
                    "publisher_id": "compute.host1",
                    "level": "ERROR",
                    "most": 5,
                }
            },
            "loggers": {"service": {"handlers": ["notify"]}},
        }
    )
    logger = logging.getLogger("service")
    try:
        logger.info("too low")
        logger.error("said")
        (handler,) = logger.handlers
        assert isinstance(handler, NotificationHandler)
        assert isinstance(handler.notifier.driver, MemoryDriver)
        assert [message.payload["msg"] for message in handler.notifier.driver.messages] == ["said"]
        handler.close()
        assert handler.notifier.driver.push(Outgoing("t", b"")) is False, "closed with the handler"
    finally:
        logger.handlers.clear()


def test_a_driver_that_was_given_is_not_closed(driver: MemoryDriver, root: logging.Logger):
    root.handlers[-1].close()
    assert driver.push(Outgoing("t", b"")) is True
    with pytest.raises(TypeError, match="most: options are for a driver"):
        NotificationHandler(driver, "p", topic_prefix="n.", most=1)


def test_a_record_that_cannot_be_formatted_harms_nobody(
    driver: MemoryDriver, monkeypatch: pytest.MonkeyPatch
):
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    # Not the root logger, whose other handlers of this test run raise.
    (handler,) = [each for each in logging.getLogger().handlers if isinstance(each, NotificationHandler)]
    for text in ("%d", "fine %s"):
        handler.handle(logging.LogRecord("service", logging.ERROR, "file.py", 1, text, ("no number",), None))
    assert [message.payload["msg"] for message in driver.messages] == ["fine no number"]
    assert "no number" in said.getvalue()


def test_the_publisher_has_a_name(root: logging.Logger):
    handler = NotificationHandler("memory", topic_prefix="n.")
    program, _, host = handler.notifier.publisher_id.partition(".")
    assert program
    assert host
