"""A WebSub hub that others wrote, and a subscriber of the tests' own that trusts nobody."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests import children
from tests.paths import ROOT

#: Where `make setup` puts Flask-WebSub.
_LIBRARY = ROOT / ".tocsin" / "hub"


@contextmanager
def flask_websub_hub(folder: Path) -> Iterator[str]:
    """URL of a running hub of Flask-WebSub; skips the test where that is not there."""
    if not (_LIBRARY / "flask_websub").is_dir():
        pytest.skip(f"Flask-WebSub is not in {_LIBRARY}: run `make setup`")
    with (folder / "hub.log").open("wb") as log:
        process = children.start(
            [sys.executable, ROOT / "tests" / "flask_websub_hub.py", folder],
            env=os.environ | {"PYTHONPATH": str(_LIBRARY)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        address = process.stdout.readline().strip()
        assert address, (folder / "hub.log").read_text()
        yield address
    finally:
        process.kill()
        process.communicate()
        print(f"---------------- end of the hub's log\n{(folder / 'hub.log').read_text()[-4000:]}")


class Subscriber:
    """A subscriber of topics at a hub: it confirms only what it asked for, and takes only what is signed.

    Attributes:
        received: bodies that came and were signed as agreed.
        refused: requests that were not.
        confirmed: set once the hub has asked whether the subscription is meant.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)
        self._topic: str | None = None
        self.address = ""
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.refused: list[str] = []
        self.confirmed = asyncio.Event()

    async def subscribe(self, hub: str, topic: str) -> None:
        """Ask the hub for a topic, and wait until it has asked back."""
        self._topic = topic
        form = {
            "hub.mode": "subscribe",
            "hub.topic": topic,
            "hub.callback": self.address,
            "hub.secret": self._secret,
        }
        async with aiohttp.ClientSession() as client, client.post(hub, data=form) as answer:
            assert answer.status == 202, await answer.text()
        async with asyncio.timeout(60):
            await self.confirmed.wait()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer the hub, or whoever says to be it."""
        if request.method == "GET":
            if request.query["hub.mode"] != "subscribe" or request.query["hub.topic"] != self._topic:
                self.refused.append(str(request.query))
                return web.Response(status=404)
            self.confirmed.set()
            return web.Response(text=request.query["hub.challenge"])
        body = await request.read()
        algorithm, _, signature = request.headers.get("X-Hub-Signature", "").partition("=")
        if algorithm not in {"sha256", "sha384", "sha512"} or not hmac.compare_digest(
            signature, hmac.new(self._secret.encode(), body, getattr(hashlib, algorithm)).hexdigest()
        ):
            self.refused.append("a body that is not signed")
            return web.Response(status=202)  # as the standard says: the hub is not told
        await self.received.put(body)
        return web.Response(status=204)


async def links_of(client: aiohttp.ClientSession, feed: str) -> dict[str, str]:
    """The links of a feed, by relation; asked for again until the worker has read what the feed tells."""
    async with asyncio.timeout(120):
        while True:
            async with client.get(feed) as answer:
                if answer.status == 200:
                    return {relation: str(link["url"]) for relation, link in answer.links.items()}
                assert answer.status == 503, await answer.text()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def subscriber() -> AsyncIterator[Subscriber]:
    """A subscriber that listens."""
    made = Subscriber()
    async with listening(made.answer) as address:
        made.address = address
        yield made


@asynccontextmanager
async def listening(handler: object) -> AsyncIterator[str]:
    """URL under which ``handler`` of aiohttp answers everything."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{any:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/callback"
    finally:
        await runner.cleanup()
