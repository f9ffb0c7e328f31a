"""Fetch requests and answers that are packed at once are those that aiokafka packs field by field."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11
from hypothesis import given
from hypothesis import strategies as st

from streams.upstream.fetch_packing import QuickFetchResponse, install_fetch_packing

STOCK_REQUEST = FetchRequest_v11.SCHEMA

INT16 = st.integers(-(2**15), 2**15 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
TOPICS = st.text("abc.é-_", max_size=12)
ABORTED = st.none() | st.lists(st.tuples(INT64, INT64), max_size=3)
PARTS = st.tuples(
    INT32, INT16, INT64, INT64, INT64, ABORTED, INT32, st.none() | st.sampled_from([b"", b"records" * 9])
)
ANSWERS = st.builds(
    FetchResponse_v11,
    INT32,
    INT16,
    INT32,
    st.lists(st.tuples(TOPICS, st.lists(PARTS, max_size=4)), max_size=3),
)
REQUESTS = st.builds(
    FetchRequest,
    max_wait_time=INT32,
    min_bytes=INT32,
    max_bytes=INT32,
    isolation_level=st.integers(0, 1),
    topics=st.lists(st.tuples(TOPICS, st.lists(st.tuples(INT32, INT64, INT32), max_size=4)), max_size=3),
    rack_id=TOPICS,
)


def fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in FetchResponse_v11.SCHEMA.names}


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FetchRequest_v11, "SCHEMA", STOCK_REQUEST)
    monkeypatch.setattr(FetchRequest_v11, "RESPONSE_TYPE", FetchResponse_v11)
    install_fetch_packing()


@given(ANSWERS, st.binary(max_size=8))
def test_an_answer_says_what_aiokafka_reads_in_it(answer: FetchResponse_v11, header: bytes) -> None:
    """Also behind the header, which the connection has read before."""
    packed = BytesIO(header + answer.encode())
    packed.seek(len(header))
    found = FetchRequest_v11.RESPONSE_TYPE.decode(packed)
    assert isinstance(found, QuickFetchResponse)
    assert found.API_VERSION == 11
    assert fields(found) == fields(FetchResponse_v11.decode(answer.encode()))
    assert fields(QuickFetchResponse.decode(answer.encode())) == fields(found)


@given(ANSWERS, st.data())
def test_an_answer_that_ends_too_soon_is_refused(answer: FetchResponse_v11, data: st.DataObject) -> None:
    whole = answer.encode()
    short = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ValueError, match="ends too soon"):
        QuickFetchResponse.decode(short)


@given(REQUESTS)
def test_a_request_has_the_bytes_that_aiokafka_sends(request: FetchRequest) -> None:
    built = request.build(FetchRequest_v11)
    in_order = [getattr(built, name) for name in STOCK_REQUEST.names]
    assert FetchRequest_v11.SCHEMA is not STOCK_REQUEST
    assert built.encode() == STOCK_REQUEST.encode(in_order)
    assert repr(built).startswith("FetchRequest_v11(replica_id=-1")  # aiokafka logs it
