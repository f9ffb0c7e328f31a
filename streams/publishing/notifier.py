"""The notifier: what a service calls to say that something happened.

    notifier = Notifier("compute.host1", load_driver("kafka"))
    notifier.error("compute.instance.create.error", {"instance_id": 12})

In asynchronous code, ``AsyncNotifier`` has the same methods, to be awaited. No call raises,
whatever the payload and the state of the brokers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from streams.log_lines import LimitedLog
from streams.notifications.encoding import encode
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing
from streams.publishing.driver import Driver
from streams.publishing.plain import plain

if TYPE_CHECKING:  # read when they are needed: a service that publishes need not wait for them at import
    from streams.settings import Settings


class NotifierStats(NamedTuple):
    """What became of the notifications in the notifier; the driver counts what comes after.

    Attributes:
        published: handed to the driver.
        degraded: of these, how many had to be changed since JSON could not hold them.
        failed: not handed to the driver, or refused by it.
    """

    published: int = 0
    degraded: int = 0
    failed: int = 0


#: Version 4 and the variant of RFC 9562.
_FIXED_BITS = 0x4 << 76 | 0x2 << 62
_FREE_BITS = (1 << 128) - 1 & ~(0xF << 76 | 0x3 << 62)


def _new_id() -> str:
    """The text of a random UUID, in half the time that the module uuid takes."""
    text = f"{int.from_bytes(os.urandom(16), 'big') & _FREE_BITS | _FIXED_BITS:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Base:
    """What both notifiers share: from a call to the message."""

    def __init__(
        self,
        publisher_id: str,
        driver: Driver,
        *,
        settings: Settings | None = None,
        topic_prefix: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make a notifier.

        Args:
            publisher_id: who sends, as ``worker_type.host``, such as ``compute.host1``.
            driver: pushes the messages out; remains the caller's to close.
            settings: name the topics; read from the environment when None and no prefix is given.
            topic_prefix: names the topics instead: this plus the priority in lower case.
            clock: returns the time in seconds since 1970.

        Raises:
            ConfigurationError: the settings in the environment cannot be used.
        """
        if topic_prefix is None:
            from streams.settings import load_settings  # noqa: PLC0415 -- takes a tenth of a second

            topic_prefix = (settings if settings is not None else load_settings()).notification_topic_prefix
        self.publisher_id = publisher_id
        self.driver = driver
        self._topics = {priority: topic_prefix + priority.value.lower() for priority in Priority}
        self._clock = clock
        self._published = self._degraded = self._failed = 0
        self._log = LimitedLog("tocsin.publishing.notifier")

    @property
    def stats(self) -> NotifierStats:
        """The counts so far."""
        return NotifierStats(self._published, self._degraded, self._failed)

    def _message(
        self,
        priority: Priority | str,
        event_type: str,
        payload: Any,
        context: Mapping[str, Any] | None,
        message_id: str,
        key: bytes | None,
    ) -> Outgoing | None:
        """Make the message; None when there is no way to."""
        try:
            level = priority if isinstance(priority, Priority) else Priority.parse(str(priority))
            degraded = level is None
            if level is None:
                self._log.warning("%r is not a priority; the notification goes out as INFO", priority)
                level = Priority.INFO
            now_ms = int(self._clock() * 1000)
            try:
                value = encode(self.publisher_id, event_type, level, payload, now_ms, message_id, context)
            except Exception as error:  # noqa: BLE001 -- str() of what is in the payload may raise anything
                self._log.warning("A notification was simplified to fit into JSON: %s", error)
                degraded = True
                plain_context = None if context is None else plain(context)
                value = encode(
                    str(plain(self.publisher_id)),
                    str(plain(event_type)),
                    level,
                    plain(payload),
                    now_ms,
                    message_id,
                    plain_context if isinstance(plain_context, dict) else None,
                )
            self._degraded += degraded
            return Outgoing(self._topics[level], value, key)
        except Exception as error:  # noqa: BLE001 -- nothing gets through to the service
            self._failed += 1
            self._log.warning("A notification could not be made and is lost: %r", error)
            return None

    def _count(self, taken: bool) -> None:
        if taken:
            self._published += 1
        else:
            self._failed += 1

    def _driver_failed(self, error: Exception) -> None:
        self._failed += 1
        self._log.warning("The publishing driver broke its promise and raised: %r", error)


class Notifier(_Base):
    """Publishes notifications from synchronous code; may be used from several threads.

    Every method takes the event type and the payload, and optionally ``context`` (the request
    context, a mapping) and ``key`` (messages of one key lie on one partition, in order). It
    returns the message id at once; it never raises.
    """

    def publish(
        self,
        priority: Priority | str,
        event_type: str,
        payload: Any,
        *,
        context: Mapping[str, Any] | None = None,
        key: bytes | None = None,
    ) -> str:
        """Publish with any priority; one that does not exist becomes INFO."""
        message_id = _new_id()
        message = self._message(priority, event_type, payload, context, message_id, key)
        if message is not None:
            try:
                self._count(self.driver.push(message))
            except Exception as error:  # noqa: BLE001 -- not even a driver that breaks its contract
                self._driver_failed(error)
        return message_id

    def critical(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as CRITICAL."""
        return self.publish(Priority.CRITICAL, event_type, payload, **options)

    def error(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as ERROR."""
        return self.publish(Priority.ERROR, event_type, payload, **options)

    def warn(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as WARN."""
        return self.publish(Priority.WARN, event_type, payload, **options)

    def info(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as INFO."""
        return self.publish(Priority.INFO, event_type, payload, **options)

    def debug(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as DEBUG."""
        return self.publish(Priority.DEBUG, event_type, payload, **options)


class AsyncNotifier(_Base):
    """Publishes notifications from asynchronous code: the methods of Notifier, to be awaited.

    A call waits only when the driver's buffer is full, for no longer than the driver's bound.
    """

    async def publish(
        self,
        priority: Priority | str,
        event_type: str,
        payload: Any,
        *,
        context: Mapping[str, Any] | None = None,
        key: bytes | None = None,
    ) -> str:
        """Publish with any priority; one that does not exist becomes INFO."""
        message_id = _new_id()
        message = self._message(priority, event_type, payload, context, message_id, key)
        if message is not None:
            try:
                self._count(await self.driver.apush(message))
            except Exception as error:  # noqa: BLE001 -- not even a driver that breaks its contract
                self._driver_failed(error)
        return message_id

    async def critical(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as CRITICAL."""
        return await self.publish(Priority.CRITICAL, event_type, payload, **options)

    async def error(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as ERROR."""
        return await self.publish(Priority.ERROR, event_type, payload, **options)

    async def warn(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as WARN."""
        return await self.publish(Priority.WARN, event_type, payload, **options)

    async def info(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as INFO."""
        return await self.publish(Priority.INFO, event_type, payload, **options)

    async def debug(self, event_type: str, payload: Any, **options: Any) -> str:
        """Publish as DEBUG."""
        return await self.publish(Priority.DEBUG, event_type, payload, **options)
