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

from functools import partial
from typing import Final

import msgspec
from aiohttp import web

from tables.views.answers import Answer, Answers, answered, json_answer
from tables.views.bodies import (
    AgeGuardBody,
    BucketItem,
    BufferedBody,
    ChangedBody,
    ClassBody,
    CountsBody,
    LagBody,
    SchedulerBody,
    SeriesBody,
    SeriesItem,
    ShareBody,
    StallBody,
    TypeTotalItem,
)
from tables.views.changes import Changes
from tables.views.counts_query import (
    CountsQuery,
    SeriesQuery,
    parameters,
    parse_counts_query,
    parse_series_query,
)
from tables.views.encoding import encoded_items, late_items
from tables.views.live_counts import LiveCounts, Snapshot
from tables.views.problems import Problem, json_response
from tables.views.scheduler_call import change_scheduler
from tables.views.sources import Sources
from tables.views.times import rfc3339

#: Name of the route that asks for the admin token instead of the web token.
CHANGE_ROUTE = "change-scheduler"
#: Buckets that are put into a body in one step.
_STEP: Final = 50
_encode: Final = msgspec.json.Encoder().encode


def scheduler_body(sources: Sources, *, of_worker: bool = True) -> SchedulerBody:
    """The answer of ``/api/v1/scheduler``."""
    scheduler, settings = sources.scheduler, sources.settings
    profile, guard = scheduler.profile, scheduler.guard
    now = settings if profile is None else profile.settings
    return SchedulerBody(
        as_of=rfc3339(sources.clock()),
        # Weights are each worker's own: a call changes those of the worker that answers it.
        scope="this worker" if of_worker else "no worker",
        pool=settings.pool or "main",
        mode=now.effective_mode,
        profile=now.profile,
        changed=None if profile is None else ChangedBody(rfc3339(profile.since), profile.source),
        virtual_time=scheduler.virtual_time,
        age_guard=None
        if guard is None
        else AgeGuardBody(
            guard.share,
            {priority.value: limit for priority, limit in guard.limits.items()},
            guard.credit,
            guard.dispatches,
            guard.service_seconds,
        ),
        classes=[
            ClassBody(
                priority=priority.value,
                weight=state.weight,
                share=ShareBody(state.configured_share, state.achieved_share, state.minute_share),
                virtual_time=state.virtual_time,
                buffered=BufferedBody(state.buffered_records, state.buffered_bytes),
                lag=LagBody(state.lag_records, state.oldest_age_s),
                dispatched=state.dispatched_records,
                service_seconds=state.service_seconds,
            )
            for priority, state in sorted(scheduler.snapshot().items(), key=lambda each: each[0].rank)
        ],
        stalls=[
            StallBody(rfc3339(each.at), each.seconds, each.cause, each.where or None)
            for each in reversed(list(sources.stalls.last))
        ],
    )


class Api:
    """Handlers of the API.

    Args:
        sources: what is shown.
        live: counts of all windows.
        answers: keeps what was answered.
        changes: lets changes through.
        of_worker: whether there is a scheduler to change; else there are no classes to show.
    """

    def __init__(
        self,
        sources: Sources,
        live: LiveCounts,
        answers: Answers,
        changes: Changes,
        *,
        of_worker: bool = True,
    ) -> None:
        self._sources = sources
        self._live = live
        self._answers = answers
        self._changes = changes
        self._of_worker = of_worker

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/api/v1/counts", self.counts)
        router.add_get("/api/v1/counts/{event_type:.+}", self.event_type)
        router.add_get("/api/v1/scheduler", self.scheduler)
        change = self.change_scheduler if self._of_worker else self.no_scheduler
        router.add_put("/api/v1/scheduler", change, name=CHANGE_ROUTE)

    async def counts(self, request: web.Request) -> web.Response:
        """Counts in a window."""
        query = parse_counts_query(request.query)
        snapshot = await self._live.snapshot(query.window)
        answer = await self._answers.get(
            query, snapshot, partial(self._counts, snapshot, query), len(request.query_string)
        )
        return await answered(request, answer)

    async def _counts(self, snapshot: Snapshot, query: CountsQuery) -> Answer:
        items, cursor = await self._live.page_of(snapshot, query)
        async with self._live.lane.work() as pieces:
            fresh = snapshot.freshness
            as_of = rfc3339(fresh.as_of_s)
            body = CountsBody(
                as_of,
                fresh.complete,
                fresh.missing,
                query.window,
                await encoded_items(items, pieces),
                cursor,
                late_items(snapshot.late, query.priority),
            )
            return json_answer(_encode(body), as_of)

    async def event_type(self, request: web.Request) -> web.Response:
        """Buckets of one event type."""
        event_type = request.match_info["event_type"]
        query = parse_series_query(request.query, self._live.now_s)
        if not self._sources.counts.totals.known(event_type):
            raise Problem(404, "No notification of this event type was counted yet.")
        # The times that are not given move on by themselves, with each answer that is made anew.
        key = event_type, request.query_string
        answer = await self._answers.get(
            key, self._live.moment(), partial(self._event_type, event_type, query), sum(map(len, key))
        )
        return await answered(request, answer)

    async def _event_type(self, event_type: str, query: SeriesQuery) -> Answer:
        known, fresh = self._sources.counts.totals.known(event_type), self._live.freshness()
        series = []
        for priority in known if query.priority is None else [query.priority]:
            points = await self._live.series(event_type, priority, query)
            async with self._live.lane.work() as pieces:
                buckets = []
                for start in range(0, len(points), _STEP):
                    buckets += [
                        BucketItem(rfc3339(at, "seconds"), count)
                        for at, count in points[start : start + _STEP]
                    ]
                    await pieces.rest()
            series.append(SeriesItem(priority, sum(count for _, count in points), buckets))
        as_of = rfc3339(fresh.as_of_s)
        body = SeriesBody(
            as_of=as_of,
            complete=fresh.complete,
            missing_partitions=fresh.missing,
            event_type=event_type,
            resolution_s=query.resolution_s,
            start=rfc3339(query.start_s, "seconds"),
            end=rfc3339(query.end_s, "seconds"),
            totals=[
                TypeTotalItem(priority, total, rfc3339(seen_ms / 1000))
                for priority, (total, seen_ms) in known.items()
            ],
            series=series,
        )
        return json_answer(_encode(body), as_of)

    async def scheduler(self, request: web.Request) -> web.Response:
        """State of every class."""
        parameters(request.query, ())
        return json_response(_encode(scheduler_body(self._sources, of_worker=self._of_worker)))

    async def no_scheduler(self, request: web.Request) -> web.Response:  # noqa: ARG002 - all get the same
        """Refuse to change what is not here, and say where it is."""
        raise Problem(
            405,
            "Here is no scheduler: send this to the web views of a worker, each of which has weights of its "
            "own, with the token of TOCSIN_ADMIN_TOKEN.",
            [("Allow", "GET,HEAD")],
        )

    async def change_scheduler(self, request: web.Request) -> web.Response:
        """Change weights and mode of this worker."""
        await change_scheduler(request, self._sources, self._changes)
        return json_response(_encode(scheduler_body(self._sources)))
