"""The server of the web views: headers, token, problems, bounds on clients, addresses."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import io
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CollectorRegistry, Gauge
from yarl import URL

from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, load_settings
from tables.views import connections
from tables.views.problems import SECURITY_HEADERS
from tables.views.server import ViewServer
from tests.unit.tables.views.views_kit import FakeSources, get, sample, served
from tocsin.logs import LimitedHandler

#: The style sheet is open, for the page on which one signs in.
OPEN = ["/sign-in", "/static/page.css"]
PATHS = ["/", "/api/v1/counts", "/api/v1/counts/a", "/api/v1/scheduler", "/metrics"]


@pytest.fixture
def fake() -> FakeSources:
    """Sources with some counts."""
    return sample()


@pytest.mark.parametrize("path", [*PATHS, "/livez", "/nothing", "/static/nothing", "/static/..%2fpage.py"])
async def test_every_answer_has_the_security_headers(fake: FakeSources, path: str) -> None:
    async with served(fake) as client:
        async with client.get(URL(path, encoded=True)) as answer:
            assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
            assert answer.status == (404 if "nothing" in path or ".." in path or path.endswith("/a") else 200)
        async with client.get("/api/v1/counts?x=1") as wrong, client.post(path) as posted:
            for answer in (wrong, posted):
                assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_the_content_security_policy_allows_no_inline_code() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_only_reading_is_allowed(fake: FakeSources) -> None:
    async with served(fake) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            async with client.request(method, "/api/v1/counts") as answer:
                assert answer.status == 405
                assert answer.content_type == "application/problem+json"
                assert answer.headers["Allow"] == "GET,HEAD"
        async with client.head("/api/v1/counts") as answer:
            assert answer.status == 200


TOKEN = "s3cret-tökën:x"


def basic(user: str, password: str) -> str:
    """The header of Basic, as browsers and curl send it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


SCRAPER = "for-the-scraper-alone"
ANYONE = {None, TOKEN, SCRAPER, "wrong"}


async def status_of(client: aiohttp.ClientSession, path: str, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with client.get(path, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("settings", "metrics", "page"),
    [
        pytest.param({"web_token": TOKEN}, {TOKEN}, {TOKEN}, id="one token"),
        pytest.param(
            {"web_token": TOKEN, "metrics_token": SCRAPER}, {TOKEN, SCRAPER}, {TOKEN}, id="a token of its own"
        ),
        pytest.param({"metrics_token": SCRAPER}, {SCRAPER}, ANYONE, id="the page is open"),
        pytest.param({"web_token": TOKEN, "metrics_open": True}, ANYONE, {TOKEN}, id="the metrics are open"),
        pytest.param({}, ANYONE, ANYONE, id="all is open"),
    ],
)
async def test_metrics_can_be_open_or_have_a_token_of_their_own(
    fake: FakeSources, settings: dict[str, Any], metrics: set[str | None], page: set[str | None]
) -> None:
    async with served(fake, **settings) as client:
        for token in ANYONE:
            assert await status_of(client, "/metrics", token) == (200 if token in metrics else 401)
            for path in ("/", "/api/v1/counts", "/api/v1/scheduler"):
                assert await status_of(client, path, token) == (200 if token in page else 401)


def test_metrics_that_are_open_and_have_a_token_are_a_contradiction() -> None:
    with pytest.raises(ConfigurationError, match="TOCSIN_METRICS_OPEN"):
        load_settings(metrics_open=True, metrics_token=SCRAPER)


OWN = [
    "localhost",
    "LOCALHOST:80",
    "localhost.",
    "127.0.0.1",
    "127.0.0.1:6066",
    "127.1.2.3",
    "[::1]",
    "[::1]:1",
]
STRANGE = [
    "evil.example",
    "evil.example:6066",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.localhost.example",
    "10.0.0.1",
    "[2001:db8::1]",
    "",
    "a@localhost",
    "localhost, evil.example",
    "localhost:x",
    "0177.0.0.1",
]


@pytest.mark.parametrize("path", ["/", "/api/v1/counts", "/metrics", "/readyz", "/nothing"])
async def test_on_loopback_a_host_that_is_not_expected_is_refused(fake: FakeSources, path: str) -> None:
    async with served(fake) as client:
        for host in OWN:
            async with client.get(path, headers={"Host": host}) as answer:
                assert answer.status == (404 if path == "/nothing" else 200), host
        for host in STRANGE:
            async with client.get(path, headers={"Host": host}) as answer:
                assert answer.status == 421, host
                assert "TOCSIN_WEB_HOSTS" in (await answer.json(content_type=None))["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_known_in_all_its_forms(host: str) -> None:
    assert load_settings(web_host=host).web_is_loopback


async def test_names_of_a_proxy_are_taken_when_they_are_set(fake: FakeSources) -> None:
    async with served(fake, web_hosts=" Tocsin.example.com,two ") as client:
        for host in ("tocsin.example.com", "TOCSIN.example.com:443", "two", "localhost"):
            async with client.get("/", headers={"Host": host}) as answer:
                assert answer.status == 200, host
        async with client.get("/", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 421


@pytest.mark.parametrize(("hosts", "status"), [("", 200), ("tocsin.example.com", 421)])
async def test_elsewhere_names_are_checked_once_they_are_set(
    fake: FakeSources, hosts: str, status: int
) -> None:
    async with served(fake, web_host="0.0.0.0", web_open=True, web_hosts=hosts) as client:
        async with client.get("/", headers={"Host": "evil.example"}) as answer:
            assert answer.status == status
        for host in ("tocsin.example.com", "10.1.2.3", "[2001:db8::1]:6066"):
            async with client.get("/livez", headers={"Host": host}) as answer:
                assert answer.status == 200, host


@pytest.mark.parametrize("hosts", ["http://a", "a:80", "a/b", "a b", "*", "[::1]"])
def test_names_that_are_none_are_refused(hosts: str) -> None:
    with pytest.raises(ConfigurationError, match="TOCSIN_WEB_HOSTS"):
        load_settings(web_hosts=hosts)


async def test_everything_but_the_probes_wants_the_token(fake: FakeSources) -> None:
    async with served(fake, web_token=TOKEN) as client:
        for path in [*PATHS, "/nothing"]:
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": "Bearer"},
                {"Authorization": f"Basic {TOKEN}"},
                {"Authorization": f"Digest {TOKEN}"},
                {"Authorization": basic("tocsin", "wrong")},
                {"Authorization": basic(TOKEN, "")},
                {"Authorization": f"Bearer {TOKEN}x"},
            ):
                async with client.get(path, headers=headers) as answer:
                    assert answer.status == 401
                    challenges = answer.headers.getall("WWW-Authenticate")
                    assert [each.partition(" ")[0] for each in challenges] == ["Bearer", "Basic"]
                    assert TOKEN not in await answer.text()
            for given in (f"bearer {TOKEN}", basic("tocsin", TOKEN), basic("", TOKEN)):
                async with client.get(path, headers={"Authorization": given}) as answer:
                    assert answer.status != 401
        for path in OPEN:
            async with client.get(path) as answer:
                assert answer.status == 200
        for path in ("/livez", "/readyz", "/startupz"):
            async with client.get(path) as answer:
                assert answer.status == 200
                assert "details" not in await answer.json()
            async with client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                assert "details" in await answer.json()


async def test_an_error_of_ours_is_a_problem_that_tells_nothing(
    fake: FakeSources, caplog: pytest.LogCaptureFixture
) -> None:
    fake.scheduler_error = RuntimeError("secret detail")
    async with served(fake) as client:
        body = await get(client, "/api/v1/scheduler", 500)
    assert "secret detail" not in json.dumps(body)
    assert "secret detail" in caplog.text


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log as a worker writes it."""
    out, root = io.StringIO(), logging.getLogger()
    handler = LimitedHandler(out)
    root.addHandler(handler)
    yield out
    root.removeHandler(handler)
    handler.close()


async def test_errors_of_ours_are_told_a_few_times(fake: FakeSources, log: io.StringIO) -> None:
    fake.scheduler_error = RuntimeError("why")
    async with served(fake) as client:
        for _ in range(50):
            await get(client, "/api/v1/scheduler", 500)
    assert log.getvalue().count("RuntimeError: why") == 3
    assert log.getvalue().count("Answering GET /api/v1/scheduler failed.") == 3


async def test_an_address_that_fails_is_not_told_itself(log: io.StringIO) -> None:
    fake = FakeSources()
    fake.alerts.complete = True

    async def newest(**_: Any) -> list[Any]:
        raise RuntimeError("why")

    fake.alerts.newest = newest  # type: ignore[method-assign, assignment]
    address = URL("/feeds/events/s3cret%1b%5b2J.atom", encoded=True)
    async with served(fake) as client, client.get(address) as answer:
        assert answer.status == 500
    assert "Answering GET /feeds/events/{pattern}.atom failed." in log.getvalue()
    assert "s3cret" not in log.getvalue()


async def test_changes_that_are_refused_do_not_fill_the_log(fake: FakeSources, log: io.StringIO) -> None:
    async with served(fake, admin_token="admin-0123456789abcdef") as client:
        for _ in range(50):
            async with client.post("/api/v1/dead-letters/replay", json={"all": True}) as answer:
                assert answer.status == 401
    assert log.getvalue().count("Refused a change (replay) from 127.0.0.1: 401.") == 3
    next(each for each in logging.getLogger().handlers if isinstance(each, LimitedHandler)).close()
    assert "and 46 like it" in log.getvalue()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /?" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"b" * 10_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_gets_a_problem(fake: FakeSources, request_bytes: bytes) -> None:
    server = fake.server()
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request_bytes)
    answer = await reader.read()
    writer.close()
    await server.stop()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.")
    assert b" 400 " in head.splitlines()[0]
    assert b"nosniff" in head
    assert json.loads(body)["status"] == 400
    assert b"aaaa" not in body
    assert b"bbbb" not in body
    assert b"GARBAGE" not in body


def port_of(server: ViewServer) -> int:
    """The port it listens on."""
    return int(server.address.rstrip("/").rpartition(":")[2])


async def test_beyond_the_bound_the_oldest_connection_makes_room(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 3)
    server = fake.server()
    await server.start()
    streams = []
    for _ in range(3):
        streams.append(await asyncio.open_connection("127.0.0.1", port_of(server)))
        streams[-1][1].write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await streams[-1][0].readuntil(b"}}")
    streams[0][1].write(b"GET / HTT")  # the first one is slow from here on
    async with aiohttp.ClientSession(server.address) as client, client.get("/livez") as answer:
        assert answer.status == 200
    assert await streams[0][0].read() == b""
    streams[1][1].write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await streams[1][0].readuntil(b"}}")
    for _, writer in streams:
        writer.close()
    await server.stop()


async def test_an_idle_connection_outlives_what_clients_keep(fake: FakeSources) -> None:
    """Where both close it at the same time, a client writes a request into a connection that ends."""
    server = fake.server()
    await server.start()
    async with aiohttp.ClientSession(server.address) as client, client.get("/livez") as answer:
        assert answer.status == 200
        guard = server.connections
        assert guard is not None
        (protocol,) = guard._open()
        assert client.connector is not None
        kept_s = client.connector._keepalive_timeout
        assert isinstance(kept_s, float)
        # Slow clients are cut off later: an idle connection is closed in good order.
        assert kept_s + 10 < protocol.keepalive_timeout < connections.EXCHANGE_S
    await server.stop()


async def test_a_connection_is_idle_from_the_end_of_an_answer_on(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    def seen(request: web.Request) -> None:
        """As if the answer had taken almost as long as one may."""
        assert isinstance(request.protocol, connections._Protocol)
        request.protocol.since = loop.time() + 1 - connections.EXCHANGE_S

    monkeypatch.setattr(connections.Connections, "seen", staticmethod(seen))
    server = fake.server()
    await server.start()
    guard = server.connections
    assert guard is not None
    async with aiohttp.ClientSession(server.address) as client, client.get("/livez") as answer:
        assert answer.status == 200
        async with asyncio.timeout(20):
            while guard.sweep(loop.time()) or loop.time() - guard._open()[0].since > connections.IDLE_S:
                await asyncio.sleep(0.01)
        assert guard.sweep(loop.time() + connections.IDLE_S) == 0
    await server.stop()


async def test_a_client_that_does_not_read_is_cut_off(fake: FakeSources) -> None:
    registry = CollectorRegistry()
    Gauge("large", "x" * 20_000_000, registry=registry)  # more than the kernel buffers
    server = fake.server(registry=registry)
    await server.start()
    guard = server.connections
    assert guard is not None
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port_of(server))) as client:
        client.setblocking(False)
        await loop.sock_sendall(client, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await loop.sock_recv(client, 10) == b"HTTP/1.1 2"
        async with aiohttp.ClientSession(server.address) as other, other.get("/livez") as answer:
            assert answer.status == 200  # the others are served meanwhile
        assert guard.sweep(loop.time()) == 0
        assert guard.sweep(loop.time() + connections.EXCHANGE_S + 1) >= 1
        async with asyncio.timeout(20):
            while len(guard):  # though the client still reads nothing
                await asyncio.sleep(0.01)
    await server.stop()


async def test_a_taken_port_is_one_clear_sentence(fake: FakeSources) -> None:
    server = fake.server()
    await server.start()
    second = fake.server(web_port=port_of(server))
    with pytest.raises(
        ConfigurationError, match=r"TOCSIN_WEB_PORT: another program listens on 127\.0\.0\.1:\d+"
    ):
        await second.start()
    await second.stop()
    await server.stop()


async def test_an_address_of_another_machine_is_one_clear_sentence(fake: FakeSources) -> None:
    with pytest.raises(ConfigurationError, match=r"TOCSIN_WEB_HOST: 192\.0\.2\.1 is not an address"):
        await fake.server(web_host="192.0.2.1", web_open=True).start()


async def test_the_address_is_the_real_one_and_gone_after_stop(fake: FakeSources) -> None:
    server = fake.server()
    with pytest.raises(RuntimeError):
        _ = server.address
    await server.start()
    address = server.address
    assert address.startswith("http://127.0.0.1:")
    assert not address.endswith(":0/")
    await server.stop()
    async with aiohttp.ClientSession(address) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/livez")


def test_priorities_of_the_kit_are_the_default_ones(fake: FakeSources) -> None:
    assert set(fake.classes) == set(fake.server()._settings.priorities) <= set(Priority)


async def held_after_garbage(server: ViewServer) -> int:
    """Errors that are still in memory after some connections with what is no HTTP, without a collection."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            writer.write(b"\x00\xff" * 2**17)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
        async with asyncio.timeout(10):
            while server.connections:
                await asyncio.sleep(0)
        return sum(isinstance(each, HttpProcessingError) for each in gc.get_objects())
    finally:
        gc.enable()


async def test_what_is_no_http_is_forgotten_at_once(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = fake.server()
    await server.start()
    assert await held_after_garbage(server) == 0
    monkeypatch.delattr(connections._Protocol, "data_received")  # the control: as aiohttp has it
    assert await held_after_garbage(server) > 0
    await server.stop()
