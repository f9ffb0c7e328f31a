"""The live stream: a snapshot, what changes, going on after a break, bounds on readers."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import orjson
import pytest

from tables.views import connections, live_channel, live_stream, sessions
from tables.views.counts_query import CountsQuery
from tables.views.live_channel import SLOW_S, Channel, Reader
from tables.views.live_counts import LiveCounts
from tables.views.live_stream import KEEP_ALIVE_S, LINGER_S, LiveStream
from tables.views.server import ViewServer
from tests.live_reader import live_reader
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill, get, sample, served

ALL_5M = {
    ("ERROR", "compute.instance.create.error"): 12,
    ("INFO", "compute.instance.create.start"): 30,
    ("INFO", "volume.create.end"): 4,
}


@pytest.fixture
def fake() -> FakeSources:
    """Sources with some counts."""
    return sample()


def publish(fake: FakeSources, event_type: str, count: int, offset: int, priority: str = "INFO") -> None:
    """Let a count be as high as this."""
    fill(fake.totals, {(priority, event_type): {NOW_S - 5: count}}, offset)


async def test_a_snapshot_and_then_what_changes(fake: FakeSources) -> None:
    async with served(fake) as client, live_reader(client) as reader:
        assert reader.response.content_type == "text/event-stream"
        first = await reader.next()
        assert first.name == "snapshot"
        counts = await get(client, "/api/v1/counts")
        assert {key: counts[key] for key in first.data if key != "items"} == {
            key: value for key, value in first.data.items() if key != "items"
        }
        by_type = {item["event_type"]: item for item in first.data["items"]}
        assert by_type == {item["event_type"]: item for item in counts["items"]}
        publish(fake, "new", 7, 2)
        second = await reader.next()
        assert (second.name, second.data["removed"]) == ("delta", [])
        assert [(item["event_type"], item["count"]) for item in second.data["items"]] == [("new", 7)]
        assert reader.counts == ALL_5M | {("INFO", "new"): 7}
        fake.as_of += 301
        third = await reader.next()
        assert third.data["items"] == []
        assert {(each["priority"], each["event_type"]) for each in third.data["removed"]} == {
            *ALL_5M,
            ("INFO", "new"),
        }
        assert third.data["as_of"] == "2026-11-01T12:05:01.500Z"


@pytest.mark.parametrize(
    ("parameters", "others"),
    [
        ({"event_type": "compute.*"}, False),
        ({"event_type": "compute.*", "priority": "info"}, False),
        ({"window": "total", "priority": "INFO"}, True),
        ({"priority": "ERROR"}, None),
    ],
)
async def test_each_question_has_its_own_changes(
    fake: FakeSources, parameters: dict[str, str], others: bool | None
) -> None:
    async with (
        served(fake) as client,
        live_reader(client, **parameters) as reader,
        live_reader(client, event_type="volume*") as other,
    ):
        await reader.next()
        await other.next()
        publish(fake, "volume", 9, 2)  # in another row than those of the sample
        changed = (await other.next()).data["items"]
        assert [item["event_type"] for item in changed] == ["volume"]
        if others:
            assert (await reader.next()).data["items"][0]["event_type"] == "volume"
        publish(fake, "compute.instance.create.start", 31, 2)
        publish(fake, "disk", 3, 2, "ERROR")
        found = {(item["priority"], item["event_type"]) for item in (await reader.next()).data["items"]}
        expected = ("ERROR", "disk") if others is None else ("INFO", "compute.instance.create.start")
        assert found == {expected}


@pytest.mark.parametrize(
    "parameters",
    [{"limit": "5"}, {"sort": "count"}, {"window": "2m"}, {"priority": "x"}, {"event_type": "*" * 9}],
)
async def test_wrong_parameters_are_problems(fake: FakeSources, parameters: dict[str, Any]) -> None:
    async with served(fake) as client:
        assert (await get(client, "/api/v1/events", 400, **parameters))["detail"].endswith(".")


async def test_the_head_alone_opens_no_stream(fake: FakeSources) -> None:
    async with served(fake) as client, client.head("/api/v1/events") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert await answer.read() == b""


# ---------------------------------------------------------------- breaks


async def test_who_comes_back_gets_what_it_has_missed_and_nothing_twice(fake: FakeSources) -> None:
    async with served(fake) as client:
        async with live_reader(client) as reader, live_reader(client) as other:
            await reader.next()
            await other.next()
            reader.response.close()
            publish(fake, "a", 1, 2)
            await other.next()
            publish(fake, "new", 2, 3)
            await other.next()
            last = reader.events[-1].id
        async with live_reader(client, last) as again:
            assert [(await again.next()).name for _ in range(2)] == ["delta", "delta"]
            assert again.counts == {("INFO", "a"): 1, ("INFO", "new"): 2}
            assert [event.id for event in again.events] == [event.id for event in other.events[1:]]


@pytest.mark.parametrize("last_id", ["", "x", "0-0", "-1", "00000000-1", "é", "-", "1" * 5000])
async def test_after_a_gap_comes_a_snapshot(fake: FakeSources, last_id: str) -> None:
    async with served(fake) as client, live_reader(client, last_id) as reader:
        assert (await reader.next()).name == "snapshot"
        assert reader.counts == ALL_5M


async def test_events_that_are_no_longer_kept_are_a_gap(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_channel, "_MOST_EVENTS", 1)
    async with served(fake) as client, live_reader(client) as reader:
        first = await reader.next()
        for number in (1, 2):
            publish(fake, "a", number, 1 + number)
            last = await reader.next()
        async with live_reader(client, first.id) as late, live_reader(client, last.id) as current:
            assert (await late.next()).name == "snapshot"
            publish(fake, "a", 3, 4)
            for each in (late, current):
                assert (await each.next()).name == "delta"
                assert each.events[-1].data["items"][0]["count"] == 3


# ---------------------------------------------------------------- bounds


async def test_readers_are_bounded_and_those_that_have_gone_make_room(fake: FakeSources) -> None:
    async with (
        served(fake, web_live_clients=2) as client,
        live_reader(client) as first,
        live_reader(client, window="1m") as second,
    ):
        await first.next()
        await second.next()
        async with client.get("/api/v1/events") as refused:
            assert refused.status == 503
            assert refused.headers["Retry-After"] == "5"
            assert "TOCSIN_WEB_LIVE_CLIENTS" in (await refused.json(content_type=None))["detail"]
        second.response.close()
        async with asyncio.timeout(30):
            while (await client.get("/api/v1/events")).status == 503:
                await asyncio.sleep(0.05)


async def test_none_are_taken_where_there_is_to_be_no_live_stream(fake: FakeSources) -> None:
    async with served(fake, web_live_clients=0) as client:
        await get(client, "/api/v1/events", 503)


async def test_a_stream_counts_for_no_limit_of_connections_and_exchanges(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 1)
    server = fake.server()
    await server.start()
    async with aiohttp.ClientSession(server.address) as client, live_reader(client) as reader:
        await reader.next()
        guard = server.connections
        assert guard is not None
        assert guard.sweep(asyncio.get_running_loop().time() + 10 * connections.EXCHANGE_S) == 0
        for _ in range(3):
            async with aiohttp.ClientSession(server.address) as other, other.get("/livez") as answer:
                assert answer.status == 200
        publish(fake, "a", 1, 2)
        assert (await reader.next()).name == "delta"
    await server.stop()


async def test_who_has_signed_in_must_show_again_that_the_session_has_not_ended(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enough for the first snapshot, on a busy machine too.
    monkeypatch.setattr(sessions, "LONGEST_S", 2.0)
    jar = aiohttp.CookieJar(unsafe=True)  # it has no name, only an address
    server = fake.server(web_token="t0ken")
    await server.start()
    async with (
        aiohttp.ClientSession(server.address, cookie_jar=jar) as person,
        aiohttp.ClientSession(server.address, headers={"Authorization": "Bearer t0ken"}) as program,
        live_reader(program) as other,
    ):
        await other.next()
        async with person.post("/sign-in", data={"token": "t0ken"}, allow_redirects=False) as answer:
            assert answer.status == 303
        async with live_reader(person) as reader:
            first = await reader.next()
            with pytest.raises(EOFError):
                await reader.next()
        monkeypatch.setattr(sessions, "LONGEST_S", 3600.0)
        publish(fake, "a", 1, 2)
        async with live_reader(person, first.id) as again:
            assert (await again.next()).name == "delta"
        jar.clear()
        async with person.get("/api/v1/events") as answer:
            assert answer.status == 401
        assert (await other.next()).name == "delta", "who sends the token with the request reads on"
    await server.stop()


async def ended(stream: aiohttp.ClientResponse) -> None:
    """Returns once a stream has ended as it should: an error is one that was cut."""
    async with asyncio.timeout(10):
        while await stream.content.readany():
            pass


async def signed_in(server: ViewServer, stack: AsyncExitStack) -> aiohttp.ClientSession:
    jar = aiohttp.CookieJar(unsafe=True)  # it has no name, only an address
    person = await stack.enter_async_context(aiohttp.ClientSession(server.address, cookie_jar=jar))
    async with person.post("/sign-in", data={"token": "t0ken"}, allow_redirects=False) as answer:
        assert answer.status == 303
    return person


async def test_signing_out_ends_the_streams_of_the_session_and_no_others(fake: FakeSources) -> None:
    server = fake.server(web_token="t0ken")
    await server.start()
    async with AsyncExitStack() as stack:
        person, other = await signed_in(server, stack), await signed_in(server, stack)
        reader = await stack.enter_async_context(live_reader(other))
        await reader.next()
        streams = [
            await stack.enter_async_context(person.get(path)) for path in ("/api/v1/events", "/live", "/live")
        ]
        assert [stream.status for stream in streams] == [200, 200, 200]
        for stream in streams:
            await stream.content.readany()
        async with person.post("/sign-out", allow_redirects=False) as answer:
            assert answer.status == 303
        for stream in streams:
            await ended(stream)
        publish(fake, "a", 1, 2)
        assert (await reader.next()).name == "delta"
        assert (server.stream.readers, server.changes.readers) == (1, 0)
    await server.stop()


async def test_stopping_ends_the_streams(fake: FakeSources) -> None:
    server = fake.server()
    await server.start()
    async with aiohttp.ClientSession(server.address) as client, live_reader(client) as reader:
        await reader.next()
        await server.stop()
        with pytest.raises((EOFError, aiohttp.ClientError)):
            await reader.next()


async def test_http_1_0_gets_the_same_without_chunks(fake: FakeSources) -> None:
    server = fake.server()
    await server.start()
    port = int(server.address.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/v1/events HTTP/1.0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"chunked" not in head
    assert await reader.readuntil(b"\n\n") == b"retry: 2000\n\n"
    for name in (b"snapshot", b"delta"):
        lines = (await reader.readuntil(b"\n\n")).splitlines()
        assert [line.partition(b": ")[0] for line in lines] == [b"id", b"event", b"data", b""]
        assert lines[1] == b"event: " + name
        assert orjson.loads(lines[2].partition(b": ")[2])["complete"] is True
        publish(fake, "a", 1, 2)
    writer.close()
    await server.stop()


class Line:
    """A connection that takes what it is told to take."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.left = 0
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.left

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


class Rig:
    """A live stream whose clock and ticks are ours."""

    def __init__(self, fake: FakeSources, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(live_stream, "TICK_S", 3600.0)
        self.stream = LiveStream(LiveCounts(fake, lambda: NOW_S, lambda: self.now_s), 10, lambda: self.now_s)
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, query: CountsQuery | None = None, last_id: str = "") -> Line:
        line = Line()
        reader = Reader(line)
        self._tasks.append(asyncio.create_task(self.stream.read(query or CountsQuery(), reader, last_id)))
        while not (reader.has_begun or reader.gone.is_set()):
            await asyncio.sleep(0)
        return line

    async def tick(self, seconds: float = 1.0) -> None:
        self.now_s += seconds
        await self.stream.tick()
        for _ in range(5):
            await asyncio.sleep(0)  # readers that have gone leave

    async def end(self) -> None:
        await self.stream.stop()
        await asyncio.gather(*self._tasks)


def names(line: Line) -> list[str]:
    return [each.split(b"event: ")[1].split(b"\n")[0].decode() for each in line.sent]


async def test_one_event_is_sent_to_all_readers_the_same_bytes(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(fake, monkeypatch)
    lines = [await rig.join() for _ in range(5)]
    publish(fake, "a", 1, 2)
    await rig.tick()
    assert all(names(line) == ["snapshot", "delta"] for line in lines)
    assert all(line.sent == lines[0].sent for line in lines)
    await rig.end()
    assert all(line.closed for line in lines)


async def test_a_slow_reader_gets_nothing_more_and_is_dropped(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(fake, monkeypatch)
    slow, quick, mended = [await rig.join() for _ in range(3)]
    slow.left = mended.left = 1
    for number in range(int(SLOW_S) + 1):
        publish(fake, "a", number + 1, number + 2)
        await rig.tick()
        assert not slow.closed
        assert not mended.closed
        if number == 5:
            assert names(mended) == ["snapshot"], "nothing waits in its connection"
            mended.left = 0  # from here on it gets all that it has missed
    assert names(slow) == ["snapshot"]
    await rig.tick()
    assert slow.closed
    assert rig.stream.dropped == 1
    assert rig.stream.readers == 2
    assert mended.sent == quick.sent
    assert len(quick.sent) == int(SLOW_S) + 2
    await rig.end()


async def test_a_reader_that_missed_more_than_is_kept_gets_a_snapshot(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_channel, "_MOST_EVENTS", 2)
    rig = Rig(fake, monkeypatch)
    line = await rig.join()
    line.left = 1
    for number in range(3):
        publish(fake, "a", number + 1, number + 2)
        await rig.tick()
    line.left = 0
    await rig.tick()
    assert names(line) == ["snapshot", "snapshot"]
    assert b'"a","priority":"INFO","count":3' in line.sent[-1]
    publish(fake, "a", 9, 9)
    await rig.tick()
    assert names(line) == ["snapshot", "snapshot", "delta"]
    await rig.end()


async def test_while_nothing_changes_an_event_says_so_now_and_then(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(fake, monkeypatch)
    line = await rig.join()
    for _ in range(int(KEEP_ALIVE_S) - 1):
        fake.as_of += 1
        await rig.tick()
    assert names(line) == ["snapshot"]
    await rig.tick()
    assert names(line) == ["snapshot", "delta"]
    assert b'"items":[],"removed":[]' in line.sent[-1]
    assert b'"as_of":"2026-11-01T12:00:04.500Z"' in line.sent[-1]
    fake.complete, fake.missing = False, {2}
    await rig.tick()
    assert b'"complete":false,"missing_partitions":[2]' in line.sent[-1]
    await rig.end()


async def test_counts_nobody_reads_are_not_looked_at_for_long(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(fake, monkeypatch)
    line = await rig.join()
    publish(fake, "a", 1, 2)
    await rig.tick()
    last = line.sent[-1].split(b"id: ")[1].split(b"\n")[0].decode()
    line.closed = True
    await rig.tick()
    assert rig.stream.readers == 0
    publish(fake, "a", 2, 3)
    await rig.tick()
    back = await rig.join(last_id=last)
    assert names(back) == ["delta"]
    back.closed = True
    await rig.tick()
    await rig.tick(LINGER_S + 1)
    assert names(await rig.join(last_id=last)) == ["snapshot"]
    await rig.end()


async def test_a_failure_is_told_and_readers_begin_anew(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_stream, "TICK_S", 0.01)
    async with served(fake) as client, live_reader(client) as reader:
        await reader.next()

        async def fails(*_: Any) -> None:
            raise RuntimeError("broken")

        with monkeypatch.context() as broken:
            broken.setattr(LiveStream, "tick", fails)
            with pytest.raises((EOFError, aiohttp.ClientError, asyncio.IncompleteReadError)):
                await reader.next()
        assert "readers get a snapshot" in caplog.text
        async with live_reader(client, reader.events[-1].id) as again:
            assert (await again.next()).name == "snapshot"


def test_events_that_are_kept_are_bounded_in_bytes() -> None:
    channel = Channel(CountsQuery(), None, 0.0)  # type: ignore[arg-type]
    for _ in range(10):
        channel.add("delta", b"x" * 100, None, 0.0, 350)  # type: ignore[arg-type]
    assert channel.number == 10
    assert len(channel.after(8) or ()) == 2
    assert channel.after(7) is None
    assert channel.after(11) is None
    assert channel.after(10) == []


async def test_a_client_that_does_not_read_is_dropped_by_a_real_server(
    fake: FakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_stream, "TICK_S", 0.01)
    monkeypatch.setattr(live_channel, "SLOW_S", 0.2)
    # More than the kernel buffers for a client that takes little.
    fill(fake.totals, {("INFO", f"{n:05}" + "x" * 900): {NOW_S - 5: 1} for n in range(8000)})
    server: ViewServer = fake.server()
    await server.start()
    port = int(server.address.rstrip("/").rpartition(":")[2])
    loop = asyncio.get_running_loop()
    async with (
        aiohttp.ClientSession(server.address) as client,
        live_reader(client, event_type="vol*") as reader,
    ):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, ("127.0.0.1", port))
            await loop.sock_sendall(deaf, b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(30):
                while not server.stream.dropped:
                    await asyncio.sleep(0.01)
        await reader.next()
        publish(fake, "vol", 1, 2)
        # On a busy machine there may be events before it that tell of nothing but the time.
        while not (items := (await reader.next()).data["items"]):
            pass
        assert items[0]["event_type"] == "vol"
    assert server.stream.dropped == 1
    await server.stop()
