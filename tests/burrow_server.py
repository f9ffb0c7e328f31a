"""A small Burrow for tests: its HTTP API v1.0 as its documents describe it (protocols and overview).

No server of it is alive: what there is runs on Python 2 alone.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

_TTL_S = 600
_HIDE_S = 0
_START_S = 60.0


@dataclass
class Message:
    """A message of a queue, with the times at which it ends and is shown."""

    id: str
    body: bytes
    ends: float
    shown: float

    def view(self, now: float, detail: str) -> dict[str, Any]:
        """What an answer says of it."""
        found: dict[str, Any] = {"id": self.id}
        if detail in ("attributes", "all"):
            found |= {"ttl": round(self.ends - now), "hide": max(0, round(self.shown - now))}
        if detail == "all":
            found["body"] = self.body.decode()
        return found


class BurrowServer:
    """Accounts, their queues and messages, in memory.

    Attributes:
        shift_s: what its clock is ahead, so that a test need not wait for what expires.
        refusals: answers that it gives to the next PUTs instead of taking them.
        puts: how many it has got.
    """

    def __init__(self) -> None:
        self.queues: dict[tuple[str, str], dict[str, Message]] = {}
        self.shift_s = 0.0
        self.refusals: list[int] = []
        self.puts = 0
        self.url = ""

    def application(self) -> web.Application:
        """Its addresses."""
        app = web.Application()
        app.router.add_get("/", self._versions)
        app.router.add_get("/v1.0", self._accounts)
        app.router.add_get("/v1.0/{account}", self._queues)
        app.router.add_get("/v1.0/{account}/{queue}", self._messages)
        app.router.add_post("/v1.0/{account}/{queue}", self._messages)
        app.router.add_delete("/v1.0/{account}/{queue}", self._messages)
        app.router.add_put("/v1.0/{account}/{queue}/{message}", self._put)
        app.router.add_get("/v1.0/{account}/{queue}/{message}", self._message)
        app.router.add_delete("/v1.0/{account}/{queue}/{message}", self._message)
        return app

    def _now(self) -> float:
        return time.monotonic() + self.shift_s

    def _live(self) -> dict[tuple[str, str], dict[str, Message]]:
        """What has not expired; a queue without messages is none."""
        now = self._now()
        for place, messages in list(self.queues.items()):
            self.queues[place] = {name: each for name, each in messages.items() if each.ends > now}
            if not self.queues[place]:
                del self.queues[place]
        return self.queues

    async def _versions(self, _request: web.Request) -> web.Response:
        return web.json_response(["v1.0"])

    async def _accounts(self, _request: web.Request) -> web.Response:
        return _listed(sorted({account for account, _ in self._live()}))

    async def _queues(self, request: web.Request) -> web.Response:
        account = request.match_info["account"]
        return _listed(sorted(queue for owner, queue in self._live() if owner == account))

    async def _put(self, request: web.Request) -> web.Response:
        self.puts += 1
        if self.refusals:
            return web.Response(status=self.refusals.pop(0))
        account, queue, name = (request.match_info[part] for part in ("account", "queue", "message"))
        ttl, hide = int(request.query.get("ttl", _TTL_S)), int(request.query.get("hide", _HIDE_S))
        now = self._now()
        body = await request.read()
        messages = self._live().setdefault((account, queue), {})
        status = 204 if name in messages else 201
        messages[name] = Message(name, body, now + ttl, now + hide)
        return web.Response(status=status)

    async def _messages(self, request: web.Request) -> web.Response:
        place = (request.match_info["account"], request.match_info["queue"])
        now = self._now()
        messages = list(self._live().get(place, {}).values())
        query = request.query
        if "marker" in query:
            names = [each.id for each in messages]
            messages = messages[names.index(query["marker"]) + 1 :] if query["marker"] in names else []
        if query.get("match_hidden", "").lower() != "true":
            messages = [each for each in messages if each.shown <= now]
        messages = messages[: int(query["limit"])] if "limit" in query else messages
        if not messages:
            return web.Response(status=404)
        for each in messages:
            if request.method == "POST":
                each.ends = now + int(query["ttl"]) if "ttl" in query else each.ends
                each.shown = now + int(query["hide"]) if "hide" in query else each.shown
            elif request.method == "DELETE":
                del self.queues[place][each.id]
        detail = query.get("detail", "none" if request.method == "DELETE" else "all")
        return (
            web.Response(status=204)
            if detail == "none"
            else _listed([each.view(now, detail) for each in messages])
        )

    async def _message(self, request: web.Request) -> web.Response:
        account, queue, name = (request.match_info[part] for part in ("account", "queue", "message"))
        found = self._live().get((account, queue), {}).get(name)
        if found is None:
            return web.Response(status=404)
        if request.method == "DELETE":
            del self.queues[account, queue][name]
            return web.Response(status=204)
        if request.query.get("detail") == "body":
            return web.Response(body=found.body, content_type="application/octet-stream")
        return web.json_response(found.view(self._now(), request.query.get("detail", "all")))


def _listed(items: list[Any]) -> web.Response:
    return web.json_response(items) if items else web.Response(status=404)


@contextmanager
def burrow_server(port: int = 0) -> Iterator[BurrowServer]:
    """A running one, in a thread of its own."""
    server = BurrowServer()
    loop = asyncio.new_event_loop()
    started = threading.Event()
    ended = asyncio.Event()

    async def run() -> None:
        runner = web.AppRunner(server.application(), shutdown_timeout=0.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="burrow", daemon=True)
    thread.start()
    assert started.wait(_START_S), "the small Burrow does not start"
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(_START_S)
        loop.close()
