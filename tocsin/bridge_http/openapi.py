"""The OpenAPI 3.1 document of the bridge for HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from streams import __version__
from streams.bridges.http_bodies import EVENT, EVENTS, JSON, LINES, MOST_ITEMS
from streams.notifications.priority import Priority

PATH: Final = "/openapi.json"
POST_PATH: Final = "/api/v1/notifications"

_PROBLEMS: Final = {
    400: "Nothing was taken: the body, or what `errors` names, cannot be read.",
    401: "There is no token, or one that is not known.",
    403: "Nothing was taken: the token may not be used for the publisher of what `errors` names.",
    408: "The body came too slowly.",
    413: "The body, or a notification in it, is too large.",
    415: "The media type, or an encoding of the body, is not read.",
    429: "Kafka does not keep up: try again after the seconds of Retry-After.",
    503: "Kafka cannot be reached, or has not confirmed in time: try again after the seconds of Retry-After.",
}
_TEXT: Final = {"type": "string"}
_NOTIFICATION: Final = {
    "type": "object",
    "description": "A notification; message_id, timestamp and priority (INFO) are filled in.",
    "required": ["event_type"],
    "properties": {
        "event_type": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "publisher_id": {**_TEXT, "description": "Must begin with a prefix that the token may use."},
        "message_id": {**_TEXT, "description": "The same when it is sent again; a header of the record."},
        "timestamp": {**_TEXT, "description": "In UTC."},
        "payload": {},
    },
}
_EVENT: Final = {
    "type": "object",
    "description": "A CloudEvent 1.0, whose data is a notification or anything else.",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "time": {"type": "string", "format": "date-time"},
        "data": {},
    },
}
_ACCEPTED: Final = {
    "type": "object",
    "required": ["accepted"],
    "properties": {"accepted": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "errors": {
            "type": "array",
            "description": "What is wrong, of the first 100.",
            "items": {
                "type": "object",
                "required": ["index", "reason"],
                "properties": {"index": {"type": "integer", "minimum": 0}, "reason": _TEXT},
            },
        },
        "error_count": {"type": "integer", "minimum": 1},
    },
}
_CHECK: Final = {
    "type": "object",
    "required": ["status", "reasons"],
    "properties": {"status": {"enum": ["ok", "failed"]}, "reasons": {"type": "array", "items": _TEXT}},
}


def document(priorities: Sequence[Priority], *, with_tokens: bool) -> dict[str, Any]:
    """The document.

    Args:
        priorities: that there are topics for.
        with_tokens: whether tokens are asked for.
    """
    health = {
        path: {
            "get": {
                "operationId": path[1:],
                "summary": summary,
                "security": [],
                "responses": {
                    "200": _answer("It passes.", JSON, _CHECK),
                    "503": _answer("It fails; the reasons say why.", JSON, _CHECK),
                },
            }
        }
        for path, summary in (
            ("/livez", "Whether anything but a restart can help."),
            ("/readyz", "Whether what comes now would be taken."),
            ("/startupz", "Whether it has been connected to Kafka once."),
        )
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tocsin: the bridge for HTTP",
            "version": __version__,
            "description": "Notifications and CloudEvents to Kafka. An error is a problem (RFC 9457) whose "
            "detail says what to change.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            POST_PATH: {"post": _post(with_tokens=with_tokens)},
            PATH: {
                "get": {
                    "operationId": "openapi",
                    "summary": "This document.",
                    "security": [],
                    "responses": {"200": _answer("The document.", JSON, {"type": "object"})},
                }
            },
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Metrics for Prometheus.",
                    "security": [{"metrics": []}, {}],
                    "responses": {
                        "200": _answer("The metrics.", "text/plain", _TEXT),
                        "401": _problem("The token of TOCSIN_METRICS_TOKEN is asked for."),
                    },
                }
            },
            **health,
        },
        "components": {
            "schemas": {
                "Notification": _with_priorities(_NOTIFICATION, priorities),
                "CloudEvent": _with_priorities(_EVENT, priorities),
                "Accepted": _ACCEPTED,
                "Problem": _PROBLEM,
            },
            "securitySchemes": {
                "publisher": {"type": "http", "scheme": "bearer", "description": "Of one publisher."},
                "metrics": {"type": "http", "scheme": "bearer", "description": "TOCSIN_METRICS_TOKEN"},
            },
        },
    }


def _post(*, with_tokens: bool) -> dict[str, Any]:
    one, event = _ref("Notification"), _ref("CloudEvent")
    many = {"type": "array", "maxItems": MOST_ITEMS}
    content: dict[str, Any] = {
        JSON: {"schema": {"anyOf": [one, many | {"items": one}]}},
        EVENT: {"schema": event},
        EVENTS: {"schema": many | {"items": event}},
    }
    for media_type in LINES:
        content[media_type] = {"schema": {**_TEXT, "description": "A notification a line."}}
    return {
        "operationId": "publish",
        "summary": "Publish one or more notifications: all of them, or none if one cannot be taken.",
        "description": "A CloudEvent in binary mode has its attributes in headers ce-*, and any media type.",
        "security": [{"publisher": []}] if with_tokens else [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": False,
                "description": "W3C Trace Context; goes on with each that has none of its own.",
                "schema": _TEXT,
            }
            for name in ("traceparent", "tracestate")
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "202": _answer("Kafka has confirmed all of them.", JSON, _ref("Accepted")),
            **{str(status): _problem(text, retry=status in (429, 503)) for status, text in _PROBLEMS.items()},
        },
    }


def _with_priorities(schema: dict[str, Any], priorities: Sequence[Priority]) -> dict[str, Any]:
    return schema | {"properties": schema["properties"] | {"priority": {"enum": [*priorities]}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(text: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {media_type: {"schema": schema}}}


def _problem(text: str, *, retry: bool = False) -> dict[str, Any]:
    found = _answer(text, "application/problem+json", _ref("Problem"))
    if retry:
        found["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return found
