"""The JSON API, version 1. It only reads, but for one call.

``GET /api/v1/counts``
    ``window`` (5m), ``event_type`` (with ``*`` and ``?``), ``priority``, ``sort`` (-count), ``limit`` (100,
    at most 1000) and ``cursor``. ``next`` is the cursor of the following page, to be sent as ``cursor``
    with the other parameters unchanged, or null. ``as_of`` is null until the worker has read everything.
    ``late`` says of which priorities notifications come that are dated too early for the window.

``GET /api/v1/counts/{event_type}``
    Buckets for a chart, and totals. ``window`` (1h), ``priority``, ``resolution`` (10, 60 or 3600 seconds),
    ``from`` and ``to`` (RFC 3339, or seconds since 1970).

``GET /api/v1/scheduler``
    What every priority class has and gets, and by what rules. PUT changes the rules; see
    ``tables.views.scheduler_call``.
"""

from __future__ import annotations

from aiohttp import web

from tables.totals import Count, Late
from tables.views.counts_query import (
    BadQueryError,
    CountsQuery,
    parameters,
    parse_counts_query,
    parse_series_query,
)
from tables.views.live_counts import Freshness, LiveCounts, Snapshot
from tables.views.problems import Problem, json_response
from tables.views.scheduler_call import change_scheduler
from tables.views.sources import Sources
from tables.views.times import age, rfc3339


def count_body(item: Count) -> dict[str, object]:
    """A count as the API shows it."""
    return {
        "event_type": item.event_type,
        "priority": item.priority,
        "count": item.count,
        "last_seen": rfc3339(item.last_seen_ms / 1000),
    }


def freshness_body(freshness: Freshness) -> dict[str, object]:
    """How fresh an answer is, as the API shows it."""
    return {
        "as_of": rfc3339(freshness.as_of_s),
        "complete": freshness.complete,
        "missing_partitions": freshness.missing,
    }


def counts_body(
    snapshot: Snapshot, query: CountsQuery, items: list[Count], cursor: str | None
) -> dict[str, object]:
    """The answer of ``/api/v1/counts``."""
    return freshness_body(snapshot.freshness) | {
        "window": query.window,
        "items": [count_body(item) for item in items],
        "next": cursor,
        "late": [
            {"priority": each.priority, "behind_s": round(each.behind_s), "hint": late_hint(each)}
            for each in snapshot.late
            if query.priority in (None, each.priority)
        ],
    }


def late_hint(late: Late) -> str:
    """Why a window may show less than what comes in, in one sentence."""
    return (
        f"{late.priority} notifications that come in now are dated {age(late.behind_s)} back, and are in "
        "longer windows only: the clock of a publisher is slow, or a backlog is being read."
    )


def scheduler_body(sources: Sources) -> dict[str, object]:
    """The answer of ``/api/v1/scheduler``."""
    scheduler, settings = sources.scheduler, sources.settings
    profile, guard = scheduler.profile, scheduler.guard
    now = settings if profile is None else profile.settings
    return {
        "as_of": rfc3339(sources.clock()),
        # Weights are each worker's own: a call changes those of the worker that answers it.
        "scope": "this worker",
        "pool": settings.pool or "main",
        "mode": now.effective_mode,
        "profile": now.profile,
        "changed": None if profile is None else {"at": rfc3339(profile.since), "by": profile.source},
        "virtual_time": scheduler.virtual_time,
        "age_guard": None
        if guard is None
        else {
            "share": guard.share,
            "limits": {priority.value: limit for priority, limit in guard.limits.items()},
            "credit_seconds": guard.credit,
            "dispatches": guard.dispatches,
            "service_seconds": guard.service_seconds,
        },
        "classes": [
            {
                "priority": priority.value,
                "weight": state.weight,
                "share": {
                    "configured": state.configured_share,
                    "achieved": state.achieved_share,
                    "last_minute": state.minute_share,
                },
                "virtual_time": state.virtual_time,
                "buffered": {"records": state.buffered_records, "bytes": state.buffered_bytes},
                "lag": {"records": state.lag_records, "seconds": state.oldest_age_s},
                "dispatched": state.dispatched_records,
                "service_seconds": state.service_seconds,
            }
            for priority, state in sorted(scheduler.snapshot().items(), key=lambda each: each[0].rank)
        ],
        "stalls": [
            {
                "at": rfc3339(each.at),
                "seconds": each.seconds,
                "cause": each.cause,
                "where": each.where or None,
            }
            for each in reversed(list(sources.stalls.last))
        ],
    }


#: Name of the route that asks for the admin token instead of the web token.
CHANGE_ROUTE = "change-scheduler"


class Api:
    """Handlers of the API."""

    def __init__(self, sources: Sources, live: LiveCounts) -> None:
        self._sources = sources
        self._live = live

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/api/v1/counts", self.counts)
        router.add_get("/api/v1/counts/{event_type:.+}", self.event_type)
        router.add_get("/api/v1/scheduler", self.scheduler)
        router.add_put("/api/v1/scheduler", self.change_scheduler, name=CHANGE_ROUTE)

    async def counts(self, request: web.Request) -> web.Response:
        """Counts in a window."""
        try:
            query = parse_counts_query(request.query)
        except BadQueryError as error:
            raise Problem(400, str(error)) from None
        snapshot, items, cursor = await self._live.page(query)
        return json_response(counts_body(snapshot, query, items, cursor))

    async def event_type(self, request: web.Request) -> web.Response:
        """Buckets of one event type."""
        event_type = request.match_info["event_type"]
        source = self._sources.counts
        now_s = self._live.now_s
        try:
            query = parse_series_query(request.query, now_s)
        except BadQueryError as error:
            raise Problem(400, str(error)) from None
        known = source.totals.known(event_type)
        if not known:
            raise Problem(404, "No notification of this event type was counted yet.")
        freshness = Freshness.of(source)
        series = []
        for priority in known if query.priority is None else [query.priority]:
            points = await self._live.series(event_type, priority, query)
            series.append(
                {
                    "priority": priority,
                    "count": sum(count for _, count in points),
                    "buckets": [
                        {"start": rfc3339(start, "seconds"), "count": count} for start, count in points
                    ],
                }
            )
        return json_response(
            freshness_body(freshness)
            | {
                "event_type": event_type,
                "resolution_s": query.resolution_s,
                "from": rfc3339(query.start_s, "seconds"),
                "to": rfc3339(query.end_s, "seconds"),
                "totals": [
                    {"priority": priority, "count": total, "last_seen": rfc3339(seen_ms / 1000)}
                    for priority, (total, seen_ms) in known.items()
                ],
                "series": series,
            }
        )

    async def scheduler(self, request: web.Request) -> web.Response:
        """State of every class."""
        try:
            parameters(request.query, ())
        except BadQueryError as error:
            raise Problem(400, str(error)) from None
        return json_response(scheduler_body(self._sources))

    async def change_scheduler(self, request: web.Request) -> web.Response:
        """Change weights and mode of this worker."""
        await change_scheduler(request, self._sources)
        return json_response(scheduler_body(self._sources))
