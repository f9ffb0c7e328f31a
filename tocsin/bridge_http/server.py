"""The server of the bridge for HTTP: what is posted goes to Kafka, and is answered once Kafka has it.

It listens, bounds connections and tells of problems with what the web views do that with.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from streams.bridges.http_bodies import BodyError, is_read, items_of
from streams.bridges.http_notifications import Accepted, Fault, RequestReader, trace_of
from streams.bridges.publishers import ANYBODY, Publisher, Publishers
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.cancellation import look_at
from streams.listening import BACKLOG, listening_sockets, why_not_listening
from streams.notifications.decoding import Limits
from streams.settings import ConfigurationError, Settings
from streams.settings.addresses import host_in_url, is_loopback, reachable_host
from tables.views.access import METRICS_ROUTE, Access, carries, token_of
from tables.views.connections import Connections
from tables.views.healthz import Healthz
from tables.views.metrics import Metrics
from tables.views.problems import Problem, harden, problem_response, route_of
from tables.views.reader_lane import ReaderLane
from tocsin.bridge_http.figures import BridgeFigures, make_registry
from tocsin.bridge_http.health import BridgeHealth
from tocsin.bridge_http.openapi import PATH, POST_PATH, document

log = logging.getLogger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Route of what is posted.
_PUBLISH: Final = "publish"
#: Seconds for a body to come in, for Kafka to confirm what was in it, and for a client to say hello in TLS.
BODY_S: Final = 20.0
CONFIRM_S: Final = 30.0
_HANDSHAKE_S: Final = 10.0
#: Seconds of a drain: longer than Kafka has to confirm would only wait for nothing.
_DRAIN_S: Final = 20.0
#: Bytes of bodies that are received at a time, of all connections together.
BODIES_BYTES: Final = 32 * 2**20
#: Seconds of Retry-After: while Kafka does not keep up, and while it is away.
_SOON_S: Final = 1
_LATER_S: Final = 5
#: Faults that an answer names.
_MOST_FAULTS: Final = 100
_BEARER: Final = ("WWW-Authenticate", 'Bearer realm="Tocsin"')


class BridgeServer:
    """Serves the bridge in the event loop that runs.

    Args:
        settings: address and bounds are used.
        publishers: who may publish; None for whoever reaches it.
        tls: of the connections; None for HTTP.
        writer: to Kafka.
        health: what the health checks ask.
        figures: are kept here.
        clock: the time in seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        publishers: Publishers | None,
        tls: ssl.SSLContext | None,
        writer: KafkaWriter,
        health: BridgeHealth,
        figures: BridgeFigures,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host, self._port = settings.http_bridge_host, settings.http_bridge_port
        self._max_body_bytes = settings.http_bridge_max_body_bytes
        self._publishers = publishers
        self._tls = tls
        self._writer = writer
        self._health = health
        self._figures = figures
        self._clock = clock
        self._reader = RequestReader(
            Limits(settings.max_notification_bytes, settings.max_depth, settings.max_event_type_length),
            settings.priorities,
            lambda: str(uuid.uuid4()),
        )
        # Under which names it may be asked for is decided as for the web views.
        self._access = Access(settings.model_copy(update={"web_host": self._host}))
        secret = settings.metrics_token
        self._metrics_token = None if secret is None else secret.get_secret_value().encode()
        self._metrics_open = settings.metrics_open or (secret is None and is_loopback(self._host))
        self.app = web.Application(middlewares=[self._answer])
        self._document = json.dumps(
            document(settings.priorities, with_tokens=publishers is not None)
        ).encode()
        router = self.app.router
        router.add_post(POST_PATH, self._publish, name=_PUBLISH)
        router.add_get(PATH, self._openapi)
        Healthz(health, lambda _: False).add_to(router)
        Metrics(make_registry(figures, writer, lambda: health.ready().ok), ReaderLane()).add_to(router)
        self._runner: web.AppRunner | None = None
        self._connections: Connections | None = None
        self._servers: list[asyncio.Server] = []
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> str:
        """Start listening; returns the URL, with the real port.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        self._runner = runner = web.AppRunner(self.app, handle_signals=False, shutdown_timeout=2.0)
        await runner.setup()
        if runner.server is None:
            raise RuntimeError("aiohttp made no server.")
        # A compressed body could become any number of bytes: none is unpacked.
        self._connections = connections = Connections(runner.server, unpacks=False)
        try:
            sockets = await asyncio.to_thread(listening_sockets, self._host, self._port)
        except (OSError, UnicodeError) as error:
            await self.stop()
            raise ConfigurationError(
                why_not_listening(error, self._host, self._port, settings="TOCSIN_HTTP_BRIDGE")
            ) from None
        for one in sockets:
            self._servers.append(
                await asyncio.get_running_loop().create_server(
                    connections,
                    sock=one,
                    backlog=BACKLOG,
                    ssl=self._tls,
                    ssl_handshake_timeout=None if self._tls is None else _HANDSHAKE_S,
                )
            )
        connections.start()
        scheme = "http" if self._tls is None else "https"
        host = host_in_url(reachable_host(self._host))
        return f"{scheme}://{host}:{sockets[0].getsockname()[1]}/"

    async def drain(self) -> bool:
        """Take nothing more, and wait within a bound for what is under way; whether all was answered."""
        for server in self._servers:
            server.close()
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        if self._connections is not None:
            await self._connections.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- Every request ---------------------------------------------------------------------

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        Connections.seen(request)
        route = request.match_info.route.name
        try:
            self._access.check_host(request)
            if route == METRICS_ROUTE:
                self._check_metrics(request)
            response = await handler(request)
            harden(response)
        except Problem as problem:
            response = problem_response(problem)
        except web.HTTPException as error:
            allow = error.headers.get("Allow")
            response = problem_response(Problem(error.status, headers=[("Allow", allow)] if allow else ()))
        except Exception:
            log.exception("Answering %s failed.", route_of(request))
            response = problem_response(Problem(500, "The bridge could not answer; its log says why."))
        if route == _PUBLISH:
            self._figures.answers[response.status] += 1
        if self._health.stopping:
            response.force_close()
        return response

    def _check_metrics(self, request: web.Request) -> None:
        if self._metrics_open or (self._metrics_token is not None and carries(request, self._metrics_token)):
            return
        if self._metrics_token is None:
            detail = "The metrics are closed: set TOCSIN_METRICS_TOKEN, or TOCSIN_METRICS_OPEN=true."
        else:
            detail = "Send the token of TOCSIN_METRICS_TOKEN as 'Authorization: Bearer <token>'."
        raise Problem(401, detail, headers=[_BEARER])

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type="application/json")

    # --- What is posted --------------------------------------------------------------------

    async def _publish(self, request: web.Request) -> web.Response:
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._published(request)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _published(self, request: web.Request) -> web.Response:
        publisher = self._publisher(request)
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            headers.setdefault(name.lower(), value)
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Problem(415, "Send the body as it is, without Content-Encoding.")
        if not is_read(media_type, headers):
            # Says what is read.
            raise _problem_of(_refusal(media_type, headers))
        self._check_room()
        async with self._body(request) as body:
            try:
                items = items_of(media_type, headers, body)
            except BodyError as error:
                raise _problem_of(error) from None
            now_ms = int(self._clock() * 1000)
            accepted, faults = self._reader.read(items, publisher, trace_of(headers), now_ms)
            if faults:
                raise _refused(faults)
            # Others may have filled it while this one came in.
            self._check_room()
            for priority in {each.priority for each in accepted}:
                if self._writer.reason(priority) is not None:
                    raise _later(
                        f"Kafka takes no notification of {priority} at present; send it again later."
                    )
            # What is in none of the two bounds is in the other: the bytes are the writer's from here on.
            futures = [
                self._writer.post(each.value, each.headers, priority=each.priority) for each in accepted
            ]
        await self._confirmed(accepted, futures)
        return web.json_response({"accepted": len(accepted)}, status=202)

    def _publisher(self, request: web.Request) -> Publisher:
        if self._publishers is None:
            return ANYBODY
        found = self._publishers.of(token_of(request) or b"")
        if found is None:
            raise Problem(
                401, "Send the token of a publisher as 'Authorization: Bearer <token>'.", headers=[_BEARER]
            )
        return found

    def _check_room(self) -> None:
        if self._health.stopping:
            raise _later("The bridge is stopping; send it to another one, or again later.")
        if self._health.trouble() is not None:
            raise _later("Kafka cannot be reached at present; send it again later.")
        if self._writer.full:
            raise _too_much("Kafka does not keep up with what comes in; send it again in a moment.")

    @asynccontextmanager
    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body, whose bytes count as held for as long as the block lasts."""
        most = self._max_body_bytes
        if (request.content_length or 0) > most:
            raise _too_long(most)
        figures = self._figures
        held = 0
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_S):
                async for part in request.content.iter_any():
                    held += len(part)
                    figures.bodies_bytes += len(part)
                    if held > most:
                        raise _too_long(most)
                    if figures.bodies_bytes > BODIES_BYTES:
                        raise _too_much("Too much comes in at a time; send it again in a moment.")
                    parts.append(part)
            yield b"".join(parts)
        except TimeoutError:
            raise Problem(408, f"The body did not come within {BODY_S:.0f} s; send it faster.") from None
        except (ClientPayloadError, web.RequestPayloadError, HttpProcessingError, ConnectionError):
            raise Problem(400, "The body broke off, or is not as its headers say.") from None
        finally:
            figures.bodies_bytes -= held

    async def _confirmed(self, accepted: Sequence[Accepted], futures: Sequence[asyncio.Future[None]]) -> None:
        """Wait until Kafka has confirmed all of them.

        Raises:
            Problem: it has not; what has no answer may lie in Kafka all the same.
        """
        if not futures:
            return
        _, waiting = await asyncio.wait(futures, timeout=CONFIRM_S)
        for future in waiting:
            future.add_done_callback(look_at)
        too_large = []
        for index, (each, future) in enumerate(zip(accepted, futures, strict=True)):
            if future in waiting or future.cancelled():
                continue
            if (error := future.exception()) is None:
                self._figures.confirmed[each.priority] += 1
            elif isinstance(error, RecordRefusedForSizeError):
                too_large.append(Fault(index, "Kafka takes no record of this size; make it smaller."))
            else:
                raise error
        if waiting or any(future.cancelled() for future in futures):
            raise _later("Kafka has not confirmed all of it in time; send it again, with the same ids.")
        if too_large:
            raise Problem(
                413,
                "Kafka refuses what errors names for its size, and has taken the rest.",
                more=_shown(too_large),
            )


def _refusal(media_type: str, headers: dict[str, str]) -> BodyError:
    try:
        items_of(media_type, headers, b"")
    except BodyError as error:
        return error
    raise RuntimeError("A media type is read, and is not.")


def _problem_of(error: BodyError) -> Problem:
    return Problem(error.status, error.detail)


def _refused(faults: Sequence[Fault]) -> Problem:
    forbidden = all(each.forbidden for each in faults)
    return Problem(
        403 if forbidden else 400,
        "Nothing was taken: mend or leave out what errors names, and send it again.",
        more=_shown(faults),
    )


def _shown(faults: Sequence[Fault]) -> dict[str, object]:
    return {
        "errors": [{"index": each.index, "reason": each.reason} for each in faults[:_MOST_FAULTS]],
        "error_count": len(faults),
    }


def _too_long(most: int) -> Problem:
    return Problem(413, f"The body has more than {most} bytes; send fewer notifications at a time.")


def _too_much(detail: str) -> Problem:
    return Problem(429, detail, headers=[("Retry-After", str(_SOON_S))])


def _later(detail: str) -> Problem:
    return Problem(503, detail, headers=[("Retry-After", str(_LATER_S))])
