"""Answers of server-sent events: how one begins, and that it may go on for as long as somebody reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from aiohttp import HttpVersion11, web

from tables.views.connections import Connections
from tables.views.live_channel import Reader
from tables.views.problems import harden

#: The time for which what a request asks for may go on; left once a session has ended.
GoingOn = Callable[[web.Request], AbstractAsyncContextManager[None]]

#: Milliseconds after which a client comes back that was cut off.
_RETRY_MS: Final = 2000
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events back until it has a few kilobytes of them
}


async def send_events(
    request: web.Request, going_on: GoingOn, send: Callable[[Reader], Awaitable[None]]
) -> web.StreamResponse:
    """Answer a request with events, until the client or its session has gone.

    Args:
        request: which may want the headers only.
        going_on: for how long it may go on.
        send: sends to the reader that it is given; returns once its connection has ended.
    """
    response = web.StreamResponse(headers=_HEADERS)
    response.force_close()
    harden(response)
    await response.prepare(request)
    if request.method == "HEAD" or request.transport is None:
        return response
    await response.write(b"retry: %d\n\n" % _RETRY_MS)  # and the headers
    Connections.is_stream(request)
    async with going_on(request):
        await send(Reader(request.transport, chunked=request.version >= HttpVersion11))
    # A browser comes back by itself, and is let in if the session has not ended.
    Connections.is_stream(request, goes_on=False)
    return response
