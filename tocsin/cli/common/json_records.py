"""Kafka records as JSON, with nothing of them lost: what is no text is given in base64. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import orjson

from streams.records import PlacedRecord
from tocsin.cli.common.text import json_line


def bytes_json(content: bytes | None) -> str | dict[str, str] | None:
    """Bytes as text, or as ``{"base64": …}`` where they are no UTF-8; None stays None."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def headers_json(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, Any]]:
    """Headers as pairs of name and value, in order: a name may be there twice."""
    return [(name, bytes_json(content)) for name, content in headers]


def place_json(record: PlacedRecord) -> dict[str, Any]:
    """Where a record lies, and what it has beside its value."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp,
        "key": bytes_json(record.key),
        "headers": headers_json(record.headers),
    }


def object_line(body: dict[str, Any]) -> str:
    """A JSON object in one line that is safe to show."""
    return json_line(orjson.dumps(body)) or ""
