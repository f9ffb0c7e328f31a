"""A reverse proxy under a path, as nginx is one: takes the path out and says so; passes streams on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

#: Of one connection, and none of the next one's business; a body is encoded anew.
_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"}


@asynccontextmanager
async def proxied(backend: str, prefix: str) -> AsyncIterator[str]:
    """The address, with "/" at its end, under which a proxy shows ``backend``; all else there is 404."""

    async def forward(request: web.Request) -> web.StreamResponse:
        path = URL(request.raw_path.removeprefix(prefix) or "/", encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers["X-Forwarded-Prefix"] = prefix
        body = await request.read()
        async with client.request(
            request.method, URL(backend).join(path), headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for some in answer.content.iter_any():
                await response.write(some)
            await response.write_eof()
            return response

    app = web.Application()
    app.router.add_route("*", f"{prefix}{{rest:.*}}", forward)
    async with (
        aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as client,
        TestServer(app, handler_cancellation=True) as server,
    ):
        yield str(server.make_url(f"{prefix}/"))
