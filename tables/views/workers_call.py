"""``GET /api/v1/workers``: all workers, whichever of them is asked, and ``tocsin web`` as well.

Each writes its state every two seconds. ``as_of`` is the time up to which what they wrote was read.
"""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from tables.views.answers import Answer, Answers, answered, json_answer
from tables.views.counts_query import parameters
from tables.views.live_counts import LiveCounts
from tables.views.sources import Sources
from tables.views.times import rfc3339
from tables.views.worker_bodies import WorkerDeadLettersBody, WorkersBody, class_body, worker_body

PATH: Final = "/api/v1/workers"
_encode: Final = msgspec.json.Encoder().encode


class WorkersCall:
    """The handler.

    Args:
        sources: of the workers.
        live: whose lane the work is done in, and how long an answer serves.
        answers: keeps what was answered.
    """

    def __init__(self, sources: Sources, live: LiveCounts, answers: Answers) -> None:
        self._sources = sources
        self._live = live
        self._answers = answers

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get(PATH, self.workers)

    async def workers(self, request: web.Request) -> web.Response:
        """All workers."""
        parameters(request.query, ())
        answer = await self._answers.get(PATH, self._live.moment(), self._made)
        return await answered(request, answer)

    async def _made(self) -> Answer:
        async with self._live.lane.work() as pieces:
            source = self._sources.fleet
            as_of = rfc3339(source.as_of)
            fleet = await pieces.outcome(source.looking())
            workers = []
            for member in fleet.members:
                workers.append(msgspec.Raw(_encode(worker_body(member))))
                await pieces.rest()
            totals = fleet.totals
            body = WorkersBody(
                as_of=as_of,
                complete=source.complete,
                missing_partitions=sorted(source.missing),
                trouble=source.trouble,
                left_out=dict(sorted(fleet.left_out.items())),
                classes=[class_body(priority, found) for priority, found in totals.classes.items()],
                dead_letters=[
                    WorkerDeadLettersBody(*key, count, totals.dead_letter_bytes[key])
                    for key, count in totals.dead_letters.items()
                ],
                repairs=totals.repairs,
                workers=workers,  # type: ignore[arg-type]  # encoded already, in pieces
            )
            return json_answer(_encode(body), as_of)
