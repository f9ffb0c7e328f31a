"""From what a publisher says to the bytes of a record, in the seed's flat form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from streams.notifications.event_types import event_type_fault
from streams.notifications.priority import Priority
from streams.notifications.timestamps import format_timestamp

# A service has few event types, and publishes more than once in a millisecond when it is busy.
_event_type_fault = lru_cache(4096)(event_type_fault)
_timestamp = lru_cache(64)(format_timestamp)


class EncodingError(ValueError):
    """The notification cannot be written as JSON; the message is one sentence that says why."""


def encode(
    publisher_id: str,
    event_type: str,
    priority: Priority,
    payload: Any,
    timestamp_ms: int,
    message_id: str,
    context: Mapping[str, Any] | None = None,
) -> bytes:
    """Write one notification.

    What JSON has no form for is written as near as can be: a date as RFC 3339 text, bytes as
    text, a set as a list, NaN as null, any other object as its ``str()``; keys become text.

    Args:
        publisher_id: who sends it, such as ``compute.host1``.
        event_type: such as ``compute.instance.create.end``.
        priority: how urgent it is.
        payload: any value, usually a dictionary.
        timestamp_ms: when it was sent, in UTC milliseconds since 1970.
        message_id: an id of the sender's choice, such as a UUID.
        context: the request context, if any; written nested, as ``_context``.

    Raises:
        EncodingError: the event type is blank or has control characters, the time is outside
            the years 1 to 9999, or the values refer to themselves, are nested deeper than about 250 levels,
            hold an integer past 64 bits, a lone surrogate, or an object whose ``str()`` fails.
    """
    if not isinstance(event_type, str):
        raise EncodingError(f"The event type is a {type(event_type).__name__}; give text.")
    if _event_type_fault(event_type.strip()) is not None:
        raise EncodingError(f"The event type {event_type[:80]!r} is blank or has control characters.")
    try:
        timestamp = _timestamp(timestamp_ms)
    except OverflowError:
        raise EncodingError(f"The time {timestamp_ms} ms is outside the years 1 to 9999.") from None
    message: dict[str, Any] = {
        "message_id": message_id,
        "publisher_id": publisher_id,
        "timestamp": timestamp,
        "priority": priority.value,
        "event_type": event_type,
        "payload": payload,
    }
    if context is not None:
        message["_context"] = dict(context)
    try:
        return orjson.dumps(message, default=_nearest, option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:  # orjson.JSONEncodeError is one
        raise EncodingError(f"The notification cannot be written as JSON: {error}.") from error


def _nearest(value: object) -> Any:
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
