"""A bridge that is served on real connections, with a writer whose confirmations are given at will."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import jsonschema

from streams.bridges.publishers import read_publishers
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.notifications.priority import Priority
from streams.settings import Settings, load_settings
from tocsin.bridge_http.figures import BridgeFigures
from tocsin.bridge_http.health import BridgeHealth
from tocsin.bridge_http.openapi import POST_PATH, document
from tocsin.bridge_http.server import BridgeServer

TOKEN = "0123456789abcdef"
ONE = {"event_type": "a.b", "publisher_id": "compute.host1", "message_id": "m-1", "priority": "ERROR"}
JSON = {"Content-Type": "application/json"}


class Writer:
    """Takes records; confirms at once unless it holds them."""

    def __init__(self) -> None:
        self.full = self.holds = False
        self.bytes = self.failures = 0
        self.away: str | None = None
        #: Priorities whose topics take nothing, while those of others do.
        self.stuck: set[Priority] = set()
        self.refuses: set[bytes] = set()
        self.posted: list[tuple[Priority, bytes, Sequence[tuple[str, bytes]]]] = []
        self.futures: list[asyncio.Future[None]] = []
        self.came = asyncio.Event()

    def reason(self, priority: Priority | None = None) -> str | None:
        return "The topic may not be written." if priority in self.stuck else self.away

    @property
    def takes_nothing(self) -> bool:
        return self.away is not None

    def post(
        self, value: bytes, headers: Sequence[tuple[str, bytes]] = (), *, priority: Priority
    ) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.posted.append((priority, value, headers))
        self.futures.append(future)
        self.came.set()
        if value in self.refuses:
            future.set_exception(RecordRefusedForSizeError("too large"))
        elif not self.holds:
            future.set_result(None)
        return future


class Served:
    """A bridge that is served, and its parts."""

    def __init__(self, settings: Settings, tokens: str | None, tls: ssl.SSLContext | None) -> None:
        self.writer = Writer()
        self.outage: str | None = None
        brokers = SimpleNamespace(reason=lambda: self.outage)
        self.figures = BridgeFigures()
        self.health = BridgeHealth(cast("Any", brokers), cast("Any", self.writer))
        self.health.waits = None
        publishers = None if tokens is None else read_publishers(tokens, "F")
        self.server = BridgeServer(
            settings, publishers, tls, cast("Any", self.writer), self.health, self.figures
        )
        self.client: aiohttp.ClientSession
        self.url = ""

    async def post(
        self, body: Any, status: int, headers: dict[str, str] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Post something, and look at the status; the answer."""
        data = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
        async with self.client.post(POST_PATH, data=data, headers=headers or JSON, **options) as answer:
            found: dict[str, Any] = await answer.json(content_type=None)
            assert answer.status == status, found
            check(answer, found)
            return found


def check(answer: aiohttp.ClientResponse, found: dict[str, Any]) -> None:
    """Hold an answer against the document."""
    whole = document([*Priority], with_tokens=True)
    described = whole["paths"][POST_PATH]["post"]["responses"][str(answer.status)]
    (schema,) = (each["schema"] for each in described["content"].values())
    jsonschema.validate(found, schema | {"components": whole["components"]})
    assert answer.content_type in described["content"]
    assert ("Retry-After" in answer.headers) == (answer.status in (429, 503))
    assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)
    if answer.status != 202:
        assert found["status"] == answer.status


@asynccontextmanager
async def served(
    tokens: str | None = None, tls: ssl.SSLContext | None = None, trust: Any = None, **values: Any
) -> AsyncIterator[Served]:
    settings = load_settings(**({"http_bridge_port": 0} | values))
    made = Served(settings, tokens, tls)
    made.url = await made.server.start()
    try:
        connector = aiohttp.TCPConnector(ssl=trust or True)
        async with aiohttp.ClientSession(made.url, connector=connector) as made.client:
            yield made
    finally:
        await made.server.stop()
