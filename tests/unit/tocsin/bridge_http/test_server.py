"""What the bridge answers, over real connections, with a writer whose confirmations are given at will."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import jsonschema
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from streams.bridges.publishers import read_publishers
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.notifications.priority import Priority
from streams.settings import ConfigurationError, Settings, load_settings
from tocsin.bridge_http import server
from tocsin.bridge_http.figures import METRICS, BridgeFigures
from tocsin.bridge_http.health import BridgeHealth
from tocsin.bridge_http.openapi import POST_PATH, document
from tocsin.bridge_http.server import BridgeServer
from tocsin.bridge_http.tls import server_context

TOKEN = "0123456789abcdef"
ONE = {"event_type": "a.b", "publisher_id": "compute.host1", "message_id": "m-1", "priority": "ERROR"}
JSON = {"Content-Type": "application/json"}


class Writer:
    """Takes records; confirms at once unless it holds them."""

    def __init__(self) -> None:
        self.full = self.holds = False
        self.bytes = self.failures = 0
        self.away: str | None = None
        self.refuses: set[bytes] = set()
        self.posted: list[tuple[Priority, bytes, Sequence[tuple[str, bytes]]]] = []
        self.futures: list[asyncio.Future[None]] = []
        self.came = asyncio.Event()

    def reason(self) -> str | None:
        return self.away

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


# --- Taken ---------------------------------------------------------------------------------


async def test_what_is_taken_is_answered_once_it_is_confirmed() -> None:
    async with served() as bridge:
        bridge.writer.holds = True
        body = [ONE, ONE | {"priority": "debug", "message_id": "m-2"}]
        asked = asyncio.create_task(bridge.post(body, 202))
        await bridge.writer.came.wait()
        assert [priority for priority, *_ in bridge.writer.posted] == [Priority.ERROR, Priority.DEBUG]
        bridge.writer.futures[0].set_result(None)
        done, _ = await asyncio.wait([asked], timeout=0.05)
        assert not done, "one is not confirmed"
        bridge.writer.futures[1].set_result(None)
        assert await asked == {"accepted": 2}
        assert bridge.figures.confirmed == {Priority.ERROR: 1, Priority.DEBUG: 1}
        assert bridge.figures.answers == {202: 1}
        assert bridge.figures.bodies_bytes == 0


async def test_nothing_in_a_list_is_taken_too() -> None:
    async with served() as bridge:
        assert await bridge.post([], 202) == {"accepted": 0}


# --- Refused -------------------------------------------------------------------------------


async def test_where_one_is_bad_none_is_taken() -> None:
    async with served() as bridge:
        found = await bridge.post([ONE, {"event_type": ""}, ONE, 1], 400)
        assert [each["index"] for each in found["errors"]] == [1, 3]
        assert found["errors"][0]["reason"] == "The event_type is blank."
        found = await bridge.post([1] * 500, 400)
        assert (len(found["errors"]), found["error_count"]) == (100, 500)
        assert (await bridge.post(b"[", 400))["detail"].startswith("The body is not JSON")
        assert bridge.writer.posted == []


async def test_tokens_are_asked_for_and_bound_to_publishers() -> None:
    async with served(tokens=f"nova {TOKEN} compute.") as bridge:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}x"}):
            await bridge.post(ONE, 401, JSON | headers)
        mine = JSON | {"Authorization": f"Bearer {TOKEN}"}
        assert await bridge.post(ONE, 202, mine) == {"accepted": 1}
        other = ONE | {"publisher_id": "network.host1"}
        found = await bridge.post([ONE, other], 403, mine)
        assert [each["index"] for each in found["errors"]] == [1]
        assert TOKEN not in str(found)
        # What cannot be read comes first: there is something to mend before.
        await bridge.post([other, 1], 400, mine)
        assert len(bridge.writer.posted) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/cloudevents+avro", "ce-specversion": "1.0"},
        JSON | {"Content-Encoding": "gzip"},
    ],
)
async def test_what_is_not_read_is_415(headers: dict[str, str]) -> None:
    async with served() as bridge:
        await bridge.post(ONE, 415, headers)


async def test_what_is_too_large_is_413_with_a_length_and_without() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b" " * 1024

    async with served(http_bridge_max_body_bytes=2048) as bridge:
        await bridge.post(b" " * 2049, 413)
        await bridge.post(endless(), 413)
        large = json.dumps(ONE).encode()
        bridge.writer.refuses = {large}
        found = await bridge.post([ONE | {"timestamp": "2026-11-01 12:00:00", "payload": 1}], 202)
        assert found == {"accepted": 1}
        assert bridge.figures.bodies_bytes == 0


async def test_what_kafka_refuses_for_its_size_is_named_and_the_rest_is_taken() -> None:
    whole = ONE | {"timestamp": "2026-11-01 12:00:00", "payload": 1}
    large = json.dumps(whole | {"payload": 2}).encode()
    async with served() as bridge:
        bridge.writer.refuses = {large}
        found = await bridge.post(b"[" + json.dumps(whole).encode() + b"," + large + b"]", 413)
        assert [each["index"] for each in found["errors"]] == [1]
        assert bridge.figures.confirmed == {Priority.ERROR: 1}


async def test_other_paths_and_methods_are_problems_too() -> None:
    async with served() as bridge:
        for path, status in (("/", 404), (POST_PATH, 405)):
            async with bridge.client.get(path) as answer:
                assert (answer.status, (await answer.json(content_type=None))["status"]) == (status, status)
        async with bridge.client.get("/livez", headers={"Host": "evil.example.org"}) as answer:
            assert answer.status == 421


# --- Not now -------------------------------------------------------------------------------


async def test_while_kafka_does_not_keep_up_it_is_429() -> None:
    async with served() as bridge:
        bridge.writer.full = True
        await bridge.post(ONE, 429)
        bridge.writer.full = False
        await bridge.post(ONE, 202)


async def test_bodies_that_come_in_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODIES_BYTES", 4096)
    async with served() as bridge:
        writer = await held_body(bridge, sent=4000)
        while bridge.figures.bodies_bytes < 4000:
            await asyncio.sleep(0.01)
        await bridge.post(b" " * 200, 429)
        writer.close()
        while bridge.figures.bodies_bytes:
            await asyncio.sleep(0.01)
        await bridge.post(ONE, 202)


async def test_without_kafka_it_is_503_and_not_ready() -> None:
    async with served() as bridge:
        for name in ("outage", "away", "waits"):
            owner = {"outage": bridge, "away": bridge.writer, "waits": bridge.health}[name]
            setattr(owner, name, "No Kafka broker has answered for 9 s.")
            await bridge.post(ONE, 503)
            async with bridge.client.get("/readyz") as answer:
                assert answer.status == 503
                assert (await answer.json())["reasons"] == ["No Kafka broker has answered for 9 s."]
            setattr(owner, name, None)
        await bridge.post(ONE, 202)
        assert len(bridge.writer.posted) == 1


async def test_what_is_not_confirmed_in_time_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONFIRM_S", 0.05)
    async with served() as bridge:
        bridge.writer.holds = True
        await bridge.post([ONE, ONE], 503)
        # What becomes of it later is nobody's business here any more.
        bridge.writer.futures[0].set_exception(RecordRefusedForSizeError("too large"))
        bridge.writer.futures[1].cancel()
        bridge.writer.holds = False
        await bridge.post(ONE, 202)


async def test_what_was_given_up_by_the_writer_is_503() -> None:
    async with served() as bridge:
        bridge.writer.holds = True
        asked = asyncio.create_task(bridge.post([ONE, ONE], 503))
        await bridge.writer.came.wait()
        bridge.writer.futures[0].set_result(None)
        bridge.writer.futures[1].cancel()
        await asked


# --- Slow and broken clients ---------------------------------------------------------------


async def held_body(
    bridge: Served, sent: int = 0, head: bytes = b"Content-Length: 5000\r\n"
) -> asyncio.StreamWriter:
    """A request whose body does not come to its end."""
    host, port = bridge.url.removeprefix("http://").rstrip("/").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST {POST_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
        + head
        + b"\r\n"
        + b" " * sent
    )
    await writer.drain()
    return writer


async def test_a_body_that_comes_too_slowly_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_S", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b"["
        await released.wait()
        yield b"]"

    released = asyncio.Event()
    async with served() as bridge:
        await bridge.post(slow(), 408)
        released.set()


async def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    async with served() as bridge:
        chunked = b"Transfer-Encoding: chunked\r\n"
        # The last is no chunk at all, which aiohttp answers.
        for head, sent in ((b"Content-Length: 5000\r\n", b"{"), (chunked, b"5\r\n{"), (chunked, b"zz\r\n")):
            writer = await held_body(bridge, head=head)
            writer.write(sent)
            await writer.drain()
            writer.close()
        async with asyncio.timeout(20):
            while bridge.figures.answers.total() < 2 or bridge.figures.bodies_bytes:
                await asyncio.sleep(0.01)
        assert set(bridge.figures.answers) <= {400}
        await bridge.post(ONE, 202)


async def test_a_compressed_body_is_never_unpacked() -> None:
    async with served() as bridge:
        writer = await held_body(bridge, head=b"Content-Encoding: gzip\r\nContent-Length: 3\r\n", sent=3)
        while not bridge.figures.answers:
            await asyncio.sleep(0.01)
        assert bridge.figures.answers == {415: 1}
        writer.close()


# --- Stopping ------------------------------------------------------------------------------


async def test_a_drain_answers_what_is_under_way_and_takes_nothing_more() -> None:
    async with served() as bridge:
        bridge.writer.holds = True
        await bridge.post([], 202)  # a connection that stays open
        asked = asyncio.create_task(bridge.post(ONE, 202))
        await bridge.writer.came.wait()
        bridge.health.stopping = True
        draining = asyncio.create_task(bridge.server.drain())
        done, _ = await asyncio.wait([draining], timeout=0.05)
        assert not done
        bridge.writer.futures[0].set_result(None)
        assert await asked == {"accepted": 1}
        assert await draining
        host, port = bridge.url.removeprefix("http://").rstrip("/").split(":")
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0


async def test_while_it_stops_it_is_503() -> None:
    async with served() as bridge:
        bridge.health.stopping = True
        await bridge.post(ONE, 503)
        assert bridge.health.ready().reasons == ["The process is stopping."]


async def test_a_drain_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_DRAIN_S", 0.05)
    async with served() as bridge:
        bridge.writer.holds = True
        asked = asyncio.create_task(bridge.post(ONE, 503))
        await bridge.writer.came.wait()
        assert not await bridge.server.drain()
        bridge.writer.futures[0].cancel()
        await asked


# --- Metrics and document ------------------------------------------------------------------


async def test_the_metrics_are_those_that_are_documented() -> None:
    async with served() as bridge:
        await bridge.post(ONE, 202)
        async with bridge.client.get("/metrics") as answer:
            text = await answer.text()
        assert 'tocsin_http_bridge_answers_total{status="202"} 1.0' in text
        assert 'tocsin_http_bridge_notifications_total{priority="ERROR"} 1.0' in text
        assert "tocsin_http_bridge_ready 1.0" in text
        assert all(f"# HELP {name.removesuffix('_total')}" in text for name, *_ in METRICS)


@pytest.mark.parametrize(
    ("values", "token", "status"),
    [
        ({}, None, 200),
        ({"metrics_token": "m" * 16}, None, 401),
        ({"metrics_token": "m" * 16}, TOKEN, 401),
        ({"metrics_token": "m" * 16}, "m" * 16, 200),
        ({"http_bridge_host": "*"}, None, 401),
        ({"http_bridge_host": "*"}, TOKEN, 401),
        ({"http_bridge_host": "*", "metrics_open": True}, None, 200),
    ],
)
async def test_who_may_see_the_metrics(values: dict[str, Any], token: str | None, status: int) -> None:
    if "http_bridge_host" in values:
        values = values | {"http_bridge_tokens_file": "/etc/publishers"}
    async with served(tokens=f"nova {TOKEN} *", **values) as bridge:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with bridge.client.get("/metrics", headers=headers) as answer:
            assert answer.status == status


async def test_the_document_is_served_to_everybody() -> None:
    async with served(tokens=f"nova {TOKEN} *") as bridge, bridge.client.get("/openapi.json") as answer:
        found = await answer.json()
    assert found == json.loads(json.dumps(document(load_settings().priorities, with_tokens=True)))
    assert found["openapi"].startswith("3.1")
    assert found["components"]["schemas"]["Notification"]["properties"]["priority"]["enum"][0] == "CRITICAL"


# --- TLS -----------------------------------------------------------------------------------


def certificate(folder: Path, password: str | None) -> tuple[dict[str, Any], ssl.SSLContext]:
    """Settings of a certificate and its key, and who trusts them."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    (folder / "tls.crt").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key = issued.private_key_pem.bytes()
    if password is not None:
        key = load_pem_private_key(key, None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
        )
    (folder / "tls.key").write_bytes(key)
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    files = {
        "http_bridge_tls_cert_file": str(folder / "tls.crt"),
        "http_bridge_tls_key_file": str(folder / "tls.key"),
    }
    return files, trust


@pytest.mark.parametrize("password", [None, "open sesame"])
async def test_it_speaks_https_with_a_key_that_may_be_encrypted(tmp_path: Path, password: str | None) -> None:
    files, trust = certificate(tmp_path, password)
    secret = {} if password is None else {"http_bridge_tls_key_password": password}
    tls = server_context(load_settings(**files, **secret))
    async with served(tls=tls, trust=trust) as bridge:
        assert bridge.url.startswith("https://")
        assert await bridge.post(ONE, 202) == {"accepted": 1}
        async with aiohttp.ClientSession() as stranger:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await stranger.get(f"{bridge.url}livez")


@pytest.mark.parametrize("given", [None, "wrong"])
def test_a_key_without_its_password_is_told(tmp_path: Path, given: str | None) -> None:
    files, _ = certificate(tmp_path, "open sesame")
    secret = {} if given is None else {"http_bridge_tls_key_password": given}
    with pytest.raises(ConfigurationError, match="has not the key's password"):
        server_context(load_settings(**files, **secret))
    (tmp_path / "tls.key").unlink()
    with pytest.raises(ConfigurationError, match=r"TLS_KEY_FILE: cannot read .*tls\.key"):
        server_context(load_settings(**files, **secret))


def test_without_a_certificate_there_is_no_tls() -> None:
    assert server_context(load_settings()) is None


# --- Settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"http_bridge_host": "*"}, "set TOCSIN_HTTP_BRIDGE_TOKENS_FILE"),
        ({"http_bridge_host": "192.0.2.1"}, "set TOCSIN_HTTP_BRIDGE_TOKENS_FILE"),
        ({"http_bridge_host": "localhost:80"}, "which is TOCSIN_HTTP_BRIDGE_PORT"),
        ({"http_bridge_tls_cert_file": "/c"}, "both or neither"),
        ({"http_bridge_tls_key_file": "/k"}, "both or neither"),
    ],
)
def test_settings_that_do_not_go_together_are_told(values: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_settings(**values)


async def test_an_address_that_is_taken_is_told() -> None:
    async with served() as bridge:
        port = int(bridge.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"TOCSIN_HTTP_BRIDGE_PORT: .*127.0.0.1:{port}"):
            async with served(http_bridge_port=port):
                pass
