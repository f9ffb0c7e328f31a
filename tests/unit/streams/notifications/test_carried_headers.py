"""Headers that go on to alerts: those of W3C Trace Context and the message's id, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.carried_headers import carried_headers

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
PARENT = b"00-%b-%b-01" % (TRACE, SPAN)


def test_they_go_on_in_the_order_of_their_names() -> None:
    headers = [
        ("tracestate", b"a=b, c=d"),
        ("other", b"x"),
        ("message-id", b"2f1c"),
        ("traceparent", PARENT),
        ("message-id", b"another"),
    ]
    assert carried_headers(headers) == [
        ("message-id", b"2f1c"),
        ("traceparent", PARENT),
        ("tracestate", b"a=b, c=d"),
    ]


@pytest.mark.parametrize(
    "parent",
    [
        None,
        b"",
        b"x",
        PARENT.upper(),
        PARENT + b"\n",
        PARENT + b"-more",
        PARENT[:-1],
        b"ff" + PARENT[2:],
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"01" + PARENT[2:] + b"-" + b"x" * 500,
    ],
)
def test_what_is_no_trace_is_left_out_with_its_state(parent: bytes | None) -> None:
    assert carried_headers([("traceparent", parent), ("tracestate", b"a=b")]) == []


def test_later_versions_may_say_more() -> None:
    later = b"01" + PARENT[2:] + b"-more"
    assert carried_headers([("traceparent", later)]) == [("traceparent", later)]


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "message-id", "x"]), st.binary())))
def test_whatever_comes_what_goes_on_is_short_and_can_be_printed(headers: list[tuple[str, bytes]]) -> None:
    found = carried_headers(headers)
    assert len(found) <= 3
    assert all(
        len(value) <= 512 and value.decode("ascii").isprintable() for _, value in found if b"\t" not in value
    )


def test_of_thousands_only_the_first_are_looked_at() -> None:
    assert carried_headers([("x", b"")] * 5000 + [("message-id", b"a")]) == []
