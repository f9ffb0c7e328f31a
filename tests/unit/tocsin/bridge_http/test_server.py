"""What the bridge answers, over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.notifications.priority import Priority
from streams.settings import load_settings
from tests.unit.tocsin.bridge_http.bridge_kit import JSON, ONE, TOKEN, Served, served
from tocsin.bridge_http import server
from tocsin.bridge_http.figures import METRICS
from tocsin.bridge_http.openapi import POST_PATH, document

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


async def test_a_topic_that_takes_nothing_holds_up_no_other() -> None:
    async with served() as bridge:
        bridge.writer.stuck = {Priority.DEBUG}
        debug, critical = ({**ONE, "priority": name} for name in ("DEBUG", "CRITICAL"))
        await bridge.post(debug, 503)
        await bridge.post([critical, debug], 503)
        await bridge.post(critical, 202)
        assert [priority for priority, _, _ in bridge.writer.posted] == [Priority.CRITICAL]
        assert bridge.health.ready().ok


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
