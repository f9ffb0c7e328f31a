"""The driver that keeps messages in memory, for the tests of services that publish."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import orjson

from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.backlog import priority_of
from streams.publishing.driver import DirectDriver
from streams.settings import ConfigurationError, Settings


class Message(NamedTuple):
    """A message as it was pushed, and what its JSON says.

    Attributes:
        topic: such as ``notifications.error``.
        priority: that which the topic names; INFO where it names none.
        event_type: such as ``compute.instance.create.end``; "" where the value is no flat notification.
        payload: as JSON holds it; None where there is none.
        publisher_id: who sent it, "" where it does not say.
        message_id: its id, "" where it has none.
        context: the request context, None where there is none.
        value: the bytes.
        key: messages of one key lie on one partition.
        headers: names and values.
    """

    topic: str
    priority: Priority
    event_type: str
    payload: Any
    publisher_id: str
    message_id: str
    context: dict[str, Any] | None
    value: bytes
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class MemoryDriver(DirectDriver):
    """Keeps the newest messages, for tests to look at.

        driver = load_driver("memory")
        service = Service(Notifier("compute.host1", driver, topic_prefix="notifications."))
        service.create_instance()
        assert [message.event_type for message in driver.messages] == ["compute.instance.create.end"]

    Args:
        settings: not used.
        most: messages that are kept; of more, the oldest are forgotten.

    Raises:
        ConfigurationError: ``most`` is no positive number.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,  # noqa: ARG002 -- every driver takes it
        most: int = 10_000,
    ) -> None:
        if most < 1:
            raise ConfigurationError(f"most={most}: keep at least one message.")
        super().__init__()
        self._kept: deque[Outgoing] = deque(maxlen=most)

    def deliver(self, message: Outgoing) -> None:
        """Keep one message."""
        self._kept.append(message)

    @property
    def messages(self) -> list[Message]:
        """What was pushed since the driver was made or cleared, oldest first; a list of your own."""
        return [_read(message) for message in tuple(self._kept)]

    def clear(self) -> None:
        """Forget all messages; the counts in ``stats`` go on."""
        self._kept.clear()


def _read(message: Outgoing) -> Message:
    value = message.value or b""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        found = None
    said: dict[str, Any] = found if isinstance(found, dict) else {}

    def text(name: str) -> str:
        return str(said.get(name) or "")

    context = said.get("_context")
    return Message(
        message.topic,
        priority_of(message.topic),
        text("event_type"),
        said.get("payload"),
        text("publisher_id"),
        text("message_id"),
        context if isinstance(context, dict) else None,
        value,
        message.key,
        tuple(message.headers),
    )
