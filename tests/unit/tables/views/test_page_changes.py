"""Pages that are open hear that something has changed, at most twice a second, and that they are too many."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextlib import nullcontext

import aiohttp
import pytest
from aiohttp import web

from tables.views.live_channel import Reader
from tables.views.page_changes import PageChanges
from tests.unit.tables.views.views_kit import NOW_S, FakeSources, fill


class _Transport:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waiting = 0
        self.closed = False

    def write(self, data: bytes, /) -> None:
        self.sent.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


class _Open:
    """Changes with one page that is open, on a clock of the test's."""

    def __init__(self) -> None:
        self.basis: Hashable = 1
        self.now_s = 100.0
        self.changes = PageChanges(
            lambda: self.basis, lambda _: False, lambda _: nullcontext(), monotonic=lambda: self.now_s
        )
        self.transport = _Transport()
        self.changes._readers.add(Reader(self.transport))

    def told(self) -> int:
        """Events since the last call, after a look for changes."""
        before = len(self.transport.sent)
        self.changes.tick()
        return len(self.transport.sent) - before


def test_a_change_is_told_at_once_and_again_half_a_second_later_and_no_change_after_two_seconds() -> None:
    # The second time, no answer is kept any more that was made just before the change.
    page = _Open()
    told = []
    for basis in (1, 1, 1, 2, 2, 2):
        page.basis = basis
        told.append(page.told())
        page.now_s += 0.5
    assert told == [1, 1, 0, 1, 1, 0]
    page.now_s += 0.9
    assert page.told() == 0


def test_each_of_several_changes_is_told_again_once_they_are_over() -> None:
    page = _Open()
    told = []
    for basis in (1, 2, 3, 3, 3, 3, 3):
        page.basis = basis
        told.append(page.told())
        page.now_s += 0.2
    assert told == [1, 1, 1, 0, 0, 1, 0]


def test_what_stays_as_it_is_is_told_after_two_seconds() -> None:
    page = _Open()
    assert page.told() == 1
    page.now_s += 0.5
    assert page.told() == 1
    page.now_s += 1.9
    assert page.told() == 0
    page.now_s += 0.2
    assert page.told() == 1


def test_a_page_that_is_slow_gets_nothing_meanwhile_and_is_dropped() -> None:
    page = _Open()
    page.transport.waiting = 1
    for _ in range(5):
        page.now_s += 2.1
        page.told()
    assert page.transport.sent == []
    page.now_s += 2.1
    page.told()
    assert page.transport.closed
    assert page.changes.readers == 0
    assert page.changes.dropped == 1


async def test_a_page_hears_of_new_counts_over_http() -> None:
    fake = FakeSources()
    server = fake.server()
    await server.start()
    try:
        async with aiohttp.ClientSession(server.address) as client, client.get("live") as stream:
            assert stream.content_type == "text/event-stream"

            async def next_event() -> bytes:
                while True:
                    line = await stream.content.readline()
                    assert line
                    if line.startswith(b"event: "):
                        return line.strip()

            async with asyncio.timeout(10):
                assert await next_event() == b"event: changed"
                fill(fake.totals, {("INFO", "new"): {NOW_S - 20: 1}})
                assert await next_event() == b"event: changed"
            assert server.changes.readers == 1
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("first", "second"), [("live", "live"), ("live", "api/v1/events"), ("api/v1/events", "live")]
)
async def test_pages_and_readers_of_the_stream_are_bounded_together(first: str, second: str) -> None:
    server = FakeSources().server(web_live_clients=1)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.address) as client:
            async with client.get(first) as held:
                assert held.status == web.HTTPOk.status_code
                await held.content.readany()
                async with client.get(second) as refused:
                    assert refused.status == web.HTTPServiceUnavailable.status_code
                    assert int(refused.headers["Retry-After"]) > 0
                assert (await metric(client, "clients"), await metric(client, "refused_total")) == (1, 1)
            async with asyncio.timeout(10):
                while await metric(client, "clients"):
                    await asyncio.sleep(0)
                async with client.get(second) as let_in:  # the control: who has gone leaves room
                    assert let_in.status == web.HTTPOk.status_code
    finally:
        await server.stop()


async def metric(client: aiohttp.ClientSession, name: str) -> float:
    """A metric of the readers."""
    async with client.get("metrics") as answer:
        lines = dict(
            line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if line and line[0] != "#"
        )
    return float(lines[f"tocsin_web_live_{name}"])
