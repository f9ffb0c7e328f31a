"""Produce requests that are packed at once are those that aiokafka packs level by level."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol import produce
from hypothesis import given
from hypothesis import strategies as st

from streams.packed_records import packed
from streams.upstream.packed_batches import PackedBatch
from streams.upstream.produce_packing import install_produce_packing
from streams.upstream.unjoined import Message, Unjoined

STOCK = produce.ProduceRequest_v3.SCHEMA
VERSIONS = [produce.ProduceRequest_v3, produce.ProduceRequest_v7]
BATCHES = st.binary(max_size=20).map(bytearray)
TOPICS = st.lists(
    st.tuples(
        st.text("abc.é-_", max_size=12),
        st.lists(st.tuples(st.integers(-(2**31), 2**31 - 1), BATCHES), max_size=4),
    ),
    max_size=3,
)


class Socket:
    """Takes what a connection writes."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    async def drain(self) -> None:
        pass


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in VERSIONS:
        monkeypatch.setattr(each, "SCHEMA", STOCK)


@pytest.mark.parametrize("version", VERSIONS)
@given(st.none() | st.text("abc", max_size=5), st.integers(-1, 1), st.integers(0, 2**31 - 1), TOPICS)
def test_a_request_has_the_bytes_of_aiokafkas_own(
    version: Any, transaction: str | None, acks: int, timeout: int, topics: Any
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for each in VERSIONS:
            patched.setattr(each, "SCHEMA", STOCK)
        expected = version(transaction, acks, timeout, topics).encode()
        install_produce_packing()
        assert version.SCHEMA is not STOCK
        found = version(transaction, acks, timeout, topics).encode()
        assert (bytes(found), len(found)) == (expected, len(expected))


@pytest.mark.parametrize("newest", [3, 7])
async def test_a_connection_writes_the_bytes_of_aiokafkas_own(stock: None, newest: int) -> None:
    batch = PackedBatch(1000)
    batch.add([packed(b"k", b"v"), packed(None, b"w")])
    built = batch._build()
    assert isinstance(built, Unjoined)
    mixed: list[Any] = [bytes(built), bytearray(b"of another builder")]

    async def written() -> list[Any]:
        connection: Any = AIOKafkaConnection("127.0.0.1", 1)
        connection._versions, connection._writer = {0: (0, newest)}, (socket := Socket())
        topics = [("alerts", [(0, mixed[0]), (2, mixed[1])]), ("other", [(1, mixed[0])])]
        await connection.send(produce.ProduceRequest(None, -1, 1000, topics), expect_response=False)
        return socket.written

    expected = await written()
    install_produce_packing()
    mixed[0] = built
    [found] = await written()
    assert type(found) is bytes
    assert [found] == expected
    # One that is sent again is built already.
    assert batch._build() is built
    assert await written() == expected


def test_a_message_is_joined_behind_its_header_and_its_size_and_no_sooner() -> None:
    message: Any = Message([b"ab", b"", b"c"])
    behind = b"header" + message
    assert (type(behind), len(behind), bytes(behind)) == (Message, 9, b"headerabc")
    assert repr(behind) == "<9 B>", "aiokafka's log has no text for what it cannot cut"
    assert b"size" + behind == b"sizeheaderabc"
    assert b"size" + message != b"sizeabc", "the first is taken for the header"
    with pytest.raises(TypeError):
        message + b"behind"


def test_what_is_packed_is_the_newest_that_aiokafka_speaks() -> None:
    newest = produce.ProduceRequest._CLASSES[-1]
    assert newest is produce.ProduceRequest_v7
    install_produce_packing()
    assert newest.SCHEMA is produce.ProduceRequest_v3.SCHEMA
    assert STOCK.names[-1] == "topics"
