"""From a CloudEvent to the notification that it becomes. Pure.

A CloudEvent whose data is a notification, with an event type of its own or as oslo.messaging's envelope, is
that notification; attributes fill in what it lacks. Any other becomes one: ``type`` is its event type,
``source`` its publisher, ``id`` its message id, ``time`` its timestamp, the extension ``priority`` its
priority, ``data`` its payload, and everything else lies in ``_context`` under ``cloud_event``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from streams.notifications.carried_headers import Headers
from streams.notifications.priority import Priority
from streams.notifications.timestamps import format_timestamp, make_timestamp_parser
from streams.publishing.lines import completed

_parts: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_parse_time: Final = make_timestamp_parser()
#: Attributes that have a place of their own in the notification, or in the headers of its record.
_PLACED: Final = frozenset(
    {"specversion", "id", "source", "type", "time", "priority", "traceparent", "tracestate"}
)
_TRACE: Final = ("traceparent", "tracestate")


class EventError(ValueError):
    """Why a CloudEvent is not taken; one sentence that says what to change."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """The notification of a CloudEvent.

    Attributes:
        value: in a form that the worker reads.
        trace: headers with the trace context that the event has; none without.
    """

    value: bytes
    trace: Headers


def of_structured(body: bytes, now_ms: int) -> Mapped:
    """The notification of a CloudEvent in structured mode.

    Args:
        body: the event, in JSON.
        now_ms: timestamp of one without a time, in milliseconds since 1970.

    Raises:
        EventError: it is not taken.
    """
    try:
        members = _parts(body.removeprefix(b"\xef\xbb\xbf"))
        data = members.pop("data", None)
        has_base64 = "data_base64" in members
        attributes = {name: orjson.loads(bytes(value)) for name, value in members.items()}
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise EventError("The CloudEvent is not a JSON object.") from None
    if has_base64:
        if data is not None:
            raise EventError("The CloudEvent has both data and data_base64; send one of them.")
        return _mapped(attributes, _binary(attributes.pop("data_base64")), now_ms)
    return _mapped(attributes, None if data is None else bytes(data), now_ms)


def of_binary(attributes: Mapping[str, str], media_type: str, body: bytes, now_ms: int) -> Mapped:
    """The notification of a CloudEvent in binary mode.

    Args:
        attributes: of the event.
        media_type: of the body, in lower case; "" for none, which is taken as JSON.
        body: the event's data.
        now_ms: as for `of_structured`.

    Raises:
        EventError: it is not taken.
    """
    if not body:
        return _mapped(attributes, None, now_ms)
    if media_type in ("", "application/json", "text/json") or media_type.endswith("+json"):
        try:
            return _mapped(attributes, bytes(msgspec.json.decode(body, type=msgspec.Raw)), now_ms)
        except (msgspec.MsgspecError, RecursionError):
            raise EventError("The data of the CloudEvent is not JSON, which its Content-Type says.") from None
    more = dict(attributes)
    if media_type:
        more.setdefault("datacontenttype", media_type)
    if media_type.startswith("text/"):
        try:
            return _mapped(more, orjson.dumps(body.decode("utf-8")), now_ms)
        except UnicodeDecodeError:
            pass  # in another encoding: it is kept as bytes are
    return _mapped(more, _binary(base64.b64encode(body).decode()), now_ms)


def _binary(encoded: object) -> bytes:
    """The payload of data that are bytes."""
    try:
        base64.b64decode(encoded if isinstance(encoded, str) else "?", validate=True)  # "?" is none
    except (binascii.Error, ValueError):
        raise EventError("data_base64 of the CloudEvent is not Base64 text.") from None
    return orjson.dumps({"data_base64": encoded})


def _mapped(attributes: Mapping[str, Any], data: bytes | None, now_ms: int) -> Mapped:
    if attributes.get("specversion") != "1.0":
        raise EventError("The CloudEvent has not the specversion 1.0.")
    for name in ("id", "source", "type"):
        if not isinstance(found := attributes.get(name), str) or not found:
            raise EventError(f"The CloudEvent has no {name}, which is a text that is not empty.")
    priority = _priority(attributes.get("priority"))
    fill = {
        "message_id": attributes["id"],
        "publisher_id": attributes["source"],
        "timestamp": _time(attributes.get("time"), now_ms),
        "priority": (priority or Priority.INFO).value,
    }
    trace = [
        (name, value.encode("utf-8", "backslashreplace"))
        for name in _TRACE
        if isinstance(value := attributes.get(name), str)
    ]
    notification = _notification(data)
    if notification is not None:
        if "event_type" not in notification:
            return Mapped(data or b"", trace)  # an envelope keeps its own form
        return Mapped(completed(notification, fill), trace)
    context = {name: value for name, value in attributes.items() if name not in _PLACED}
    whole = fill | {"event_type": attributes["type"]}
    known = orjson.dumps(whole | {"_context": {"cloud_event": context}} if context else whole)
    return Mapped(known[:-1] + b',"payload":' + (data or b"{}") + b"}", trace)


def _notification(data: bytes | None) -> dict[str, msgspec.Raw] | None:
    """The members of data that are a notification; None for any other."""
    if data is None or not data.startswith(b"{"):
        return None
    try:
        members = _parts(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return members if "event_type" in members or "oslo.message" in members else None


def _priority(stated: object) -> Priority | None:
    if stated is None:
        return None
    found = Priority.parse(stated) if isinstance(stated, str) else None
    if found is None:
        raise EventError(f"The priority of the CloudEvent is unknown; use one of {', '.join(Priority)}.")
    return found


def _time(stated: object, now_ms: int) -> str:
    """A timestamp as notifications have it."""
    if stated is None:
        return format_timestamp(now_ms)
    found = _parse_time(stated) if isinstance(stated, str) and len(stated) <= 64 else None
    if found is None:
        raise EventError("The time of the CloudEvent is not in the form of RFC 3339.")
    return format_timestamp(found)
