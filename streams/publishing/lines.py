"""From a line of a file to a message for the topic it belongs to, or to what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import orjson

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Notification, Rejection, Repair
from streams.notifications.priority import Priority
from streams.notifications.timestamps import format_timestamp

#: Turns a line into its priority and the bytes to send; a text says why it cannot.
ReadLine = Callable[[bytes, int, str], tuple[Priority, bytes] | str]

_TO_FILL: Final = {Repair.PUBLISHER_ID_MISSING, Repair.TIMESTAMP_MISSING, Repair.PRIORITY_MISSING}
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: Takes an object apart into its values as they are written.
_parts: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_EMPTY: Final = (b"null", b'""')


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
        priority = stated_priority(found, default)
        if priority is None:
            stated = found.stated_priority or "no text"
            return (
                f"The priority '{stated}' is unknown; use one of {', '.join(Priority)}, or send with --raw."
            )
        return priority, filled(line, found, priority, publisher_id, now_ms, message_id)

    return read


def stated_priority(found: Notification, default: Priority) -> Priority | None:
    """The priority that a notification was published with; None when it names one that there is not.

    Args:
        found: decoded with ``default`` for the priority of its topic.
        default: for one that names none.
    """
    if Repair.PRIORITY_UNKNOWN in found.repairs:
        return None
    return default if found.stated_priority is None else Priority.parse(found.stated_priority)


def filled(
    line: bytes, found: Notification, priority: Priority, publisher_id: str, now_ms: int, message_id: str
) -> bytes:
    """A line with what it lacks, if it is a flat notification; else as it is. The rest stays byte for byte.

    Args:
        line: as it came.
        found: decoded from it.
        priority: of its topic.
        publisher_id: for one without; "" leaves it without.
        now_ms: timestamp for one without, in milliseconds since 1970.
        message_id: for one without.
    """
    if found.message_id is not None and _TO_FILL.isdisjoint(found.repairs):
        return line
    try:
        message = _parts(line.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return line  # what the worker repairs, such as NaN, keeps its own form
    if "event_type" not in message:
        return line  # an envelope keeps its own form
    fill = {
        "message_id": message_id,
        "publisher_id": publisher_id,
        "timestamp": format_timestamp(now_ms),
        "priority": priority.value,
    }
    if bytes(message.get("metadata", b"")).startswith(b"{"):
        fill = {"publisher_id": publisher_id, "priority": priority.value}
    if not publisher_id:
        del fill["publisher_id"]
    return completed(message, fill)


def completed(message: Mapping[str, Any], fill: Mapping[str, str]) -> bytes:
    """An object with further members where it has none, null or "".

    Args:
        message: its members as they are written, in JSON.
        fill: texts by name.
    """
    whole = {name: bytes(value) for name, value in message.items()}
    for name, text in fill.items():
        if whole.get(name, b"null") in _EMPTY:
            whole[name] = orjson.dumps(text)
    return b"{" + b",".join(orjson.dumps(name) + b":" + value for name, value in whole.items()) + b"}"
