"""``GET /api/v1/events``: counts as they change, as server-sent events.

Takes ``window``, ``event_type`` and ``priority`` as ``/api/v1/counts`` does. The event ``snapshot`` has all
counts; each event ``delta`` after it those that changed, and those that are gone. A client that comes back
sends the id of the last event that it got, as ``Last-Event-ID``; browsers do so by themselves. It gets what
it has missed, or a new snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from aiohttp import HttpVersion11, web

from tables.views.connections import Connections
from tables.views.counts_query import BadQueryError, parse_stream_query
from tables.views.live_channel import Reader
from tables.views.live_stream import LiveStream
from tables.views.problems import Problem, harden

#: Milliseconds after which a client comes back that was cut off.
RETRY_MS: Final = 2000
#: Seconds after which a client that was refused may try again.
_RETRY_AFTER_S: Final = 5
HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events back until it has a few kilobytes of them
}


class Events:
    """The handler of the live stream.

    Args:
        stream: what is sent.
        going_on: the time for which what a request asks for may go on; left once a session has ended.
    """

    def __init__(
        self,
        stream: LiveStream,
        going_on: Callable[[web.Request], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self._stream = stream
        self._going_on = going_on

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/api/v1/events", self.events)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The stream, for as long as the client reads it."""
        try:
            query = parse_stream_query(request.query)
        except BadQueryError as error:
            raise Problem(400, str(error)) from None
        if self._stream.is_full:
            self._stream.refused += 1
            raise Problem(
                503,
                "There are as many readers of the live stream as TOCSIN_WEB_LIVE_CLIENTS allows; "
                "ask /api/v1/counts, or try again later.",
                [("Retry-After", str(_RETRY_AFTER_S))],
            )
        response = web.StreamResponse(headers=HEADERS)
        response.force_close()
        harden(response)
        await response.prepare(request)
        if request.method == "HEAD" or request.transport is None:
            return response
        await response.write(b"retry: %d\n\n" % RETRY_MS)  # and the headers
        reader = Reader(request.transport, chunked=request.version >= HttpVersion11)
        Connections.is_stream(request)
        async with self._going_on(request):
            await self._stream.read(query, reader, request.headers.get("Last-Event-ID", ""))
        # A browser comes back by itself, and is let in if the session has not ended.
        Connections.is_stream(request, goes_on=False)
        return response
