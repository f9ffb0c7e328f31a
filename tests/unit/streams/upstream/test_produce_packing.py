"""Produce requests that are packed at once are those that aiokafka packs level by level."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.protocol import produce
from hypothesis import given
from hypothesis import strategies as st

from streams.upstream.produce_packing import install_produce_packing

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
        assert version(transaction, acks, timeout, topics).encode() == expected


def test_what_is_packed_is_the_newest_that_aiokafka_speaks() -> None:
    newest = produce.ProduceRequest._CLASSES[-1]
    assert newest is produce.ProduceRequest_v7
    install_produce_packing()
    assert newest.SCHEMA is produce.ProduceRequest_v3.SCHEMA
