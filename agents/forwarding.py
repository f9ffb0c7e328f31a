"""Forwarding: a notification of a forwarded priority becomes an alert record at once. Pure.

The record is a CloudEvent in binary mode whose JSON value can be posted to Alertmanager as it is.
A repeat after a crash carries the same ``ce_id``, which subscribers can drop.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final

import orjson
from faust.types import TP

from streams.notifications import Notification
from streams.notifications.rfc3339 import format_rfc3339
from streams.outgoing import Outgoing
from streams.records import Record

RULE: Final = "forward"
TYPE: Final = "io.tocsin.alert.forwarded.v1"
#: Larger notifications are forwarded without their body.
_MAX_BODY_BYTES: Final = 900_000
_TOKEN: Final = b"auth_token"
_MASK: Final = "***"


@lru_cache(maxsize=10_000)
def _labels(event_type: str, severity: str, publisher_id: str) -> tuple[dict[str, str], str]:
    """Labels of an alert and their fingerprint; do not change them."""
    labels = {"alertname": event_type, "severity": severity, "publisher_id": publisher_id, "rule": RULE}
    return labels, fingerprint(labels)


def alert_id(source: str, offset: int) -> str:
    """Id of the alert that forwards the record at ``offset`` of ``source``."""
    return hashlib.blake2b(f"{RULE}/{source}/{offset}".encode(), digest_size=16).hexdigest()


def fingerprint(labels: dict[str, str]) -> str:
    """Fingerprint of an alert: 16 hexadecimal digits that depend on its labels only."""
    text = "\xff".join(f"{name}\xff{value}" for name, value in sorted(labels.items()))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def forwarded(
    topic: str,
    tp: TP,
    notification: Notification,
    record: Record,
    source: str,
    event_ms: int,
    *,
    body: bool = True,
) -> Outgoing:
    """The alert record of one notification.

    Args:
        topic: the alert topic.
        tp: partition that the record came from.
        notification: what was read.
        record: what it was read from.
        source: name of the source: topic id and partition.
        event_ms: the event time that counting used, in milliseconds since 1970.
        body: whether to include the notification as published.
    """
    severity = notification.priority.value.lower()
    labels, print_of_labels = _labels(notification.event_type, severity, notification.publisher_id)
    identity = alert_id(source, record.offset)
    starts_at = _rfc3339(event_ms)
    value: dict[str, Any] = {
        "labels": labels,
        "annotations": {
            "summary": f"{notification.priority} {notification.event_type} from "
            f"{notification.publisher_id or 'an unnamed publisher'}"
        },
        "startsAt": starts_at,
        "generatorURL": "",
        "id": identity,
        "fingerprint": print_of_labels,
        "episode": identity,
        "state": "firing",
        "previousState": None,
        "reason": "forwarded",
        "value": 1,
        "threshold": 1,
        "window_s": 0,
        "count": 1,
        "examples": [
            {
                "topic": tp.topic,
                "partition": tp.partition,
                "offset": record.offset,
                "message_id": notification.message_id,
            }
        ],
        "rule": RULE,
        "repairs": notification.repairs,
    }
    if notification.stated_priority is not None:
        value["statedPriority"] = notification.stated_priority
    published = record.value
    if body and published is not None and len(published) <= _MAX_BODY_BYTES:
        # The original bytes: they were parsed just now, and what parses cannot always be written again.
        original = published.removeprefix(b"\xef\xbb\xbf")
        try:
            safe = without_tokens(original) if _TOKEN in original else original
        except orjson.JSONDecodeError:  # numbers too large for a float: not even a token can be looked for
            safe = b"null"
            value["truncated"] = True
        value["notification"] = orjson.Fragment(safe)
    else:
        value["notification"] = None
        value["truncated"] = True
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_source", f"tocsin/{tp.topic}".encode()),
        ("ce_type", TYPE.encode()),
        ("ce_time", starts_at.encode()),
        ("ce_subject", notification.event_type.encode("utf-8", "replace")),
        ("content-type", b"application/json"),
    ]
    return Outgoing(topic, orjson.dumps(value), print_of_labels.encode(), None, headers)


def without_tokens(notification: bytes) -> bytes:
    """The notification with the value of every ``auth_token`` masked, at any depth and in an envelope's text.

    Old services put the caller's token into the context; more people read alerts than notifications.
    """
    return orjson.dumps(_masked(orjson.loads(notification)))


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _MASK if k.endswith("auth_token") and v else _masked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, str) and "auth_token" in value and value.lstrip().startswith("{"):
        try:
            return without_tokens(value.encode()).decode()
        except (ValueError, TypeError, RecursionError):
            return _MASK  # text that only looks like JSON, or is nested too deep to look into
    return value


@lru_cache(maxsize=1000)
def _rfc3339(time_ms: int) -> str:
    return format_rfc3339(time_ms / 1000) or "1970-01-01T00:00:00.000Z"
