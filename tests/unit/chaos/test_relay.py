"""The relay of the chaos suite: what passes is what was sent, until it is cut or held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.relay import HOST, Relay


@asynccontextmanager
async def relayed() -> AsyncIterator[tuple[Relay, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through a relay to somebody who sends everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    relay = Relay(server.sockets[0].getsockname()[1], 1)
    await relay.start()
    reader, writer = await asyncio.open_connection(HOST, relay.port)
    try:
        yield relay, reader, writer
    finally:
        writer.close()
        await relay.stop()
        server.close()


@pytest.mark.parametrize("slice_bytes", [0, 1, 7])
@pytest.mark.parametrize("delay_s", [0.0, 0.01])
async def test_all_that_is_sent_arrives_in_order(slice_bytes: int, delay_s: float) -> None:
    async with relayed() as (relay, reader, writer):
        relay.slice_bytes, relay.delay_s = slice_bytes, delay_s
        sent = bytes(range(256))
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent


async def test_cut_resets_the_connection() -> None:
    async with relayed() as (relay, reader, writer):
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        assert relay.cut() == 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)


async def test_nothing_passes_while_it_is_held() -> None:
    async with relayed() as (relay, reader, writer):
        relay.hold()
        writer.write(b"a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.2)
        relay.release()
        assert await reader.readexactly(1) == b"a"
