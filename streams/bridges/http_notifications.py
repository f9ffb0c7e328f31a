"""From what a request holds to the records that Kafka gets, or to what is wrong with each. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streams.bridges.cloud_events import EventError, Mapped, of_binary, of_structured
from streams.bridges.http_bodies import Item
from streams.bridges.publishers import Publisher
from streams.notifications.carried_headers import MESSAGE_ID, Headers, carried_headers
from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Notification, Reason, Rejection, Repair
from streams.notifications.priority import Priority
from streams.publishing.lines import filled, stated_priority

_TRACE: Final = ("traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A notification as it goes on.

    Attributes:
        value: of the record.
        headers: of the record.
        priority: decides the topic.
    """

    value: bytes
    headers: Sequence[tuple[str, bytes]]
    priority: Priority


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a notification.

    Attributes:
        index: its place in the request, from 0.
        reason: one sentence that says what to change.
        forbidden: whether it is the publisher, and nothing else.
    """

    index: int
    reason: str
    forbidden: bool = False


def trace_of(headers: Mapping[str, str]) -> Headers:
    """The W3C trace context of a request; nothing if it is not in its form.

    Args:
        headers: of the request, by name in lower case.
    """
    return carried_headers(
        [(name, headers[name].encode("utf-8", "surrogateescape")) for name in _TRACE if name in headers]
    )


class RequestReader:
    """Reads the notifications of requests.

    Args:
        limits: of one notification.
        priorities: that there are topics for.
        fresh_id: makes the id of one that has none.
    """

    def __init__(self, limits: Limits, priorities: Sequence[Priority], fresh_id: Callable[[], str]) -> None:
        self._priorities = tuple(priorities)
        self._limits = limits
        self._decode = Decoder(limits).decode
        self._fresh_id = fresh_id

    def read(
        self, items: Sequence[Item], publisher: Publisher, trace: Headers, now_ms: int
    ) -> tuple[list[Accepted], list[Fault]]:
        """The records of all items, or what is wrong with some; never raises, whatever they are.

        Args:
            items: of a request.
            publisher: whose request it is.
            trace: of the request, for notifications that have none of their own.
            now_ms: timestamp of those without, in milliseconds since 1970.
        """
        accepted: list[Accepted] = []
        faults: list[Fault] = []
        for index, item in enumerate(items):
            found = self._one(item, publisher, trace, now_ms)
            if isinstance(found, Accepted):
                accepted.append(found)
            else:
                reason, forbidden = found
                faults.append(Fault(index, reason, forbidden))
        return accepted, faults

    def _one(
        self, item: Item, publisher: Publisher, trace: Headers, now_ms: int
    ) -> Accepted | tuple[str, bool]:
        value = item.value
        if len(value) > self._limits.max_bytes:
            return self._too_large(value)
        found: Notification | Rejection | None = None
        if not item.is_event:
            found = self._decode(value, Priority.INFO)
        if found is None or _is_event(found):
            try:
                mapped = _mapped(item, now_ms)
            except EventError as error:
                return str(error), False
            value = mapped.value
            trace = carried_headers(mapped.trace) or trace
            found = self._decode(value, Priority.INFO)
        if isinstance(found, Rejection):
            return found.detail, False
        priority = stated_priority(found, Priority.INFO)
        if priority not in self._priorities:
            stated = found.stated_priority or ("no text" if priority is None else priority)
            return f"The priority '{stated}' is not taken; use one of {', '.join(self._priorities)}.", False
        if not publisher.may_use(found.publisher_id):
            return "The token may not be used for this publisher_id; use one that begins as agreed.", True
        message_id = found.message_id or self._fresh_id()
        value = filled(value, found, priority, "", now_ms, message_id)
        if len(value) > self._limits.max_bytes:
            return self._too_large(value)
        return Accepted(value, _headers(message_id, trace), priority)

    def _too_large(self, value: bytes) -> tuple[str, bool]:
        return f"It has {len(value)} bytes; {self._limits.max_bytes} are allowed.", False


def _is_event(found: Notification | Rejection) -> bool:
    """Whether JSON that does not say so is a CloudEvent in structured mode."""
    if isinstance(found, Rejection):
        return found.reason is Reason.BAD_CLOUD_EVENT
    return Repair.CLOUD_EVENT in found.repairs


def _mapped(item: Item, now_ms: int) -> Mapped:
    if item.attributes is not None:
        return of_binary(item.attributes, item.media_type, item.value, now_ms)
    return of_structured(item.value, now_ms)


def _headers(message_id: str, trace: Headers) -> list[tuple[str, bytes]]:
    """Headers of the record; an id that no header may have is there by its digest, the same each time."""
    headers = carried_headers([(MESSAGE_ID, message_id.encode("utf-8", "backslashreplace")), *trace])
    if all(name != MESSAGE_ID for name, _ in headers):
        digest = hashlib.sha256(message_id.encode("utf-8", "backslashreplace")).hexdigest()
        headers.insert(0, (MESSAGE_ID, digest.encode()))
    return headers
