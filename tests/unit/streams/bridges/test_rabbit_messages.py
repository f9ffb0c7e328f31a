"""What the record of a message says, for every form that a cloud publishes."""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from typing import Any

import pytest

from streams.bridges.rabbit_messages import MessageReader
from streams.notifications.priority import Priority

FLAT = {"_unique_id": "u-1", "message_id": "m-1", "priority": "ERROR", "_context_user_id": "u"}
ENVELOPE = {"oslo.version": "2.0", "oslo.message": json.dumps(FLAT)}


def read(
    body: bytes, headers: dict[str, Any] | None = None, **more: Any
) -> tuple[bytes, dict[str, bytes], Priority]:
    given = {"message_id": None, "routing_key": None, "queue_priority": None} | more
    incoming = MessageReader(1000).read(body, headers=headers, **given)
    return incoming.value, dict(incoming.headers), incoming.priority


@pytest.mark.parametrize("form", [FLAT, ENVELOPE, {"oslo.message": FLAT}])
def test_flat_form_and_envelope_have_their_id_and_priority(form: dict[str, Any]):
    body = json.dumps(form).encode()
    assert read(body) == (body, {"message-id": b"u-1"}, Priority.ERROR)


def test_bare_json_has_the_notifications_own_id():
    body = b'{"message_id": "m-2", "event_type": "a.b"}'
    assert read(body) == (body, {"message-id": b"m-2"}, Priority.INFO)


def test_id_of_the_properties_comes_first_then_the_header():
    body = json.dumps(FLAT).encode()
    assert read(body, {"x-message-id": "h"}, message_id="p")[1] == {"message-id": b"p"}
    assert read(body, {"x-message-id": "h"})[1] == {"message-id": b"h"}


def test_queue_then_routing_key_then_message_say_the_priority():
    body = json.dumps(FLAT).encode()
    assert read(body, queue_priority=Priority.WARN, routing_key="n.critical")[2] is Priority.WARN
    assert read(body, routing_key="n.critical")[2] is Priority.CRITICAL


def test_trace_goes_along():
    headers = {"traceparent": "00-1-2-01", "tracestate": b"a=b", "other": "x"}
    assert read(b"{}", headers)[1] == {"traceparent": b"00-1-2-01", "tracestate": b"a=b"}


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("application/x-gzip", zlib.compress(b'{"_unique_id": "z"}')),
        ("application/x-bz2", bz2.compress(b'{"_unique_id": "z"}')),
        ("application/x-lzma", lzma.compress(b'{"_unique_id": "z"}')),
    ],
)
def test_what_kombu_compressed_is_unpacked(name: str, packed: bytes):
    value, headers, _ = read(packed, {"compression": name})
    assert (value, headers) == (b'{"_unique_id": "z"}', {"message-id": b"z"})
    # Damaged, it stays as it is.
    assert read(packed[:-4], {"compression": name})[0] == packed[:-4]


def test_what_hides_more_than_is_allowed_stays_packed():
    packed = zlib.compress(b"x" * 5000)
    assert read(packed, {"compression": "application/x-gzip"})[0] == packed


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[" * 900, b"null", b'{"oslo.message": "{"}', b'{"oslo.message": 1}']
)
def test_what_cannot_be_read_goes_on_as_it_is(body: bytes):
    value, headers, priority = read(body, {"x-message-id": 5, "traceparent": "x" * 1000})
    assert (value, headers, priority) == (body, {}, Priority.INFO)
