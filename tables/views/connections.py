"""Connections of the web views, bounded in number and in time.

The views share the event loop with the scheduler, and the health checks share them with everybody: a client
that sends or reads slowly must neither use up the worker's connections nor keep a health check out.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from streams.cancellation import end
from tables.views.problems import Problem, problem_response

#: Connections at a time; beyond that the oldest is dropped, so that a health check always gets in.
MOST_CONNECTIONS: Final = 256
#: Seconds from a request to the last byte of its answer; then the client is cut off.
EXCHANGE_S: Final = 60.0
#: Seconds after which an idle connection is closed. Longer than clients keep one (aiohttp's 15 s, Java's
#: 30 s): a request that meets the end of its connection fails, and a POST is not sent again.
IDLE_S: Final = 55.0
_SWEEP_S: Final = 5.0

#: For aiohttp's protocol; sizes in bytes, times in seconds.
_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": IDLE_S,  # also for a first request that is slow to arrive
    "lingering_time": 2.0,
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
}


class _Protocol(web.RequestHandler):
    """Answers what is no HTTP with a problem, too, and does not repeat it."""

    __slots__ = ("since", "streams")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, *, unpacks: bool = True) -> None:
        super().__init__(server, loop=loop, auto_decompress=unpacks, **_OPTIONS)
        #: Event-loop time of the latest request or the end of its answer, or of the connection before any.
        self.since = loop.time()
        #: Whether it is a live stream, which has bounds of its own: see ``tables.views.live_stream``.
        self.streams = False

    def data_received(self, data: bytes) -> None:
        """Take what came; what is no HTTP is forgotten at once."""
        super().data_received(data)
        # The error of aiohttp holds the frame that caught it, with what came, and that holds the error: both
        # would stay until a collection, which a worker makes seldom, and anybody may send what is no HTTP.
        for message, _ in self._messages:
            if (error := getattr(message, "exc", None)) is not None:
                error.__traceback__ = error.__context__ = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Finish an answer; from then on the client has all the time again that one may be idle."""
        finished = await super().finish_response(request, resp, start_time)
        self.since = asyncio.get_running_loop().time()
        return finished

    def cut(self) -> None:
        """End the connection, whatever is still to be sent."""
        transport = self.transport
        self.force_close()
        abort = getattr(
            transport, "abort", None
        )  # not isinstance: uvloop's transport is no asyncio.Transport
        if abort is not None:
            abort()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        if status >= 500:
            self.log_exception("Answering a request failed.", exc_info=exc)
        response = problem_response(Problem(status))
        response.force_close()
        return response


class Connections:
    """Makes the protocol of every connection, and closes those that take too long.

    Args:
        server: aiohttp's, of an application runner.
        most: connections at a time.
        unpacks: whether bodies that are compressed are unpacked; without a bound on what comes of them.
    """

    def __init__(self, server: web.Server, *, most: int | None = None, unpacks: bool = True) -> None:
        self._server = server
        self._unpacks = unpacks
        self._most = MOST_CONNECTIONS if most is None else most
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        loop = asyncio.get_running_loop()
        open_now = self._open()
        if len(open_now) >= self._most:
            min(open_now, key=lambda each: each.since).cut()
        return _Protocol(self._server, loop, unpacks=self._unpacks)

    def __len__(self) -> int:
        """Connections that are open, or not yet closed."""
        return len(self._server.connections)

    def _open(self) -> list[_Protocol]:
        return [
            each
            for each in self._server.connections
            if isinstance(each, _Protocol) and each.transport and not each.streams
        ]

    @staticmethod
    def seen(request: web.Request) -> None:
        """Note that a request arrived."""
        if isinstance(request.protocol, _Protocol):
            request.protocol.since = asyncio.get_running_loop().time()

    @staticmethod
    def is_stream(request: web.Request, *, goes_on: bool = True) -> None:
        """Note that the answer to a request goes on for as long as the client wants, or no longer."""
        if isinstance(request.protocol, _Protocol):
            request.protocol.streams = goes_on

    def sweep(self, now: float) -> int:
        """Cut the connections that took too long by ``now`` (event-loop time); returns how many."""
        slow = [each for each in self._open() if now - each.since > EXCHANGE_S]
        for protocol in slow:
            protocol.cut()
        return len(slow)

    def start(self) -> None:
        """Start sweeping."""
        self._task = asyncio.create_task(self._run(), name="web-connections")

    async def stop(self) -> None:
        """Stop sweeping."""
        await end(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self.sweep(asyncio.get_running_loop().time())
