"""The forms in which oslo.messaging writes notifications to RabbitMQ. Pure."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, NamedTuple

import orjson


class Body(NamedTuple):
    """What goes into a RabbitMQ message.

    Attributes:
        value: the bytes.
        message_id: the notification's own id, or one made of its bytes, so that it is the same each time.
        json: whether the value is JSON.
    """

    value: bytes
    message_id: str
    json: bool


def flat(value: bytes) -> Body:
    """A notification as the proposal has it: one JSON object, the context as ``_context_<name>``."""
    message = _object(value)
    if message is None:
        return _other(value)
    if "oslo.message" in message:
        return Body(value, _made_id(value), json=True)
    if not isinstance(message.get("_context"), dict):
        return Body(value, _id(message, value), json=True)
    return Body(orjson.dumps(_flattened(message)), _id(message, value), json=True)


def enveloped(value: bytes) -> Body:
    """The same as JSON text in the envelope of ``messagingv2``: ``{"oslo.version": …, "oslo.message": …}``.

    What has an envelope already is left as it is. ``_unique_id``, by which oslo.messaging knows what came
    twice, is the message id.
    """
    message = _object(value)
    if message is None:
        return _other(value)
    if "oslo.message" in message:
        return Body(value, _made_id(value), json=True)
    message_id = _id(message, value)
    inner = _flattened(message) | {"_unique_id": message_id.replace("-", "")}
    text = orjson.dumps(inner).decode()
    return Body(orjson.dumps({"oslo.version": "2.0", "oslo.message": text}), message_id, json=True)


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        message = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def _other(value: bytes) -> Body:
    return Body(value, _made_id(value), json=False)


def _flattened(message: dict[str, Any]) -> dict[str, Any]:
    context = message.get("_context")
    if not isinstance(context, dict):
        return dict(message)
    rest = {name: value for name, value in message.items() if name != "_context"}
    return rest | {f"_context_{name}": value for name, value in context.items()}


def _id(message: dict[str, Any], value: bytes) -> str:
    found = message.get("message_id")
    # AMQP's short strings hold 255 bytes.
    if isinstance(found, str) and 0 < len(found.encode()) <= 255:
        return found
    return _made_id(value)


def _made_id(value: bytes) -> str:
    return str(uuid.UUID(bytes=hashlib.blake2b(value, digest_size=16).digest()))
