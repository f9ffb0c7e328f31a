"""The OpenAPI 3.1 document of the API, made from the types of its bodies and the rules of its parameters.

Each route of the API has an `Operation` here; a test compares them with the routes that are served.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from streams import __version__
from streams.notifications.priority import Priority
from tables.buckets import RETENTION_S, WINDOWS
from tables.views.alert_bodies import AlertBody, AlertGroupsBody, AlertsBody
from tables.views.alerts_query import MOST_OFFSET, MOST_PARTITION
from tables.views.answers import AS_OF_HEADER, Answer, Answers, answered, tag
from tables.views.bodies import (
    ChangeBody,
    CheckBody,
    CountsBody,
    DeadLettersBody,
    DeltaEvent,
    MatrixBody,
    ProblemBody,
    ReplayBody,
    ReplayRequestBody,
    SchedulerBody,
    SeriesBody,
    SnapshotEvent,
)
from tables.views.counts_query import MOST_ITEMS, MOST_PATTERN, ORDERS, WINDOW_NAMES
from tables.views.matrix import MOST_ROWS, SORTS, URGENT
from tables.views.prefix import Prefix
from tables.views.sessions import COOKIE
from tables.views.worker_bodies import WorkersBody

PATH: Final = "/api/v1/openapi.json"

_DESCRIPTION: Final = (
    "Counts of notifications, alerts, workers and dead letters. Times are RFC 3339 in UTC; an error is a "
    "problem (RFC 9457) whose detail says what to change."
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation; ``schema`` is a JSON schema."""

    name: str
    description: str
    schema: dict[str, Any]
    where: str = "query"

    def shown(self) -> dict[str, Any]:
        """As the document has it."""
        return {
            "name": self.name,
            "in": self.where,
            "required": self.where == "path",
            "description": self.description,
            "schema": self.schema,
        }


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one path does.

    Attributes:
        path: as OpenAPI writes it.
        name: of the operation, for clients that are made from the document.
        summary: one sentence.
        body: type of the answer; or the media type of one that is no JSON.
        parameters: all that it takes.
        problems: status codes that it answers besides.
        method: in lower case.
        kept: whether the answer has an ETag.
        takes: type of the request's body.
        also_failed: whether 503 has the same body.
        access: whose token is asked for: ``web``, ``metrics``, ``admin``, ``none``, or
            ``change``, which a session can have, too.
        of_worker: whether ``tocsin web`` lacks it.
    """

    path: str
    name: str
    summary: str
    body: type | str
    parameters: Sequence[Parameter] = ()
    problems: Sequence[int] = (400, 401)
    method: str = "get"
    kept: bool = False
    takes: type | None = None
    also_failed: bool = False
    access: str = "web"
    of_worker: bool = False


_PRIORITY: Final = Parameter(
    "priority", "One priority; upper or lower case. All without it.", {"type": "string", "enum": [*Priority]}
)
_WINDOW: Final = Parameter(
    "window",
    "A window that ends now; `total` is since the first notification.",
    {"type": "string", "enum": [*WINDOW_NAMES], "default": "5m"},
)
_PATTERN: Final = Parameter(
    "event_type",
    "Event types, with the wildcards * and ?, of which there may be 8. All without it.",
    {"type": "string", "maxLength": MOST_PATTERN},
)
_PUBLISHER: Final = Parameter(
    "publisher",
    "Publishers, with the wildcards * and ?, of which there may be 8. All without it.",
    {"type": "string", "maxLength": MOST_PATTERN},
)
_LIMIT: Final = Parameter(
    "limit",
    "Items of a page.",
    {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": 100},
)
_CURSOR: Final = Parameter(
    "cursor",
    "`next` of the answer before; leave the other parameters as they were.",
    {"type": "string"},
)
_TIME: Final = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number", "minimum": 0}]}

OPERATIONS: Final = (
    Operation(
        "/api/v1/counts",
        "counts",
        "Counts by event type and priority.",
        CountsBody,
        (
            _WINDOW,
            _PATTERN,
            _PRIORITY,
            Parameter(
                "sort",
                "The order; - in front turns it round.",
                {"type": "string", "enum": [*ORDERS], "default": "-count"},
            ),
            _LIMIT,
            _CURSOR,
        ),
        kept=True,
    ),
    Operation(
        "/api/v1/counts/{event_type}",
        "countsOfEventType",
        "Counts of one event type over time, for a chart, and its totals.",
        SeriesBody,
        (
            Parameter("event_type", "The event type.", {"type": "string", "minLength": 1}, "path"),
            Parameter(
                "window", "The time that is shown.", {"type": "string", "enum": [*WINDOWS], "default": "1h"}
            ),
            _PRIORITY,
            Parameter(
                "resolution",
                "Seconds of a bucket; by the window without it.",
                {"type": "integer", "enum": [*RETENTION_S]},
            ),
            Parameter("from", "Begin: RFC 3339, or seconds since 1970; in place of the window.", _TIME),
            Parameter("to", "End: RFC 3339, or seconds since 1970.", _TIME),
        ),
        problems=(400, 401, 404),
        kept=True,
    ),
    Operation(
        "/api/v1/matrix",
        "matrix",
        "Counts with an item for each event type, the most urgent first, as the page Counts shows them.",
        MatrixBody,
        (
            _WINDOW,
            _PATTERN,
            _PRIORITY,
            Parameter(
                "sort",
                "The order; - in front turns it round. `urgent`: by the counts of CRITICAL, then of ERROR, "
                "and so on.",
                {"type": "string", "enum": [*SORTS], "default": URGENT},
            ),
            Parameter(
                "limit",
                "Items of a page.",
                {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": 100},
            ),
            _CURSOR,
        ),
        kept=True,
    ),
    Operation(
        "/api/v1/alerts",
        "alerts",
        "The last alerts, newest first.",
        AlertsBody,
        (_PRIORITY, _PATTERN, _PUBLISHER, _LIMIT, _CURSOR),
        problems=(400, 401, 404),
        kept=True,
    ),
    Operation(
        "/api/v1/alerts/groups",
        "alertGroups",
        "The last alerts by event type and publisher, with counts over time.",
        AlertGroupsBody,
        (
            _PRIORITY,
            _PATTERN,
            _PUBLISHER,
            Parameter(
                "window",
                "The time that the buckets span.",
                {"type": "string", "enum": [*WINDOWS], "default": "1h"},
            ),
            _LIMIT,
            _CURSOR,
        ),
        problems=(400, 401, 404),
        kept=True,
    ),
    Operation(
        "/api/v1/alerts/{topic}/{partition}/{offset}",
        "alert",
        "One alert by its place, with what was published where that may be shown.",
        AlertBody,
        (
            Parameter("topic", "The alert topic.", {"type": "string", "minLength": 1}, "path"),
            Parameter(
                "partition",
                "Of the topic.",
                {"type": "integer", "minimum": 0, "maximum": MOST_PARTITION},
                "path",
            ),
            Parameter(
                "offset",
                "Of the record.",
                {"type": "integer", "minimum": 0, "maximum": MOST_OFFSET},
                "path",
            ),
        ),
        problems=(400, 401, 404),
        kept=True,
    ),
    Operation(
        "/api/v1/events",
        "events",
        "Counts as they change: server-sent events `snapshot` (SnapshotEvent) and `delta` (DeltaEvent).",
        "text/event-stream",
        (
            _WINDOW,
            _PATTERN,
            _PRIORITY,
            Parameter("Last-Event-ID", "The event that was got last.", {"type": "string"}, "header"),
        ),
        problems=(400, 401, 503),
    ),
    Operation(
        "/api/v1/scheduler",
        "scheduler",
        "What each priority has and gets on the worker that answers.",
        SchedulerBody,
    ),
    Operation(
        "/api/v1/scheduler",
        "changeScheduler",
        "Change weights, mode or profile of the worker that answers.",
        SchedulerBody,
        problems=(400, 401, 403, 413, 415, 503),
        method="put",
        takes=ChangeBody,
        access="admin",
        of_worker=True,
    ),
    Operation(
        "/api/v1/workers",
        "workers",
        "All workers, as each says of itself: classes, partitions, dead letters; and the sums of them.",
        WorkersBody,
        kept=True,
    ),
    Operation(
        "/api/v1/dead-letters",
        "deadLetters",
        "The latest records that could not be read, and how many of them there are.",
        DeadLettersBody,
        (
            Parameter("reason", "Items of one reason. All without it.", {"type": "string"}),
            _PRIORITY,
            Parameter(
                "limit",
                "Items, the latest.",
                {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": 100},
            ),
        ),
        problems=(400, 401, 429, 503),
    ),
    Operation(
        "/api/v1/dead-letters/replay",
        "replayDeadLetters",
        "Send dead letters unchanged to the topics they came from.",
        ReplayBody,
        problems=(400, 401, 403, 413, 415, 429, 503),
        method="post",
        takes=ReplayRequestBody,
        access="change",
    ),
    Operation(PATH, "openapi", "The OpenAPI document.", "application/json", problems=(401,), kept=True),
    Operation(
        "/metrics",
        "metrics",
        "Metrics for Prometheus.",
        "text/plain",
        problems=(401,),
        access="metrics",
    ),
    Operation(
        "/livez",
        "live",
        "Whether anything but a restart can help.",
        CheckBody,
        problems=(),
        also_failed=True,
        access="none",
    ),
    Operation(
        "/readyz",
        "ready",
        "Whether it works now.",
        CheckBody,
        problems=(),
        also_failed=True,
        access="none",
    ),
    Operation(
        "/startupz",
        "started",
        "Whether it has worked once.",
        CheckBody,
        problems=(),
        also_failed=True,
        access="none",
    ),
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


def paths_of(operations: Iterable[Operation] = OPERATIONS) -> set[tuple[str, str]]:
    """Method and path of every operation."""
    return {(each.method.upper(), each.path) for each in operations}
