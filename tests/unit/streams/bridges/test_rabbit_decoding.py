"""Properties of messages are decoded whatever they are, and as before where they can be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, decode, header

from streams.bridges.rabbit_decoding import install_lenient_decoding

TIME = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def lenient() -> Iterator[None]:
    """For this module alone."""
    before = dict(decode.METHODS), dict(decode.TABLE_MAPPING)
    install_lenient_decoding()
    yield
    decode.METHODS.update(before[0])
    decode.TABLE_MAPPING.update(before[1])


def decoded(flags: bytes, content: bytes) -> commands.Basic.Properties:
    found = header.ContentHeader()
    found.unmarshal(b"\x00\x3c\x00\x00" + bytes(8) + flags + content)
    return found.properties


def test_what_can_be_decoded_is_as_it_was() -> None:
    sent = commands.Basic.Properties(
        content_type="application/json",
        headers={"a": 1, "é": "ü", "at": TIME, "in": {"x": [True, None, "y"]}},
        message_id="é",
        timestamp=TIME,
        priority=3,
    )
    found = header.ContentHeader()
    found.unmarshal(header.ContentHeader(properties=sent).marshal())
    assert found.properties == sent


@given(st.binary(max_size=255), st.binary(max_size=300), st.integers(0, 2**64 - 1))
def test_nothing_that_a_publisher_can_send_raises(text: bytes, content: bytes, time: int) -> None:
    table = len(content).to_bytes(4, "big") + content
    short = bytes([len(text)]) + text
    # content_type, headers, message_id and timestamp, in the order of their flags.
    found = decoded(b"\xa0\xc0", short + table + short + time.to_bytes(8, "big"))
    assert found.content_type == found.message_id == text.decode("utf-8", "backslashreplace")
    assert isinstance(found.headers, dict)
    assert found.timestamp is None or isinstance(found.timestamp, datetime)
