"""What tests of dead letters on the web views share: letters, and ways to ask for them and to replay them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from streams.notifications.masking import Masker
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, sample, served

READ, CHANGE = "token-to-read", "token-to-change-with"
PATH = "/api/v1/dead-letters"
REPLAY = f"{PATH}/replay"
UNTIL = str((NOW_S - 100 + 4) * 1000)
READER = {"Authorization": f"Bearer {READ}"}
CHANGER = {"Authorization": f"Bearer {CHANGE}"}


HOSTILE = b"\xff<script>alert(1)</script>\x00\xe2\x80\xae" + b"y" * 2000


def with_letters(masker: Masker | None = None) -> FakeSources:
    sources = sample()
    sources.letters.memory.masker = masker
    sources.letters.add(1)
    sources.letters.add(2, "null-value", topic="elsewhere")
    sources.letters.add(3, value=HOSTILE)
    sources.letters.add(4, "too-deep", topic="notifications.critical")
    return sources


@asynccontextmanager
async def signed_client(fake: FakeSources) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps cookies, of a server with both tokens."""
    async with served(fake, web_token=READ, admin_token=CHANGE) as made:
        made._cookie_jar = aiohttp.CookieJar(unsafe=True)
        yield made


async def sign_in(client: aiohttp.ClientSession, token: str, **headers: str) -> None:
    async with client.post(
        "/sign-in", data={"token": token}, headers=headers, allow_redirects=False
    ) as answer:
        assert answer.status == 303


async def page(client: aiohttp.ClientSession, query: str = "", status: int = 200, **headers: str) -> str:
    async with client.get(f"/dead-letters{query}", headers={"Accept": "text/html"} | headers) as answer:
        assert answer.status == status
        return await answer.text()


async def post(client: aiohttp.ClientSession, form: dict[str, str], **headers: str) -> tuple[int, str]:
    async with client.post("/dead-letters", data=form, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", await answer.text())
