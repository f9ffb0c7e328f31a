"""What a record becomes: a notification, or the reason why it cannot be one."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from streams.notifications.priority import Priority


class Repair(enum.StrEnum):
    """Everything that decoding puts right; the closed set of names that repairs are counted by.

    A harmless variety of the accepted forms (the envelope, a lower-case priority, WARNING for
    WARN, a timestamp with a zone, no ``message_id``) is not a repair.
    """

    BYTE_ORDER_MARK = "byte-order-mark"  # the value began with a UTF-8 byte order mark; skipped
    NOT_A_NUMBER = "not-a-number"  # NaN or Infinity, which JSON does not have; null is taken
    LONE_SURROGATE = "lone-surrogate"  # half a character, as an escape; U+FFFD is taken
    DOUBLE_ENCODED = "double-encoded"  # the value was a JSON string that holds the object; unwrapped once
    ENVELOPE_NOT_TEXT = "envelope-not-text"  # oslo.message held the object itself instead of its JSON text
    CLOUD_EVENT = "cloud-event"  # the value was a CloudEvent in structured mode; its data is taken
    EVENT_TYPE_STRIPPED = "event-type-stripped"  # blanks around the event type were removed
    EVENT_TYPE_INVISIBLE = "event-type-invisible"  # invisible characters removed, odd blanks made spaces
    PRIORITY_MISSING = "priority-missing"  # absent or null; the topic's is taken
    PRIORITY_DISAGREES = "priority-disagrees"  # another priority than the topic's; the topic's is taken
    PRIORITY_UNKNOWN = "priority-unknown"  # no word that names a priority; the topic's is taken
    PUBLISHER_ID_MISSING = "publisher-id-missing"  # absent, null or empty; "" is taken
    PUBLISHER_ID_NOT_TEXT = (
        "publisher-id-not-text"  # a number or boolean as its JSON text; "" for a list or object
    )
    PUBLISHER_ID_CUT = "publisher-id-cut"  # longer than 255 characters; its start and a digest are taken
    MESSAGE_ID_CUT = "message-id-cut"  # the same of the message id
    MESSAGE_ID_NOT_TEXT = (
        "message-id-not-text"  # a number or boolean as its JSON text; None for a list or object
    )
    PAYLOAD_MISSING = "payload-missing"  # absent; {} is taken (a null payload is kept as None)
    TIMESTAMP_MISSING = "timestamp-missing"  # absent or null; the event time is None
    TIMESTAMP_BROKEN = "timestamp-broken"  # cannot be read without guessing; the event time is None
    TIMESTAMP_REPAIRED = "timestamp-repaired"  # stray or missing blanks and the like; one meaning only
    TIMESTAMP_NUMBER = "timestamp-number"  # seconds or milliseconds since 1970, told apart by their size


class Reason(enum.StrEnum):
    """Why a record cannot be a notification; the closed set of reasons that dead letters carry."""

    UNREADABLE_RECORD = "unreadable-record"  # the client cannot take the record apart, such as its headers
    CORRUPT_BATCH = "corrupt-batch"  # what the broker has on its disk is not what was published
    NULL_VALUE = "null-value"  # the record has no value at all (a tombstone)
    EMPTY_VALUE = "empty-value"  # no bytes, or nothing but blanks
    TOO_LARGE = "too-large"  # more bytes than the limit
    TOO_DEEP = "too-deep"  # objects and lists are nested deeper than the limit
    BAD_UTF8 = "bad-utf8"  # the bytes are no UTF-8 text
    NOT_JSON = "not-json"  # also Python's single quotes
    NOT_AN_OBJECT = "not-an-object"  # JSON, but a list, text, number, boolean or null
    BAD_ENVELOPE = "bad-envelope"  # oslo.message holds no JSON object
    BAD_CLOUD_EVENT = "bad-cloud-event"  # in structured mode without a notification as data, or a batch
    EVENT_TYPE_MISSING = "missing-event-type"  # absent or null
    EVENT_TYPE_NOT_TEXT = "event-type-not-text"  # any other JSON type than a string
    EVENT_TYPE_BLANK = "event-type-blank"  # empty, or nothing but blanks
    EVENT_TYPE_TOO_LONG = "event-type-too-long"  # more characters than the limit
    # Control characters, line separators or bidirectional overrides within. Not repaired: any way
    # to write them otherwise could make two event types into one that did not look alike.
    EVENT_TYPE_CONTROL_CHARACTERS = "event-type-control-characters"


# Not frozen: a frozen dataclass takes 1.5 µs to create instead of 0.4, once per record.
@dataclass(slots=True)
class Notification:
    """One notification, in the same form whatever form it came in. Do not change one.

    Attributes:
        publisher_id: who sent it, such as ``compute.host1``; "" when it does not say; at most 255 characters.
        event_time_ms: the message's own timestamp in UTC milliseconds since 1970; None when it is
            missing or broken. Whether to believe it is not decided here (see ``bucket_time_ms``).
        event_type: such as ``compute.instance.create.end``; never blank, no blanks around it.
        priority: that of the topic it lies in.
        stated_priority: what the message said, when that differs: the name of a Priority, or the
            unknown text, escaped and cut to 80 characters. None when message and topic agree.
        payload: any JSON value, as it came; versioned objects are kept as they are.
        message_id: the publisher's id; None when it gave none. It need not be unique. At most 255 characters.
        context: the request context without the ``_context_`` prefix; None when there is none.
        repairs: what was put right, each at most once.
    """

    publisher_id: str
    event_time_ms: int | None
    event_type: str
    priority: Priority
    stated_priority: str | None
    payload: Any
    message_id: str | None
    context: dict[str, Any] | None
    repairs: tuple[Repair, ...]


@dataclass(slots=True)
class Rejection:
    """Why a value is no notification.

    Attributes:
        reason: the name to count it by.
        detail: one sentence for people; at most 80 characters of the input, control characters escaped.
    """

    reason: Reason
    detail: str


#: Characters of the input that a detail or a stated priority may show.
EXCERPT_CHARACTERS = 80


def excerpt(text: str) -> str:
    """Return the start of ``text``, at most 80 characters, printable ASCII only: the rest escaped."""
    shown = text[:EXCERPT_CHARACTERS].encode("unicode_escape").decode("ascii")
    if len(shown) <= EXCERPT_CHARACTERS and len(text) <= EXCERPT_CHARACTERS:
        return shown
    return shown[: EXCERPT_CHARACTERS - 3] + "..."
