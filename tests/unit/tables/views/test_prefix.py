"""Under a path of a reverse proxy: one that leaves it in, and one that takes it out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from yarl import URL

from streams.settings import ConfigurationError, load_settings
from tables.views.prefix import Prefix
from tests.live_reader import live_reader
from tests.unit.tables.views.views_kit import FakeSources, sample, served


@pytest.fixture
def fake() -> FakeSources:
    """Sources with some counts."""
    return sample()


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if name in ("src", "href", "action") and value}


@asynccontextmanager
async def proxied(backend: aiohttp.ClientSession, prefix: str, *, takes_out: bool) -> AsyncIterator[URL]:
    """A reverse proxy; everything that is not under ``prefix`` is nobody's."""

    async def forward(request: web.Request) -> web.Response:
        path = request.rel_url
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        if takes_out:
            path = URL(request.raw_path.removeprefix(prefix) or "/", encoded=True)
            headers["X-Forwarded-Prefix"] = prefix
        async with backend.get(path, headers=headers, allow_redirects=False) as answer:
            kept = {
                name: answer.headers[name] for name in ("Location", "Content-Type") if name in answer.headers
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    app = web.Application()
    app.router.add_get(f"{prefix}{{rest:.*}}", forward)
    async with TestServer(app) as server:
        yield server.make_url(prefix)


@pytest.mark.parametrize(
    ("takes_out", "settings"),
    [(False, {"web_prefix": "/a/tocsin"}), (True, {"web_trusted_proxies": "127.0.0.1"}), (True, {})],
    ids=["leaves it in", "takes it out", "takes it out unseen"],
)
async def test_the_page_and_all_it_leads_to_work_behind_a_proxy(
    fake: FakeSources, takes_out: bool, settings: dict[str, Any]
) -> None:
    async with (
        served(fake, **settings) as backend,
        proxied(backend, "/a/tocsin", takes_out=takes_out) as root,
        aiohttp.ClientSession() as client,
    ):
        page = root / ""
        links: set[str] = set()
        for address in ("./", "counts?limit=2"):
            async with client.get(page.join(URL(address))) as answer:
                assert answer.status == 200
                links |= set(_Links(await answer.text()).found)
        assert len(links) > 8
        for link in links:
            assert not link.startswith("/")
            async with client.get(page.join(URL(link))) as answer:
                assert answer.status == 200, link
        async with client.get(page / "static/live.js") as answer:
            asked = re.findall(r"(?:EventSource|fetch)\((.*?)[,)]", await answer.text())
        assert asked == ["location.href", '"live"'], "the page's own address, and one that is relative"


async def test_under_the_path_and_at_the_root_it_is_the_same(fake: FakeSources) -> None:
    async with served(fake, web_prefix="/a/tocsin", web_token="t0ken") as client:
        for path in (
            "/",
            "/api/v1/counts",
            "/api/v1/counts/volume.create.end",
            "/metrics",
        ):
            for prefix in ("", "/a/tocsin"):
                async with client.get(prefix + path) as answer:
                    assert answer.status == 401, "the token is asked for there, too"
                async with client.get(prefix + path, headers={"Authorization": "Bearer t0ken"}) as answer:
                    assert answer.status == 200
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for path in ("/livez", "/a/tocsin/livez"):
            async with client.get(path) as answer:
                assert answer.status == 200
        for path in ("/a", "/a/toc", "/a/tocsinx/livez", "/a/tocsin/nothing", "/a/tocsin/a/tocsin/"):
            async with client.get(path, headers={"Authorization": "Bearer t0ken"}) as answer:
                assert answer.status == 404, path
        async with client.put("/a/tocsin/api/v1/scheduler") as answer:
            assert answer.status == 403, "changes are refused by their own rule"


async def test_the_path_without_a_slash_leads_to_the_page(fake: FakeSources) -> None:
    async with served(fake, web_prefix="/a/tocsin/") as client:
        async with client.get("/a/tocsin?window=1h", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, "tocsin/?window=1h")
        async with client.get("/a/tocsin?window=1h") as answer:
            assert (answer.status, answer.url.path_qs) == (200, "/a/tocsin/counts?window=1h")


async def test_the_live_stream_is_there_too(fake: FakeSources) -> None:
    async with (
        served(fake, web_prefix="/tocsin") as plain,
        aiohttp.ClientSession(plain._base_url / "tocsin/") as client,
        live_reader(client, path="api/v1/events") as reader,
    ):
        assert (await reader.next()).name == "snapshot"


TRUSTED = "10.0.0.7, 10.1.0.0/16,::1"


@pytest.mark.parametrize(
    ("settings", "path", "peer", "forwarded", "found"),
    [
        ({}, "/", "10.0.0.7", "/x", ""),
        ({"web_trusted_proxies": TRUSTED}, "/", "10.0.0.7", "/x", "/x"),
        ({"web_trusted_proxies": TRUSTED}, "/", "10.0.0.7", "/x/y-1._~/", "/x/y-1._~"),
        ({"web_trusted_proxies": TRUSTED}, "/", "10.1.255.1", "/x", "/x"),
        ({"web_trusted_proxies": TRUSTED}, "/", "::ffff:10.1.255.1", "/x", "/x"),
        ({"web_trusted_proxies": TRUSTED}, "/", "::1", "/x", "/x"),
        ({"web_trusted_proxies": TRUSTED}, "/", "10.0.0.8", "/x", ""),
        ({"web_trusted_proxies": TRUSTED}, "/", None, "/x", ""),
        ({"web_trusted_proxies": TRUSTED}, "/", "10.0.0.7", None, ""),
        ({"web_trusted_proxies": TRUSTED, "web_prefix": "/p"}, "/", "10.0.0.7", "/x", "/x"),
        ({"web_trusted_proxies": TRUSTED, "web_prefix": "/p"}, "/p/api", "10.0.0.7", "/x", "/x/p"),
        ({"web_prefix": "/p"}, "/p/api", "10.0.0.7", "/x", "/p"),
        ({"web_prefix": "/p"}, "/", "10.0.0.7", None, "/p"),
        *[
            ({"web_trusted_proxies": TRUSTED}, "/", "10.0.0.7", bad, "")
            for bad in (
                "x",
                "//evil.example",
                "/a//b",
                "/a, /b",
                "/<b>",
                "/..",
                "/a/../b",
                "/./a",
                "/ä",
                "/a" * 200,
            )
        ],
    ],
)
def test_what_a_proxy_says_is_believed_of_trusted_ones_and_if_it_is_a_path(
    settings: dict[str, str], path: str, peer: str | None, forwarded: str | None, found: str
) -> None:
    prefix = Prefix(load_settings(**settings))
    headers = {} if forwarded is None else {"X-Forwarded-Prefix": forwarded}
    request = make_mocked_request("GET", path, headers=headers).clone(remote=peer)  # type: ignore[arg-type]
    assert prefix.public_prefix(request) == found


@pytest.mark.parametrize("wrong", ["tocsin", "//x", "/a b", "/a/../b", "http://a/b", "/x?y"])
def test_a_prefix_that_is_no_path_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TOCSIN_WEB_PREFIX.*such as /tocsin"):
        load_settings(web_prefix=wrong)


@pytest.mark.parametrize("wrong", ["proxy", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1;10.0.0.2", "*"])
def test_proxies_that_are_no_addresses_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TOCSIN_WEB_TRUSTED_PROXIES.*10\.1\.0\.0/16"):
        load_settings(web_trusted_proxies=wrong)
