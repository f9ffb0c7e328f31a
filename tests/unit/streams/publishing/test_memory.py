"""What services that publish can do with the driver memory in their own tests."""

from __future__ import annotations

import pytest

from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.driver import load_driver
from streams.publishing.drivers.memory import MemoryDriver, Message
from streams.publishing.notifier import Notifier
from streams.settings import ConfigurationError


def test_messages_say_what_was_published():
    driver = load_driver("memory")
    assert isinstance(driver, MemoryDriver)
    notifier = Notifier("compute.host1", driver, topic_prefix="n.")
    message_id = notifier.error("a.b", {"at": 1}, context={"user_id": "u"}, key=b"k")
    (message,) = driver.messages
    assert message == Message(
        topic="n.error",
        priority=Priority.ERROR,
        event_type="a.b",
        payload={"at": 1},
        publisher_id="compute.host1",
        message_id=message_id,
        context={"user_id": "u"},
        value=message.value,
        key=b"k",
        headers=(),
    )


def test_clear_forgets_and_counts_go_on():
    driver = MemoryDriver()
    notifier = Notifier("p", driver, topic_prefix="n.")
    notifier.info("a", 1)
    before = driver.messages
    driver.clear()
    notifier.info("b", 2)
    assert [message.event_type for message in before] == ["a"]
    assert [message.event_type for message in driver.messages] == ["b"]
    assert driver.stats.delivered == 2


def test_the_newest_are_kept():
    driver = MemoryDriver(most=2)
    for number in range(5):
        driver.push(Outgoing("t", b"%d" % number))
    assert [message.value for message in driver.messages] == [b"3", b"4"]
    with pytest.raises(ConfigurationError, match="most=0"):
        MemoryDriver(most=0)


def test_what_is_no_notification_is_kept_as_it_is():
    driver = MemoryDriver()
    driver.push(Outgoing("t", b"\xff", headers=(("a", b"1"),)))
    (message,) = driver.messages
    assert (message.event_type, message.payload, message.value) == ("", None, b"\xff")
    assert message.headers == (("a", b"1"),)
