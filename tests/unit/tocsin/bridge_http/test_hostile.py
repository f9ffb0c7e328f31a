"""Requests that two servers could read in two ways: none of them publishes anything, nor what it hides."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.tocsin.bridge_http.bridge_kit import ONE, Served, served
from tocsin.bridge_http.openapi import POST_PATH

BODY = json.dumps(ONE).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
START = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % POST_PATH.encode()
GOOD = START + LENGTH + b"\r\n" + BODY
LAST = START + LENGTH + b"Connection: close\r\n\r\n" + BODY


async def answers(bridge: Served, request: bytes) -> bytes:
    """All that comes until the bridge closes the connection."""
    host, port = bridge.url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(START + LENGTH + CHUNKED + b"\r\n" + CHUNKS, id="a length, and chunks"),
        pytest.param(START + b"Content-Length: 0\r\n" + CHUNKED + b"\r\n0\r\n\r\n", id="none, and chunks"),
        pytest.param(START + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY, id="two lengths"),
        pytest.param(START + LENGTH + LENGTH + b"\r\n" + BODY, id="the same length twice"),
        pytest.param(START + LENGTH.replace(b": ", b": +") + b"\r\n" + BODY, id="a length with a sign"),
        pytest.param(START + LENGTH.replace(b":", b" :") + b"\r\n" + BODY, id="a space before the colon"),
        pytest.param(START + CHUNKED.replace(b"ch", b"xch") + b"\r\n" + CHUNKS, id="an unknown encoding"),
        pytest.param(START + CHUNKED.replace(b": ", b": \x0b") + b"\r\n" + CHUNKS, id="a strange blank"),
        pytest.param(START + CHUNKED + CHUNKED.replace(b"chunked", b"identity") + b"\r\n" + CHUNKS, id="two"),
        pytest.param(START + CHUNKED + b"\r\n0x" + CHUNKS, id="a chunk with 0x"),
        pytest.param(START + CHUNKED + b"\r\n-" + CHUNKS, id="a chunk with a sign"),
        pytest.param(START + b"X: a\r\n b\r\n" + LENGTH + b"\r\n" + BODY, id="a folded header"),
        pytest.param(START + b"X: \x00\r\n" + LENGTH + b"\r\n" + BODY, id="a zero byte"),
        pytest.param(START.replace(b"\r\n", b"\n") + LENGTH + b"\r\n" + BODY, id="line feeds alone"),
        pytest.param(START.replace(b"Type:", b"Type: text/plain\r\nContent-Type:") + LENGTH + b"\r\n" + BODY,
                     id="two types"),
    ],
)  # fmt: skip
async def test_what_can_be_read_in_two_ways_is_not_read(request_: bytes) -> None:
    async with served() as bridge:
        # The second one must not be taken either: who comes before may think that it is part of the first.
        found = await answers(bridge, request_ + GOOD)
        assert bridge.writer.posted == []
        assert b" 202 " not in found
        # The control: two that are clear.
        assert (await answers(bridge, GOOD + LAST)).count(b" 202 ") == 2
        assert len(bridge.writer.posted) == 2
        assert bridge.figures.bodies_bytes == 0
