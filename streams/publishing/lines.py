"""From a line of a file to a message for the topic it belongs to, or to what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Rejection, Repair
from streams.notifications.priority import Priority
from streams.notifications.timestamps import format_timestamp

#: Turns a line into its priority and the bytes to send; a text says why it cannot.
ReadLine = Callable[[bytes, int, str], tuple[Priority, bytes] | str]

_TO_FILL = {Repair.PUBLISHER_ID_MISSING, Repair.TIMESTAMP_MISSING, Repair.PRIORITY_MISSING}


def make_line_reader(default: Priority, publisher_id: str, limits: Limits) -> ReadLine:
    """Return the function that reads a line: ``read(line, now_ms, message_id)``.

    A line is a notification in any accepted form. Its own priority picks the topic, else
    ``default``. It is sent as it is; a flat notification that lacks its publisher, timestamp,
    priority or id gets ``publisher_id``, ``now_ms``, the priority and ``message_id``.
    """
    decode = Decoder(limits).decode

    def read(line: bytes, now_ms: int, message_id: str) -> tuple[Priority, bytes] | str:
        found = decode(line, default)
        if isinstance(found, Rejection):
            return found.detail
        priority: Priority | None = default
        if found.stated_priority is not None:
            priority = Priority.parse(found.stated_priority)
        if priority is None or Repair.PRIORITY_UNKNOWN in found.repairs:
            stated = found.stated_priority or "no text"
            return (
                f"The priority '{stated}' is unknown; use one of {', '.join(Priority)}, or send with --raw."
            )
        if found.message_id is not None and _TO_FILL.isdisjoint(found.repairs):
            return priority, line
        message: Any = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
        if not isinstance(message, dict) or "event_type" not in message:
            return priority, line  # an envelope keeps its own form
        fill = {
            "message_id": message_id,
            "publisher_id": publisher_id,
            "timestamp": format_timestamp(now_ms),
            "priority": priority.value,
        }
        if isinstance(message.get("metadata"), dict):
            fill = {"publisher_id": publisher_id, "priority": priority.value}
        message |= {name: value for name, value in fill.items() if message.get(name) in (None, "")}
        return priority, orjson.dumps(message)

    return read
