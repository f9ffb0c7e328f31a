"""From the bytes of a record to a notification, or to the reason why it is none. Pure.

Accepted: the seed's flat dictionary; oslo.messaging's envelope (the JSON text of a flat one in
``oslo.message``); a CloudEvent in structured mode (a flat one in ``data``); the request context nested
(``_context``), flattened (``_context_*``) or in the listener's form (``ctxt``, with id and timestamp in
``metadata``); any payload, versioned objects included. What is untidy but unambiguous is repaired, each
repair by its name.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import Any, Final

import orjson

from streams.notifications.cloud_events import is_cloud_event, notification_in, rejected_batch
from streams.notifications.event_types import as_seen, event_type_fault, has_controls
from streams.notifications.json_values import (
    is_deeper,
    is_depth_error,
    is_number_error,
    kind_of,
    loads,
    loads_large_numbers,
    scalar_text,
    why_no_json,
)
from streams.notifications.nearly_json import repaired_json
from streams.notifications.notification import Notification, Reason, Rejection, Repair, excerpt
from streams.notifications.priority import Priority
from streams.notifications.timestamps import make_timestamp_parser, repair_timestamp

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTEXT_PREFIX = "_context_"
# publisher_id, timestamp, event_type, priority, payload and message_id: further keys may hold a context.
_FLAT_KEYS = 6
#: Longest id of a publisher or a message, in characters.
LONGEST_ID: Final = 255
_DIGEST_CHARACTERS: Final = 16
#: Most bytes of the event types that a decoder keeps for reuse, about.
_MOST_REMEMBERED_BYTES: Final = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is accepted.

    Attributes:
        max_bytes: longest value, in bytes.
        max_depth: deepest nesting of objects and lists, of the record and of the text in an
            envelope alike; the outermost is 1. Above 250 what is decoded might not be encodable again.
        max_event_type_length: longest event type, in characters.
        remembered_event_types: how many event types a decoder keeps for reuse (fewer where they are long:
            at most about 8 MiB of them); a matter of speed only.
    """

    max_bytes: int = 2**20
    max_depth: int = 100
    max_event_type_length: int = 255
    remembered_event_types: int = 10_000

    def __post_init__(self) -> None:
        """Refuse limits that no notification could keep."""
        # Decoding leaves out the depth check for a flat message with a flat payload, which is 2 deep.
        if self.max_bytes < 2 or self.max_depth < 2 or self.max_event_type_length < 1:
            raise ValueError("max_bytes and max_depth must be at least 2, max_event_type_length at least 1")


class Decoder:
    """Decodes records within ``limits``.

    Its results depend on the arguments of `decode` alone; what it remembers only makes it faster.
    Notifications of the same event type share one string.
    """

    __slots__ = (
        "_event_types",
        "_limits",
        "_max_bytes",
        "_max_depth",
        "_parse_timestamp",
        "_remembered_bytes",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._max_bytes = limits.max_bytes
        self._max_depth = limits.max_depth
        self._parse_timestamp = make_timestamp_parser()
        self._event_types: dict[str, str] = {}
        self._remembered_bytes = 0

    def decode(self, value: bytes | None, priority: Priority) -> Notification | Rejection:
        """Turn a record's value into a notification or a rejection; it never raises, whatever the bytes.

        Args:
            value: of the record.
            priority: of the topic that it lies in.
        """
        if value is None:
            return Rejection(Reason.NULL_VALUE, "The record has no value.")
        if len(value) > self._max_bytes:
            return Rejection(
                Reason.TOO_LARGE, f"The value has {len(value)} bytes; {self._max_bytes} are allowed."
            )
        try:
            message = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            return self._unreadable(value, priority, error)
        return self._read(message, priority, value)

    # ---------------------------------------------------------------- forms of the outside

    def _unreadable(
        self, value: bytes, priority: Priority, error: orjson.JSONDecodeError
    ) -> Notification | Rejection:
        """What is no JSON as it stands, and perhaps is, looked at otherwise."""
        if is_number_error(error) and (read := loads_large_numbers(value)) is not None:
            return self._read(read, priority, value)
        if value.startswith(_BYTE_ORDER_MARK) and not value.startswith(_BYTE_ORDER_MARK * 2):
            return _with_repair(self.decode(value[3:], priority), Repair.BYTE_ORDER_MARK)
        repaired, repairs = repaired_json(value)
        if repairs and (message := loads(repaired)) is not None:
            return _with_repair(self._read(message, priority, repaired), *repairs)
        return why_no_json(value, error)

    def _read(self, message: object, priority: Priority, value: bytes) -> Notification | Rejection:
        if type(message) is dict:
            return self._object(message, priority, value)
        if self._is_too_deep(message, value):
            return self._too_deep()
        return self._text(message, priority)

    def _object(
        self, message: dict[str, Any], priority: Priority, raw: bytes | str
    ) -> Notification | Rejection:
        if "event_type" not in message:
            if "oslo.message" in message:
                return self._envelope(message["oslo.message"], priority, raw)
            if is_cloud_event(message):
                return self._cloud_event(message, priority, raw)
        return self._message(message, priority, raw)

    def _text(self, text: object, priority: Priority) -> Notification | Rejection:
        """Decode JSON that is no object, but perhaps a string that holds one."""
        if not isinstance(text, str):
            if type(text) is list and (batch := rejected_batch(text)) is not None:
                return batch
            return Rejection(Reason.NOT_AN_OBJECT, f"The value is {kind_of(text)}, not a JSON object.")
        message, repairs = self._inner_object(text)
        if isinstance(message, Rejection):
            return message
        if message is None:
            return Rejection(
                Reason.NOT_AN_OBJECT, f"The value is the text '{excerpt(text)}', not a JSON object."
            )
        return _with_repair(self._object(message, priority, text), Repair.DOUBLE_ENCODED, *repairs)

    def _envelope(self, inner: object, priority: Priority, raw: bytes | str) -> Notification | Rejection:
        if type(inner) is dict:
            return _with_repair(self._message(inner, priority, raw), Repair.ENVELOPE_NOT_TEXT)
        if not isinstance(inner, str):
            return Rejection(
                Reason.BAD_ENVELOPE, f"oslo.message is {kind_of(inner)}, not the text of a JSON object."
            )
        message, repairs = self._inner_object(inner)
        if isinstance(message, Rejection):
            return message
        if message is None:
            return Rejection(
                Reason.BAD_ENVELOPE,
                f"oslo.message is the text '{excerpt(inner)}', not that of a JSON object.",
            )
        found = self._message(message, priority, inner)
        return _with_repair(found, *repairs) if repairs else found

    def _cloud_event(
        self, event: dict[str, Any], priority: Priority, raw: bytes | str
    ) -> Notification | Rejection:
        if self._is_too_deep(event, raw):
            return self._too_deep()
        data = notification_in(event)
        if isinstance(data, Rejection):
            return data
        return _with_repair(self._message(data, priority, raw), Repair.CLOUD_EVENT)

    def _inner_object(self, text: str) -> tuple[dict[str, Any] | Rejection | None, tuple[Repair, ...]]:
        """Return the JSON object that ``text`` holds, None if it holds none; and what it took to read it."""
        repairs: tuple[Repair, ...] = ()
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            if is_depth_error(error):
                return self._too_deep(), ()
            message = loads_large_numbers(text.encode()) if is_number_error(error) else None
            if message is None:
                repaired, repairs = repaired_json(text.encode())
                message = loads(repaired) if repairs else None
        return (message, repairs) if type(message) is dict else (None, ())

    # ---------------------------------------------------------------- the flat dictionary

    def _message(
        self, message: dict[str, Any], priority: Priority, raw: bytes | str
    ) -> Notification | Rejection:
        """Read the flat dictionary. Every record passes here: the tidy case does no more than look up."""
        get = message.get
        repairs: tuple[Repair, ...] = ()
        plain_keys = _FLAT_KEYS  # how many of the flat keys are there and hold text

        stated_type = get("event_type")
        event_type = self._event_types.get(stated_type) if type(stated_type) is str else None
        if event_type is None:
            checked = self._checked_event_type(stated_type)
            if isinstance(checked, Rejection):
                return self._too_deep() if self._is_too_deep(message, raw) else checked
            event_type = checked
            if event_type != stated_type:
                same = isinstance(stated_type, str) and event_type == stated_type.strip()
                repairs += (Repair.EVENT_TYPE_STRIPPED if same else Repair.EVENT_TYPE_INVISIBLE,)

        stated = get("priority")
        stated_priority: str | None = None
        if stated != priority:
            plain_keys -= type(stated) is not str
            stated_priority, repair = _other_priority(stated, priority)
            if repair is not None:
                repairs += (repair,)

        publisher_id = get("publisher_id")
        if type(publisher_id) is not str or not publisher_id:
            plain_keys -= type(publisher_id) is not str
            publisher_id, repair = _other_publisher_id(publisher_id)
            repairs += (repair,)
        if len(publisher_id) > LONGEST_ID:
            publisher_id = _cut(publisher_id)
            repairs += (Repair.PUBLISHER_ID_CUT,)

        message_id, timestamp = get("message_id"), get("timestamp")
        if type(message_id) is not str or type(timestamp) is not str:
            plain_keys -= (type(message_id) is not str) + (type(timestamp) is not str)
            message_id, timestamp, repair = _other_id_and_timestamp(message_id, timestamp, get("metadata"))
            if repair is not None:
                repairs += (repair,)
        if message_id is not None and len(message_id) > LONGEST_ID:
            message_id = _cut(message_id)
            repairs += (Repair.MESSAGE_ID_CUT,)
        event_time_ms = self._parse_timestamp(timestamp) if type(timestamp) is str else None
        if event_time_ms is None:
            event_time_ms, repair = repair_timestamp(timestamp)
            repairs += (repair,)

        payload = get("payload")
        if payload is None and "payload" not in message:
            plain_keys -= 1
            payload = {}
            repairs += (Repair.PAYLOAD_MISSING,)

        context = None
        has_more = len(message) > plain_keys
        if has_more or _is_nested(payload):
            if self._is_too_deep(message, raw):
                return self._too_deep()
            if has_more:
                context = _context(message)

        return Notification(
            publisher_id,
            event_time_ms,
            event_type,
            priority,
            stated_priority,
            payload,
            message_id,
            context,
            repairs,
        )

    def _checked_event_type(self, stated: object) -> str | Rejection:
        if stated is None:
            return Rejection(Reason.EVENT_TYPE_MISSING, "The message has no event_type.")
        if not isinstance(stated, str):
            return Rejection(Reason.EVENT_TYPE_NOT_TEXT, f"The event_type is {kind_of(stated)}, not text.")
        event_type = stated.strip()
        if not event_type.isascii() and not has_controls(event_type):
            event_type = as_seen(event_type).strip()
        longest = self._limits.max_event_type_length
        if len(event_type) > longest:
            return Rejection(
                Reason.EVENT_TYPE_TOO_LONG,
                f"The event_type has {len(event_type)} characters; {longest} are allowed.",
            )
        fault = event_type_fault(event_type)
        if fault is Reason.EVENT_TYPE_BLANK:
            return Rejection(fault, "The event_type is blank.")
        if fault is not None:
            return Rejection(fault, f"The event_type has control characters: '{excerpt(event_type)}'.")
        # One string for all notifications of a type: its hash is known, so that counting is faster.
        if (known := self._event_types.get(event_type)) is not None:
            return known
        if (
            len(self._event_types) >= self._limits.remembered_event_types
            or self._remembered_bytes > _MOST_REMEMBERED_BYTES
        ):
            self._event_types.clear()
            self._remembered_bytes = 0
        self._remembered_bytes += sys.getsizeof(event_type)
        self._event_types[event_type] = event_type
        return event_type

    # ---------------------------------------------------------------- depth

    def _is_too_deep(self, message: object, raw: bytes | str) -> bool:
        # Each level costs a bracket in the text it was read from, so few brackets need no closer look.
        if isinstance(raw, bytes):
            brackets = raw.count(b"{") + raw.count(b"[")
        else:
            brackets = raw.count("{") + raw.count("[")
        return brackets > self._max_depth and is_deeper(message, self._max_depth)

    def _too_deep(self) -> Rejection:
        return Rejection(
            Reason.TOO_DEEP, f"The value is nested deeper than the {self._max_depth} levels allowed."
        )


def _cut(text: str) -> str:
    """The start of an id that is too long, with a digest of all of it, so that two of them stay two."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{text[: LONGEST_ID - _DIGEST_CHARACTERS - 1]}~{digest}"


def _other_priority(stated: object, priority: Priority) -> tuple[str | None, Repair | None]:
    """Return what to keep of a stated priority that is not plainly the topic's, and the repair."""
    if stated is None:
        return None, Repair.PRIORITY_MISSING
    text = stated if isinstance(stated, str) else scalar_text(stated)
    named = Priority.parse(text) if text is not None else None
    if named is None:
        return None if text is None else excerpt(text), Repair.PRIORITY_UNKNOWN
    if named is priority:
        return None, None
    return named.value, Repair.PRIORITY_DISAGREES


def _other_publisher_id(stated: object) -> tuple[str, Repair]:
    """Return what to take for a publisher's id that is no text, or empty, and the repair."""
    missing = stated is None or stated == ""
    return scalar_text(stated) or "", Repair.PUBLISHER_ID_MISSING if missing else Repair.PUBLISHER_ID_NOT_TEXT


def _other_id_and_timestamp(
    message_id: object, timestamp: object, metadata: object
) -> tuple[str | None, object, Repair | None]:
    """Return id and timestamp where one is no text: the listener's form has them in ``metadata``."""
    if type(metadata) is dict:
        message_id = metadata.get("message_id") if message_id is None else message_id
        timestamp = metadata.get("timestamp") if timestamp is None else timestamp
    if message_id is None or isinstance(message_id, str):
        return message_id, timestamp, None
    return scalar_text(message_id), timestamp, Repair.MESSAGE_ID_NOT_TEXT


def _is_nested(payload: object) -> bool:
    """Whether a payload may be too deep, because it holds lists or objects."""
    if type(payload) is dict:
        for item in payload.values():
            kind = type(item)
            if kind is dict or kind is list:
                return True
        return False
    return type(payload) is list


def _with_repair(result: Notification | Rejection, *repairs: Repair) -> Notification | Rejection:
    if isinstance(result, Notification):
        result.repairs = (*repairs, *(each for each in result.repairs if each not in repairs))
    return result


def _context(message: dict[str, Any]) -> dict[str, Any] | None:
    for key in ("_context", "ctxt"):
        nested = message.get(key)
        if type(nested) is dict:
            return nested
    cut = len(_CONTEXT_PREFIX)
    return {key[cut:]: value for key, value in message.items() if key.startswith(_CONTEXT_PREFIX)} or None
