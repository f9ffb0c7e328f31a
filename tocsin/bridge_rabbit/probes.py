"""A small listener for the probes and metrics of a bridge from RabbitMQ."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.bridges.rabbit import RabbitBridge
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.outage import BrokerWatch
from streams.settings import ConfigurationError
from tables.views.listening import listening_sockets
from tocsin.bridge_rabbit.figures import make_registry

log = logging.getLogger(__name__)

#: Seconds for answers under way, at the end.
_CLOSE_S = 1.0


class BridgeHealth:
    """What is told of the bridge: why it is not ready.

    It is live as long as it answers: nothing else is mended by a restart.

    Args:
        bridge: from RabbitMQ.
        writer: to Kafka.
        brokers: whether they answer.
        stopping: whether the process was told to end.
    """

    def __init__(
        self, bridge: RabbitBridge, writer: KafkaWriter, brokers: BrokerWatch, stopping: Callable[[], bool]
    ) -> None:
        self._bridge = bridge
        self._writer = writer
        self._brokers = brokers
        self._stopping = stopping
        #: Whether Kafka was reached once; before that the watch says nothing.
        self.connected = False

    def reasons(self) -> list[str]:
        """One sentence for each reason why nothing goes from RabbitMQ to Kafka now; none when it is ready."""
        found = ["The process is stopping."] if self._stopping() else []
        if not self.connected:
            found.append("The brokers of Kafka have not been reached yet.")
        return [
            *found,
            *filter(None, (self._brokers.reason(), self._writer.reason(), self._bridge.reason())),
        ]

    def registry(self) -> CollectorRegistry:
        """The metrics."""
        return make_registry(self._bridge, self._writer, lambda: not self.reasons())


def make_app(health: BridgeHealth) -> web.Application:
    """The addresses ``/livez``, ``/readyz`` and ``/metrics``; none changes anything or tells of a message."""
    registry = health.registry()

    async def live(_: web.Request) -> web.Response:
        return _answer([])

    async def ready(_: web.Request) -> web.Response:
        return _answer(health.reasons())

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
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[None]:
    """Answer while the block lasts.

    Raises:
        ConfigurationError: it cannot be listened there.
    """
    try:
        sockets = listening_sockets(host, port)
    except OSError as error:
        raise ConfigurationError(
            f"The probes of the bridge cannot listen on {host}, port {port} ({error.strerror or error}): set "
            "TOCSIN_RABBIT_BRIDGE_HOST, or TOCSIN_RABBIT_BRIDGE_PORT, to 0 for any port that is free."
        ) from None
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_S)
    await runner.setup()
    try:
        for each in sockets:
            await web.SockSite(runner, each).start()
        address = sockets[0].getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        log.info("The web views are at http://%s:%d/readyz and /metrics.", shown, address[1])
        yield
    finally:
        await runner.cleanup()
