"""Drivers keep their contract: never raise, never block, count everything."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.notifications.priority import Priority
from streams.outgoing import size_of
from streams.publishing import driver as driver_module
from streams.publishing.driver import DirectDriver, Driver, Outgoing, Stats, load_driver
from streams.publishing.drivers import kafka as kafka_module
from streams.publishing.drivers.kafka import KafkaDriver
from streams.publishing.drivers.log import LogDriver
from streams.publishing.drivers.noop import NoopDriver
from streams.settings import ConfigurationError, load_settings


class FailingDriver(DirectDriver):
    """Raises for every message."""

    def deliver(self, message: Outgoing) -> None:
        raise OSError("no such luck")


@pytest.fixture
def closed_port() -> Iterator[str]:
    """An address that nobody listens on, and nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_noop_counts_and_does_nothing():
    driver = NoopDriver()
    assert driver.push(Outgoing("t", b"1")) is True
    assert driver.stats == Stats(pushed=1, delivered=1)


def test_failing_delivery_is_counted_not_raised():
    driver = FailingDriver()
    assert driver.push(Outgoing("t", b"1")) is False
    assert driver.stats == Stats(pushed=1, failed=1)


async def test_failing_delivery_is_counted_not_raised_for_asynchronous_callers():
    driver = FailingDriver()
    assert await driver.apush(Outgoing("t", b"1")) is False
    assert driver.stats == Stats(pushed=1, failed=1)


def test_failures_are_logged_at_a_limited_rate(caplog: pytest.LogCaptureFixture):
    driver = FailingDriver()
    for _ in range(1000):
        driver.push(Outgoing("t", b"1"))
    assert [record.message for record in caplog.records] == [
        "A message to t could not be delivered: OSError('no such luck')"
    ]


def test_what_is_pushed_after_close_is_dropped():
    driver = NoopDriver()
    driver.close()
    driver.close()
    assert driver.push(Outgoing("t", b"1")) is False
    assert driver.stats == Stats(pushed=1, dropped=1)


@pytest.mark.parametrize(
    ("topic", "level"),
    [
        ("notifications.critical", logging.CRITICAL),
        ("notifications.error", logging.ERROR),
        ("notifications.warn", logging.WARNING),
        ("notifications.info", logging.INFO),
        ("notifications.debug", logging.DEBUG),
        ("elsewhere", logging.INFO),
    ],
)
def test_log_driver_picks_the_level_by_topic(caplog: pytest.LogCaptureFixture, topic: str, level: int):
    with caplog.at_level(logging.DEBUG, "tocsin.notifications"):
        LogDriver().push(Outgoing(topic, b'{"a":1}'))
    (record,) = caplog.records
    assert (record.levelno, record.message) == (level, f'{topic} {{"a":1}}')


def test_log_driver_writes_one_line_whatever_the_bytes(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG, "tocsin.notifications"):
        LogDriver(max_chars=20).push(Outgoing("t.info", b"a\nb\xff\x1b[2J" + b"x" * 50))
        LogDriver().push(Outgoing("t.info", "a\u3164b".encode()))
    record, other = caplog.records
    assert record.message == "t.info a\\nb\\xff\\x1b[2J" + "x" * 9 + "…"
    assert other.message == "t.info a\\u3164b"


def test_drivers_load_by_name(closed_port: str):
    assert isinstance(load_driver("noop"), NoopDriver)
    assert isinstance(load_driver("log", logger="x"), LogDriver)
    assert isinstance(load_driver("kafka", settings=load_settings(brokers=closed_port)), KafkaDriver)


def test_unknown_driver_names_the_available_ones():
    with pytest.raises(
        ConfigurationError,
        match=r"'carrier-pigeon'; available: burrow, file, kafka, log, memory, noop, rabbit, routing",
    ):
        load_driver("carrier-pigeon")


def test_unknown_option_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match=r"'log' does not take these options: .*colour"):
        load_driver("log", colour="red")


def test_installed_drivers_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch):
    def entries(*, group: str) -> list[EntryPoint]:
        assert group == "tocsin.drivers"
        return [
            EntryPoint("mine", "streams.publishing.drivers.noop:NoopDriver", group),
            EntryPoint("gone", "no.such.module:Driver", group),
            EntryPoint("strange", "builtins:dict", group),
        ]

    monkeypatch.setattr(driver_module, "entry_points", entries)
    assert isinstance(load_driver("mine"), NoopDriver)
    with pytest.raises(ConfigurationError, match=r"'gone' .* cannot be imported"):
        load_driver("gone")
    with pytest.raises(ConfigurationError, match=r"'strange' .* is no Driver"):
        load_driver("strange")


# --- The Kafka driver without Kafka --------------------------------------------------------


def kafka_driver(address: str, **options: object) -> KafkaDriver:
    return KafkaDriver(settings=load_settings(brokers=address), **options)  # type: ignore[arg-type]


def test_kafka_driver_starts_nothing_before_the_first_message(closed_port: str):
    before = threading.active_count()
    driver = kafka_driver(closed_port)
    assert threading.active_count() == before
    driver.close()
    assert driver.stats == Stats()


def test_full_buffer_drops_the_newest_and_never_waits_while_brokers_are_away(closed_port: str):
    # With an hour to wait, a push that waited would run into the test's own time limit.
    driver = kafka_driver(closed_port, buffer_bytes=10_000, max_wait_s=3600)
    taken = [driver.push(Outgoing("t", b"x" * 900)) for _ in range(100)]
    assert taken == [True] * 9 + [False] * 91
    assert driver.buffered_bytes <= 10_000
    assert driver.stats == Stats(pushed=100, dropped=91)
    assert driver.flush(0.0) is False
    driver.close(0.0)
    assert driver.stats == Stats(pushed=100, failed=9, dropped=91), "closing gives up what is buffered"
    assert driver.buffered_bytes == 0
    assert driver.push(Outgoing("t", b"x")) is False
    assert driver.stats.dropped == 92


class SilentSender:
    """Takes what it is given, and confirms what goes to the topics named: all others are stuck."""

    confirms: tuple[str, ...] = ()
    ahead = 0

    def __init__(self, _options: object, settled: Any, **_: object) -> None:
        self._settled = settled
        self._taken: list[Outgoing] = []
        SilentSender.ahead = 0

    async def start(self) -> None:
        pass

    def add(self, message: Outgoing) -> None:
        if message.topic in self.confirms:
            self._settled([message], None)
            return
        self._taken.append(message)
        SilentSender.ahead += size_of(message)

    async def close(self, _timeout: float) -> None:
        for message in self._taken:
            self._settled([message], KafkaError("closed"))


class HandsOverAll(KafkaDriver):
    """A broken variant: it hands over more, whatever is on its way."""

    def _held_back(self) -> set[Priority]:
        return set()


class OneBoundForAll(KafkaDriver):
    """Another: what is stuck takes the room of all others."""

    def _held_back(self) -> set[Priority]:
        return set(Priority) if super()._held_back() else set()


DEBUG_MESSAGE = Outgoing("notifications.debug", b"x" * 10_000)
CRITICAL_MESSAGE = Outgoing("notifications.critical", b"y" * 9_000)


def wait_until(reached: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.001)
    return reached()


@pytest.mark.parametrize(("kind", "is_taken"), [(KafkaDriver, True), (HandsOverAll, False)])
def test_in_an_outage_what_is_less_urgent_gives_way(
    monkeypatch: pytest.MonkeyPatch, kind: type[KafkaDriver], is_taken: bool
) -> None:
    """What was handed to the client cannot, so no more of it is than a bound."""
    monkeypatch.setattr(kafka_module, "BatchSender", SilentSender)
    monkeypatch.setattr(SilentSender, "confirms", ())
    bound = 1_000_000
    driver = kind(settings=load_settings(), buffer_bytes=bound, max_wait_s=0.0)
    while driver.push(DEBUG_MESSAGE):
        pass
    assert is_taken or wait_until(lambda: SilentSender.ahead >= driver.buffered_bytes)
    assert driver.push(CRITICAL_MESSAGE) is is_taken
    assert driver.dropped_by_priority.get(Priority.CRITICAL, 0) == (not is_taken)
    if is_taken:
        assert SilentSender.ahead <= bound / 4 + 20_000
    driver.close(0.0)
    assert driver.buffered_bytes == 0


@pytest.mark.parametrize(("kind", "delivers"), [(KafkaDriver, True), (OneBoundForAll, False)])
def test_a_topic_that_takes_nothing_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, kind: type[KafkaDriver], delivers: bool
) -> None:
    monkeypatch.setattr(kafka_module, "BatchSender", SilentSender)
    monkeypatch.setattr(SilentSender, "confirms", (CRITICAL_MESSAGE.topic,))
    driver = kind(settings=load_settings(), buffer_bytes=1_000_000, max_wait_s=0.0)
    while driver.push(DEBUG_MESSAGE):
        pass
    assert wait_until(lambda: SilentSender.ahead >= 1_000_000 / 8)
    assert driver.push(CRITICAL_MESSAGE)
    if delivers:
        assert wait_until(lambda: driver.stats.delivered == 1)
    driver.close(0.0)
    assert driver.stats.delivered == delivers


async def test_full_buffer_does_not_hold_up_asynchronous_callers_either(closed_port: str):
    driver = kafka_driver(closed_port, buffer_bytes=10_000, max_wait_s=3600)
    taken = [await driver.apush(Outgoing("t", b"x" * 900)) for _ in range(12)]
    assert taken == [True] * 9 + [False] * 3
    await driver.aclose(0.0)
    assert driver.stats == Stats(pushed=12, failed=9, dropped=3)


def test_what_kafka_cannot_take_is_refused_alone(closed_port: str):
    driver = kafka_driver(closed_port, max_message_bytes=10_000)
    wrong = [
        Outgoing("t", "text"),  # type: ignore[arg-type]
        Outgoing("t", b"", key="text"),  # type: ignore[arg-type]
        Outgoing("t", b"", headers=(("name", "text"),)),  # type: ignore[arg-type]
        Outgoing("t", b"x" * 20_000),
    ]
    assert [driver.push(message) for message in wrong] == [False] * 4
    assert driver.push(None) is False  # type: ignore[arg-type]
    assert driver.stats == Stats(pushed=5, failed=5)
    driver.close(0.0)


def test_wrong_compression_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="compression='rar'"):
        KafkaDriver(settings=load_settings(), compression="rar")


def test_every_driver_is_a_context_manager_that_closes():
    with NoopDriver() as driver:
        assert isinstance(driver, Driver)
    assert driver.push(Outgoing("t", b"")) is False
