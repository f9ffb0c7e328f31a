"""What the reasons of dead letters mean, in plain sentences, for the page of dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streams.notifications.notification import Reason

#: Why a record cannot be read, by reason. docs/topics.md has the same sentences.
MEANINGS: Final[Mapping[Reason, str]] = {
    Reason.UNREADABLE_RECORD: "The Kafka client cannot take it apart.",
    Reason.CORRUPT_BATCH: (
        "Its batch has changed on a broker's disk. The value is what lies there now, where that can still be "
        "told."
    ),
    Reason.NULL_VALUE: "It has no value (a tombstone).",
    Reason.EMPTY_VALUE: "It has no bytes, or nothing but blanks.",
    Reason.TOO_LARGE: "It has more bytes than TOCSIN_MAX_NOTIFICATION_BYTES.",
    Reason.TOO_DEEP: "Objects and lists are nested deeper than TOCSIN_MAX_DEPTH.",
    Reason.BAD_UTF8: "Its bytes are no UTF-8 text.",
    Reason.NOT_JSON: "It is no JSON; text with Python's single quotes is none either.",
    Reason.NOT_AN_OBJECT: "It is JSON, but a list, text, number, boolean or null.",
    Reason.BAD_ENVELOPE: "oslo.message holds no JSON object.",
    Reason.BAD_CLOUD_EVENT: (
        "It is a CloudEvent in structured mode without a notification as data, or a batch of CloudEvents."
    ),
    Reason.EVENT_TYPE_MISSING: "The event type is absent or null.",
    Reason.EVENT_TYPE_NOT_TEXT: "The event type is no text.",
    Reason.EVENT_TYPE_BLANK: "The event type is empty, or nothing but blanks.",
    Reason.EVENT_TYPE_TOO_LONG: "The event type has more characters than TOCSIN_MAX_EVENT_TYPE_LENGTH.",
    Reason.EVENT_TYPE_CONTROL_CHARACTERS: (
        "The event type holds control characters, line separators or bidirectional overrides."
    ),
}
