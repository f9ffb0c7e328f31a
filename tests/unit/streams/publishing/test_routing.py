"""Several drivers at once, by oslo.messaging's routing file."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_messaging.notify._impl_routing import RoutingDriver as Oslo  # type: ignore[import-untyped]

from streams.outgoing import Outgoing
from streams.publishing import driver as driver_module
from streams.publishing.driver import Stats, load_driver
from streams.publishing.drivers.kafka import KafkaDriver
from streams.publishing.drivers.memory import MemoryDriver
from streams.publishing.drivers.rabbit import RabbitDriver
from streams.publishing.drivers.routing import RoutingDriver
from streams.publishing.notifier import Notifier
from streams.publishing.routes import Routes
from streams.settings import ConfigurationError, load_settings
from tests.unit.streams.publishing.odd_drivers import Hanging

BOUND_S = 60.0

#: As in oslo.messaging's documents.
_FILE = """
group_1:
  messagingv2:
    accepted_events:
      - compute.instance.*
    accepted_priorities: [error, CRITICAL]
  log:
group_2:
  test:
    accepted_priorities:
      - 'inf?'
  noop:
    accepted_events: []
"""


@pytest.fixture(autouse=True)
def _odd_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    def entries(*, group: str) -> list[EntryPoint]:
        where = "tests.unit.streams.publishing.odd_drivers"
        return [EntryPoint(name.lower(), f"{where}:{name}", group) for name in ("Hanging", "Raising")]

    monkeypatch.setattr(driver_module, "entry_points", entries)


def routing(routes: dict[str, Any], **options: Any) -> RoutingDriver:
    return RoutingDriver(settings=load_settings(), routes=routes, **options)


def memory(driver: RoutingDriver, name: str = "memory") -> MemoryDriver:
    found = driver.drivers[name]
    assert isinstance(found, MemoryDriver)
    return found


# --- Rules ---------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "c"])
_PATTERNS = st.lists(
    st.sampled_from(["*", "a.*", "a.b", "A.*", "b.?", "[ab].c", "info", "INFO", "e*"]), max_size=3
)
_RULES = st.fixed_dictionaries({}, optional={"accepted_events": _PATTERNS, "accepted_priorities": _PATTERNS})


@given(
    st.dictionaries(_NAMES, st.dictionaries(_NAMES, _RULES, max_size=3), max_size=3),
    st.sampled_from(["a.b", "a.c", "A.b", "b.c", "b.cc", "", "info"]),
    st.sampled_from(["info", "error", "critical"]),
)
def test_the_same_drivers_as_by_oslo(groups: dict[str, Any], event_type: str, priority: str):
    expected: set[str] = set()
    for group in groups.values():
        expected.update(Oslo._get_drivers_for_message(None, group, event_type, priority))
    found = Routes(groups, "here").drivers_of(event_type, priority)
    assert set(found) == expected
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ({"g": ["log"]}, r"^here, group g: there must be names with values"),
        ([], r"^here: there must be names"),
        ({"g": {"log": {"accepted_event": []}}}, r"group g, driver log: accepted_event is neither"),
        ({"g": {"log": {"accepted_events": "a.*"}}}, r"accepted_events must be a list of patterns"),
        ({"g": {"log": {"accepted_priorities": [1]}}}, r"accepted_priorities must be a list of patterns"),
    ],
)
def test_what_has_another_form_is_refused(groups: Any, sentence: str):
    with pytest.raises(ConfigurationError, match=sentence):
        Routes(groups, "here")


# --- Where they come from ------------------------------------------------------------------


def test_the_file_of_oslo_is_read_as_it_is(tmp_path: Path):
    path = tmp_path / "routing.yaml"
    path.write_text(_FILE)
    settings = load_settings(routing_file=path, rabbit_url="amqp://u:p@127.0.0.1:1/")
    driver = load_driver("routing", settings=settings)
    assert isinstance(driver, RoutingDriver)
    assert {name: type(each).__name__ for name, each in driver.drivers.items()} == {
        "messagingv2": "RabbitDriver",
        "log": "LogDriver",
        "test": "MemoryDriver",
        "noop": "NoopDriver",
    }
    notifier = Notifier("p", driver, topic_prefix="n.")
    notifier.info("compute.instance.create", 1)
    notifier.critical("compute.instance.create", 2)
    notifier.critical("volume.create", 3)
    driver.close(0.0)
    pushed = {name: stats.pushed for name, stats in driver.stats_by_driver.items()}
    assert pushed == {"messagingv2": 1, "log": 3, "test": 1, "noop": 0}


def test_messaging_is_kafka_where_there_is_no_rabbitmq():
    driver = routing({"g": {"messaging": {}}})
    assert isinstance(driver.drivers["messaging"], KafkaDriver)
    other = routing({"g": {"messaging": {}}}, options={"messaging": {"url": "amqp://h"}})
    assert isinstance(other.drivers["messaging"], RabbitDriver)


def test_the_settings_file_has_the_same(tmp_path: Path):
    path = tmp_path / "tocsin.toml"
    path.write_text(
        "[routes.operators.memory]\n"
        'accepted_priorities = ["error", "critical"]\n'
        f"[routes.archive.file]\n[driver_options.file]\npath = '{tmp_path}/n.jsonl'\n"
    )
    settings = load_settings(config_file=path)
    with load_driver("routing", settings=settings) as driver:
        assert isinstance(driver, RoutingDriver)
        notifier = Notifier("p", driver, settings=settings)
        notifier.error("a.b", 1)
        notifier.info("a.b", 2)
        assert driver.flush(BOUND_S)
        assert [message.payload for message in memory(driver).messages] == [1]
        assert driver.stats == Stats(pushed=3, delivered=3)
    assert len((tmp_path / "n.jsonl").read_bytes().splitlines()) == 2
    assert settings.shown()["driver_options"] == {"file": {"path": "********"}}


def test_the_environment_has_the_same_as_json(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOCSIN_ROUTES", '{"g": {"memory": {"accepted_events": ["a.*"]}}}')
    driver = load_driver("routing")
    assert isinstance(driver, RoutingDriver)
    assert list(driver.drivers) == ["memory"]
    monkeypatch.setenv("TOCSIN_ROUTES", "memory")
    with pytest.raises(ConfigurationError, match=r"^TOCSIN_ROUTES: in the environment this is a JSON object"):
        load_driver("routing")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", r"is not valid YAML: .*line 1"),
        ("", r"has no routes: set TOCSIN_ROUTING_FILE"),
        ("g:\n  routing:\n", r"cannot lead to the driver routing itself"),
        ("g:\n  pigeon:\n", r"no publishing driver 'pigeon'"),
        ("!!python/object/apply:os.system ['true']", r"is not valid YAML: could not determine a constructor"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_configuration_error(tmp_path: Path, text: str, sentence: str):
    path = tmp_path / "routing.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=sentence):
        RoutingDriver(settings=load_settings(), file=path)


def test_no_file_two_sources_and_idle_options_are_configuration_errors(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"cannot be read: No such file"):
        RoutingDriver(settings=load_settings(), file=tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"not both"):
        RoutingDriver(settings=load_settings(), file=tmp_path / "none", routes={})
    with pytest.raises(ConfigurationError, match=r"options for the driver file, which no route names"):
        routing({"g": {"memory": {}}}, options={"file": {"path": "x"}})


# --- Drivers that misbehave ----------------------------------------------------------------


def test_one_that_hangs_changes_nothing_for_the_caller_or_the_others(caplog: pytest.LogCaptureFixture):
    driver = routing({"g": {"hanging": {}, "raising": {}, "memory": {}}}, buffer_bytes=400_000)
    hanging = driver.drivers["hanging"]
    assert isinstance(hanging, Hanging)
    notifier = Notifier("p", driver, topic_prefix="n.")
    for number in range(2000):
        notifier.debug("a.b", number)
        if number % 500 == 499:
            # What fills one buffer must not be that the others are slow.
            assert driver._behind["memory"].flush(BOUND_S)
            assert driver._behind["raising"].flush(BOUND_S)
    critical = notifier.critical("a.b", "at last")
    assert driver._behind["memory"].flush(BOUND_S)
    assert driver._behind["raising"].flush(BOUND_S)
    stats = driver.stats_by_driver
    assert stats["memory"] == Stats(pushed=2001, delivered=2001)
    assert stats["raising"] == Stats(pushed=2001, failed=2001)
    assert stats["hanging"].delivered == 0
    assert stats["hanging"].dropped > 500
    assert memory(driver).messages[-1].message_id == critical
    assert driver.flush(0.0) is False
    hanging.let_go.set()
    assert driver.flush(BOUND_S)
    assert driver.stats_by_driver["hanging"].delivered == 2001 - stats["hanging"].dropped
    assert any("Raising" in text or "no such luck" in text for text in caplog.messages)
    driver.close()
    assert any("could not be closed: RuntimeError('nor here')" in text for text in caplog.messages)


def test_close_does_not_wait_for_ever_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch):
    driver = routing({"g": {"hanging": {}, "memory": {}}})
    driver.push(Outgoing("n.info", b'{"event_type": "a.b"}'))
    driver.close(1.0)
    assert driver.stats_by_driver["memory"] == Stats(pushed=1, delivered=1)
    assert driver.push(Outgoing("n.info", b'{"event_type": "a.b"}')) is False
    hanging = driver.drivers["hanging"]
    assert isinstance(hanging, Hanging)
    hanging.let_go.set()


def test_what_no_rule_accepts_goes_nowhere_and_is_counted():
    with routing({"g": {"memory": {"accepted_events": ["a.*"]}}}) as driver:
        assert driver.push(Outgoing("n.info", b'{"event_type": "b.c"}')) is True
        assert driver.push(Outgoing("n.info", b"no json")) is True
        assert (driver.unrouted, driver.stats) == (2, Stats())


def test_what_cannot_be_read_is_routed_by_its_topic():
    with routing({"g": {"memory": {"accepted_priorities": ["error"]}}}) as driver:
        driver.push(Outgoing("n.error", b"no json"))
        driver.push(Outgoing("n.info", b"no json"))
        assert driver.push(None) is False  # type: ignore[arg-type]
        assert driver.flush(BOUND_S)
        assert [message.topic for message in memory(driver).messages] == ["n.error"]


def test_messages_reach_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG), routing({"g": {"log": {}}}) as driver:
        Notifier("p", driver, topic_prefix="n.").warn("a.b", 1)
        assert driver.flush(BOUND_S)
    assert [record.levelno for record in caplog.records if record.name == "tocsin.notifications"] == [
        logging.WARNING
    ]
