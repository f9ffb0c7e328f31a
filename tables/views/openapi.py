"""The OpenAPI 3.1 document of the API, made from the types of its bodies and the rules of its parameters.

Each route of the API has an `Operation` here; a test compares them with the routes that are served.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from streams import __version__
from tables.views.answers import AS_OF_HEADER, Answer, Answers, answered, tag
from tables.views.bodies import (
    DeltaEvent,
    ProblemBody,
    SnapshotEvent,
)
from tables.views.operations import OPERATIONS, PATH, Operation
from tables.views.prefix import Prefix
from tables.views.sessions import COOKIE

_DESCRIPTION: Final = (
    "Counts of notifications, alerts, workers and dead letters. Times are RFC 3339 in UTC; an error is a "
    "problem (RFC 9457) whose detail says what to change."
)


def document(prefix: str = "", *, of_worker: bool = True) -> dict[str, Any]:
    """The document.

    Args:
        prefix: path under which the API is seen.
        of_worker: whether a worker serves it.
    """
    operations = [each for each in OPERATIONS if of_worker or not each.of_worker]
    bodies = {each.body for each in operations if isinstance(each.body, type)}
    bodies |= {each.takes for each in operations if each.takes is not None}
    bodies |= {ProblemBody, SnapshotEvent, DeltaEvent}
    _, schemas = msgspec.json.schema_components(
        sorted(bodies, key=lambda each: each.__name__), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tocsin", "version": __version__, "description": _DESCRIPTION},
        "servers": _servers(prefix),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "TOCSIN_WEB_TOKEN"},
                "password": {"type": "http", "scheme": "basic", "description": "The same, as the password."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "After signing in.",
                },
                "metrics": {"type": "http", "scheme": "bearer", "description": "TOCSIN_METRICS_TOKEN"},
                "admin": {"type": "http", "scheme": "bearer", "description": "TOCSIN_ADMIN_TOKEN"},
            },
        },
    }


def _servers(prefix: str) -> list[dict[str, str]]:
    return [{"url": prefix or "/"}]


_ACCESS: Final[dict[str, list[dict[str, list[str]]]]] = {
    # An empty one says that none may be needed, which is a matter of settings.
    "web": [{"token": []}, {"password": []}, {"session": []}, {}],
    "metrics": [{"metrics": []}, {"token": []}, {"password": []}, {"session": []}, {}],
    "admin": [{"admin": []}],
    "change": [{"admin": []}, {"session": []}],
    "none": [],
}


def _operation(operation: Operation) -> dict[str, Any]:
    content = _content(operation.body)
    answer: dict[str, Any] = {"description": "The answer.", "content": content}
    responses: dict[str, Any] = {"200": answer}
    if operation.kept:
        answer["headers"] = _headers(("ETag", "Of everything but `as_of`; for If-None-Match."))
        if not isinstance(operation.body, str):
            answer["headers"] |= _headers((AS_OF_HEADER, "The time that the answer is of."))
        responses["304"] = {"description": "The answer is as before, but for `as_of`, which a header has."}
    if operation.also_failed:
        responses["503"] = {"description": "It failed; the reasons say why.", "content": content}
    for status in operation.problems:
        responses[str(status)] = {
            "description": "A problem.",
            "content": {"application/problem+json": {"schema": _ref(ProblemBody)}},
        }
    responses["default"] = {
        "description": "A problem.",
        "content": {"application/problem+json": {"schema": _ref(ProblemBody)}},
    }
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [each.shown() for each in operation.parameters],
        "responses": responses,
        "security": _ACCESS[operation.access],
    }
    if operation.takes is not None:
        found["requestBody"] = {"required": True, "content": _content(operation.takes)}
    return found


def _content(body: type | str) -> dict[str, Any]:
    if isinstance(body, str):
        return {body: {"schema": {"type": "object" if body == "application/json" else "string"}}}
    return {"application/json": {"schema": _ref(body)}}


def _headers(*names: tuple[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in names}


def _ref(body: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{body.__name__}"}


class OpenApi:
    """Handler of the document."""

    def __init__(self, prefix: Prefix, *, of_worker: bool) -> None:
        self._prefix = prefix
        # Made at the start: it takes some milliseconds, which a record need not wait for.
        self._document = document(of_worker=of_worker)
        self._answers = Answers(most=8)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get(PATH, self.document)

    async def document(self, request: web.Request) -> web.Response:
        """The document, for clients that come by the address of this request."""
        prefix = self._prefix.public_prefix(request)

        async def made() -> Answer:
            body = msgspec.json.encode(self._document | {"servers": _servers(prefix)})
            return Answer(body, tag(body))

        return await answered(request, await self._answers.get(prefix, None, made, len(prefix)))
