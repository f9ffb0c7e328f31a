"""What the API does: one entry for each method of each path, of which the documents are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.notifications.priority import Priority
from tables.buckets import RETENTION_S, WINDOWS
from tables.views.alert_bodies import AlertBody, AlertGroupsBody, AlertsBody
from tables.views.alerts_query import MOST_OFFSET, MOST_PARTITION
from tables.views.bodies import (
    ChangeBody,
    CheckBody,
    CountsBody,
    DeadLettersBody,
    MatrixBody,
    ReplayBody,
    ReplayRequestBody,
    SchedulerBody,
    SeriesBody,
)
from tables.views.counts_query import MOST_ITEMS, MOST_PATTERN, ORDERS, WINDOW_NAMES
from tables.views.matrix import MOST_ROWS, SORTS, URGENT
from tables.views.worker_bodies import WorkersBody

PATH: Final = "/api/v1/openapi.json"


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
            Parameter(
                "reason",
                "Items of one reason; one that there is not is refused. All without it.",
                {"type": "string"},
            ),
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
