"""CloudEvents in structured mode: the notification lies in ``data``. Pure.

In binary mode the value is the notification itself and the rest is in headers (``ce_*``), so that it is read
like any other.
"""

from __future__ import annotations

from typing import Any, Final

from streams.notifications.notification import Reason, Rejection

_WHAT: Final = "The value is a CloudEvent in structured mode"
_ACCEPTED: Final = "data must be the notification, an object with event_type."


def is_cloud_event(message: dict[str, Any]) -> bool:
    """Whether an object without an event type of its own is a CloudEvent: each has a ``specversion``."""
    return "specversion" in message


def notification_in(event: dict[str, Any]) -> dict[str, Any] | Rejection:
    """The notification that a CloudEvent holds, or why it holds none."""
    data = event.get("data")
    if type(data) is dict:
        if "event_type" in data:
            return data
        return _rejected(f"{_WHAT} whose data has no event_type: {_ACCEPTED}")
    if "data_base64" in event:
        return _rejected(f"{_WHAT} with data_base64, which is not read: {_ACCEPTED}")
    if data is None:
        return _rejected(f"{_WHAT} without data: {_ACCEPTED}")
    return _rejected(f"{_WHAT} whose data is no object: {_ACCEPTED}")


def rejected_batch(items: list[Any]) -> Rejection | None:
    """Why a batch of CloudEvents is not read; None when a list is no such batch."""
    if not items or type(items[0]) is not dict or not is_cloud_event(items[0]):
        return None
    return _rejected(f"The value is a batch of {len(items)} CloudEvents: send each in a record of its own.")


def _rejected(detail: str) -> Rejection:
    return Rejection(Reason.BAD_CLOUD_EVENT, detail)
