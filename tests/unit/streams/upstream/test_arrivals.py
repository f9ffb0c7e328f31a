"""Whether something has arrived is told by the sockets, without a turn of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

from streams.upstream.arrivals import has_arrivals


@contextlib.asynccontextmanager
async def connections(number: int) -> AsyncIterator[tuple[Any, list[Any], list[socket.socket]]]:
    """A consumer with connections, and the other ends of them."""
    with contextlib.ExitStack() as stack:
        made, ends = [], []
        for node in range(number):
            ours, theirs = (stack.enter_context(each) for each in socket.socketpair())
            connection = AIOKafkaConnection("127.0.0.1", 1)
            connection._reader, connection._writer = await asyncio.open_connection(sock=ours)
            connection._read_task = asyncio.ensure_future(asyncio.sleep(0))
            made.append(((node, 0), connection))
            ends.append(theirs)
        yield SimpleNamespace(_client=SimpleNamespace(_conns=dict(made))), [each for _, each in made], ends
        for _, connection in made:
            if connection._writer is not None:
                connection._writer.close()


def arrive(end: socket.socket, ours: Any) -> None:
    end.send(b"x")
    # The kernel may take a moment, in which this loop must not read it.
    assert select.select([ours], [], [], 30)[0]


async def test_what_lies_in_any_socket_is_seen() -> None:
    async with connections(3) as (consumer, made, ends):
        assert not has_arrivals(consumer)
        arrive(ends[2], made[2]._writer.get_extra_info("socket"))
        assert has_arrivals(consumer)
        assert has_arrivals(consumer), "looking takes nothing away"
        assert await made[2]._reader.readexactly(1) == b"x"
        assert not has_arrivals(consumer), "the loop has it now"


@pytest.mark.parametrize("how", ["never connected", "closing", "ended by the other side"])
async def test_a_connection_that_is_none_is_passed_over(how: str) -> None:
    async with connections(2) as (consumer, made, ends):
        if how == "never connected":
            made[0]._writer.close()
            made[0]._reader = made[0]._writer = None
        elif how == "closing":
            made[0]._writer.close()
            await asyncio.sleep(0)  # its descriptor is closed now
        else:
            ends[0].close()
            assert await made[0]._reader.read() == b""
            made[0]._writer.close()
        assert not has_arrivals(consumer)
        arrive(ends[1], made[1]._writer.get_extra_info("socket"))
        assert has_arrivals(consumer)


def test_a_consumer_without_connections_has_none() -> None:
    assert not has_arrivals(SimpleNamespace(_client=SimpleNamespace(_conns={})))
