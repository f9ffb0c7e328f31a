"""A token endpoint after RFC 6749, for tests: it gives unsecured tokens, which a Kafka of the tests takes."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote_plus

from aiohttp import web

CLIENT_ID = "tocsin:worker"
CLIENT_SECRET = "s3cret/with+signs"


def unsecured_token(subject: str = "tocsin", life_s: float = 3600.0) -> str:
    """A token without a signature: Kafka's validator for development takes it until it ends."""

    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    now = time.time()
    return f"{part({'alg': 'none'})}.{part({'sub': subject, 'iat': now, 'exp': now + life_s})}."


class TokenEndpoint:
    """What the endpoint was asked, and what it is to answer.

    Attributes:
        forms: of the requests, in order.
        given: the tokens that it gave.
        life_s: seconds for which a token holds.
        status: of the answers; 200 gives a token to whoever may have one.
        body: the answer in place of a token.
    """

    def __init__(self) -> None:
        self.url = ""
        self.forms: list[dict[str, str]] = []
        self.given: list[str] = []
        self.life_s: float | None = 3600.0
        self.status = 200
        self.body: str | None = None

    async def answer(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.status != 200 or self.body is not None:
            return web.Response(status=self.status, text=self.body or "{}", content_type="application/json")
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        given = tuple(map(unquote_plus, base64.b64decode(encoded).decode("ascii").split(":")))
        if scheme != "Basic" or given != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"error": "invalid_client", "error_description": encoded}, status=401)
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if form.get("scope", "kafka") != "kafka":
            return web.json_response({"error": "invalid_scope"}, status=400)
        token = unsecured_token(f"tocsin-{len(self.given)}", self.life_s or 3600.0)
        self.given.append(token)
        life = {} if self.life_s is None else {"expires_in": self.life_s}
        return web.json_response({"access_token": token, "token_type": "Bearer"} | life)


@asynccontextmanager
async def token_endpoint(context: ssl.SSLContext | None = None) -> AsyncIterator[TokenEndpoint]:
    """A running endpoint, at ``url``.

    Args:
        context: of the server, for HTTPS.
    """
    endpoint = TokenEndpoint()
    app = web.Application()
    app.router.add_post("/token", endpoint.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    endpoint.url = f"{'http' if context is None else 'https'}://127.0.0.1:{port}/token"
    try:
        yield endpoint
    finally:
        await runner.cleanup()
