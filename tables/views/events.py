"""``GET /api/v1/events``: counts as they change, as server-sent events.

Takes ``window``, ``event_type`` and ``priority`` as ``/api/v1/counts`` does. The event ``snapshot`` has all
counts; each event ``delta`` after it those that changed, and those that are gone. A client that comes back
sends the id of the last event that it got, as ``Last-Event-ID``; browsers do so by themselves. It gets what
it has missed, or a new snapshot.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Final

from aiohttp import web

from tables.views.counts_query import parse_stream_query
from tables.views.event_streams import GoingOn, send_events
from tables.views.live_stream import LiveStream
from tables.views.problems import Problem

#: Seconds after which a client that was refused may try again.
_RETRY_AFTER_S: Final = 5


class Events:
    """The handler of the live stream.

    Args:
        stream: what is sent.
        going_on: for how long that may go on.
    """

    def __init__(self, stream: LiveStream, going_on: GoingOn = lambda _: nullcontext()) -> None:
        self._stream = stream
        self._going_on = going_on

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/api/v1/events", self.events)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The stream, for as long as the client reads it."""
        query = parse_stream_query(request.query)
        if self._stream.is_full:
            self._stream.refused += 1
            raise Problem(
                503,
                "There are as many readers of the live stream as TOCSIN_WEB_LIVE_CLIENTS allows; "
                "ask /api/v1/counts, or try again later.",
                [("Retry-After", str(_RETRY_AFTER_S))],
            )
        last_id = request.headers.get("Last-Event-ID", "")
        return await send_events(
            request, self._going_on, lambda reader: self._stream.read(query, reader, last_id)
        )
