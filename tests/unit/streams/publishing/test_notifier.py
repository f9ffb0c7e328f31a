"""The notifier makes well-formed notifications of anything, and never raises."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Notification
from streams.notifications.priority import Priority
from streams.publishing.driver import DirectDriver, Driver, Outgoing, Stats
from streams.publishing.notifier import AsyncNotifier, Notifier, NotifierStats
from streams.publishing.plain import plain

FIVE = ["critical", "error", "warn", "info", "debug"]
decode = Decoder(Limits()).decode


class Keeping(DirectDriver):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Outgoing] = []

    def deliver(self, message: Outgoing) -> None:
        self.messages.append(message)


class Raising(Driver):
    """Breaks the contract."""

    @property
    def stats(self) -> Stats:
        return Stats()

    def push(self, message: Outgoing) -> bool:
        raise RuntimeError("broken driver")


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def notifier(driver: Driver, kind: type[Any] = Notifier) -> Any:
    return kind("compute.host1", driver, topic_prefix="n.", clock=lambda: 1306015214.621)


@pytest.mark.parametrize("name", FIVE)
def test_each_method_publishes_with_its_priority_to_its_topic(name: str):
    driver = Keeping()
    message_id = getattr(notifier(driver), name)("compute.create_instance", {"instance_id": 12}, key=b"k")
    (message,) = driver.messages
    assert (message.topic, message.key) == (f"n.{name}", b"k")
    assert uuid.UUID(message_id).version == 4
    found = orjson.loads(message.value)
    assert found == {
        "message_id": message_id,
        "publisher_id": "compute.host1",
        "timestamp": "2011-05-21 22:00:14.621000",
        "priority": name.upper(),
        "event_type": "compute.create_instance",
        "payload": {"instance_id": 12},
    }


@pytest.mark.parametrize("name", FIVE)
async def test_asynchronous_methods_do_the_same(name: str):
    driver = Keeping()
    message_id = await getattr(notifier(driver, AsyncNotifier), name)("a.b", [1], context={"user": "me"})
    (message,) = driver.messages
    assert message.topic == f"n.{name}"
    found = orjson.loads(message.value)
    assert (found["message_id"], found["priority"]) == (message_id, name.upper())
    assert (found["payload"], found["_context"]) == ([1], {"user": "me"})


def test_any_priority_can_be_given_and_an_unknown_one_becomes_info():
    driver = Keeping()
    made = notifier(driver)
    for priority in (Priority.AUDIT, "warning", "FATAL"):
        made.publish(priority, "a.b", {})
    assert [message.topic for message in driver.messages] == ["n.audit", "n.warn", "n.info"]
    assert made.stats == NotifierStats(published=3, degraded=1)


def test_topics_follow_the_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOCSIN_NOTIFICATION_TOPIC_PREFIX", "site7.")
    driver = Keeping()
    Notifier("p", driver).info("a.b", {})
    assert driver.messages[0].topic == "site7.info"


def itself() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        ({"a": Unprintable()}, {"a": "<Unprintable that cannot be shown>"}),
        (itself(), [1, "<itself>"]),
        ({"n": 2**70}, {"n": str(2**70)}),
        ({"lone": "\ud800"}, {"lone": "\\ud800"}),
    ],
)
def test_payload_that_json_cannot_hold_is_simplified_and_counted(payload: Any, kept: Any):
    driver = Keeping()
    made = notifier(driver)
    made.error("a.b", payload)
    assert orjson.loads(driver.messages[0].value)["payload"] == kept
    assert made.stats == NotifierStats(published=1, degraded=1)


def test_too_deep_payload_ends_as_a_readable_notification():
    driver = Keeping()
    notifier(driver).error("a.b", nested(1000))
    found = decode(driver.messages[0].value, Priority.ERROR)
    assert isinstance(found, Notification)


def test_context_and_publisher_that_json_cannot_hold_do_not_raise():
    driver = Keeping()
    made = Notifier(Unprintable(), driver, topic_prefix="n.")  # type: ignore[arg-type]
    made.info("a.b", {}, context={"x": 2**70})
    found = orjson.loads(driver.messages[0].value)
    assert found["publisher_id"] == "<Unprintable that cannot be shown>"
    assert found["_context"] == {"x": str(2**70)}


@pytest.mark.parametrize("event_type", ["", " ", "a\nb", None])
def test_impossible_event_type_is_counted_as_failed_or_made_text(event_type: Any):
    driver = Keeping()
    made = notifier(driver)
    assert uuid.UUID(made.info(event_type, {}))
    assert sum(made.stats[::2]) == 1
    assert all(isinstance(decode(m.value, Priority.INFO), Notification) for m in driver.messages)


def test_driver_that_raises_never_hurts_the_caller():
    made = notifier(Raising())
    assert uuid.UUID(made.critical("a.b", {}))
    assert made.stats == NotifierStats(failed=1)


async def test_driver_that_raises_never_hurts_the_asynchronous_caller():
    made = notifier(Raising(), AsyncNotifier)
    assert uuid.UUID(await made.critical("a.b", {}))
    assert made.stats == NotifierStats(failed=1)


def test_refusal_by_the_driver_is_counted():
    driver = Keeping()
    driver.close()
    made = notifier(driver)
    made.info("a.b", {})
    assert made.stats == NotifierStats(failed=1)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters())
    | st.binary()
    | st.datetimes()
    | st.builds(Unprintable)
    | st.builds(object),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
        | st.frozensets(st.integers())
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@given(anything)
def test_any_payload_becomes_a_readable_notification(payload: Any):
    driver = Keeping()
    made = notifier(driver)
    made.info("a.b", payload)
    (message,) = driver.messages
    assert isinstance(decode(message.value, Priority.INFO), Notification)
    assert made.stats.published == 1


@given(anything)
def test_plain_is_json_and_keeps_what_is_already_plain(value: Any):
    once = plain(value)
    assert orjson.loads(orjson.dumps(once)) == once
    assert plain(once) == once


def test_plain_is_bounded():
    wide = plain({str(number): [number] for number in range(100_000)})
    assert len(wide) <= 10_001
    shared: Any = []
    for _ in range(50):
        shared = [shared, shared]
    assert len(orjson.dumps(plain(shared))) < 10_000_000
    assert plain({"when": datetime(2011, 5, 9, tzinfo=UTC), "some": {1}}) == {
        "when": "2011-05-09 00:00:00+00:00",
        "some": [1],
    }
