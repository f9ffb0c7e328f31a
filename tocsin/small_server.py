"""A small listener for the probes and metrics of a process that has no other web views."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.listening import listening_sockets, why_not_listening
from streams.settings import ConfigurationError

log = logging.getLogger(__name__)

#: Seconds for answers under way, at the end.
_CLOSE_S = 1.0


def make_app(reasons: Callable[[], list[str]], registry: CollectorRegistry) -> web.Application:
    """The addresses ``/livez``, which passes while there is an answer, ``/readyz`` and ``/metrics``.

    Args:
        reasons: one sentence for each reason why the process is not ready.
        registry: the metrics.
    """

    async def live(_: web.Request) -> web.Response:
        return _answer([])

    async def ready(_: web.Request) -> web.Response:
        return _answer(reasons())

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/livez", live), web.get("/readyz", ready), web.get("/metrics", metrics)])
    return app


def _answer(reasons: list[str]) -> web.Response:
    text = json.dumps({"status": "failing" if reasons else "ok", "reasons": reasons})
    return web.Response(
        text=text,
        status=503 if reasons else 200,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, setting: str) -> AsyncIterator[None]:
    """Answer while the block lasts.

    Args:
        app: that answers.
        host: the address to listen on.
        port: its port; 0 for any that is free.
        setting: what the names of the settings of both begin with.

    Raises:
        ConfigurationError: it cannot be listened there.
    """
    try:
        sockets = listening_sockets(host, port)
    except OSError as error:
        raise ConfigurationError(why_not_listening(error, host, port, settings=setting)) from None
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_S)
    await runner.setup()
    try:
        for each in sockets:
            await web.SockSite(runner, each).start()
        address = sockets[0].getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        log.info("Probes and metrics are at http://%s:%d/readyz and /metrics.", shown, address[1])
        yield
    finally:
        await runner.cleanup()
