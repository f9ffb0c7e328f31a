"""What becomes of the notifications of a request: records that the worker reads, or a reason for each."""

from __future__ import annotations

import base64
import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.bridges.http_bodies import EVENT, EVENTS, JSON, LINES, BodyError, items_of
from streams.bridges.http_notifications import Accepted, Fault, RequestReader, trace_of
from streams.bridges.publishers import ANYBODY, Publisher
from streams.notifications.decoding import Decoder, Limits
from streams.notifications.notification import Notification
from streams.notifications.priority import DEFAULT_PRIORITIES, Priority

NOW_MS = 1_793_534_400_123
NOW = "2026-11-01 12:00:00.123000"
LIMITS = Limits(max_bytes=1000)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WHOLE = {
    "event_type": "a.b",
    "publisher_id": "compute.host1",
    "message_id": "m-1",
    "timestamp": NOW,
    "priority": "ERROR",
    "payload": {"x": 1},
}
#: A CloudEvent of somebody who knows nothing of Tocsin.
FOREIGN = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/shop/1",
    "type": "order.paid",
    "data": {"total": 12.5},
}


def read(
    body: Any,
    media_type: str = JSON,
    publisher: Publisher = ANYBODY,
    limits: Limits = LIMITS,
    **headers: str,
) -> tuple[list[Accepted], list[Fault]]:
    """The records and faults of a request; its ids are fresh-0, fresh-1 and so on."""
    ids = count()
    reader = RequestReader(limits, DEFAULT_PRIORITIES, lambda: f"fresh-{next(ids)}")
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return reader.read(items_of(media_type, named, raw), publisher, trace_of(named), NOW_MS)


def one(body: Any, media_type: str = JSON, **options: Any) -> Accepted:
    accepted, faults = read(body, media_type, **options)
    assert faults == []
    (found,) = accepted
    return found


def notification(found: Accepted) -> Notification:
    decoded = Decoder(LIMITS).decode(found.value, found.priority)
    assert isinstance(decoded, Notification)
    assert decoded.stated_priority is None
    return decoded


def reasons(body: Any, media_type: str = JSON, **options: Any) -> list[str]:
    accepted, faults = read(body, media_type, **options)
    assert accepted == []
    return [fault.reason for fault in faults]


# --- Notifications -------------------------------------------------------------------------


def test_a_whole_notification_goes_on_byte_for_byte() -> None:
    raw = json.dumps(WHOLE, indent=2).encode()
    assert one(raw) == Accepted(raw, [("message-id", b"m-1")], Priority.ERROR)


def test_what_a_notification_lacks_is_filled_in_and_the_rest_stays() -> None:
    found = one(b'{"event_type": "a", "payload": 123456789012345678901234567890, "message_id": null}')
    assert found.priority is Priority.INFO
    assert found.headers == [("message-id", b"fresh-0")]
    assert b'"payload":123456789012345678901234567890' in found.value
    decoded = notification(found)
    assert (decoded.message_id, decoded.event_time_ms, decoded.publisher_id) == ("fresh-0", NOW_MS, "")


def test_an_envelope_of_oslo_keeps_its_form() -> None:
    raw = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(WHOLE)}).encode()
    assert one(raw) == Accepted(raw, [("message-id", b"m-1")], Priority.ERROR)


@pytest.mark.parametrize("media_type", [JSON, LINES[0]])
def test_each_of_several_has_its_own_topic_and_id(media_type: str) -> None:
    several = [WHOLE | {"priority": name, "message_id": name} for name in ("critical", "WARNING", "debug")]
    raw = [json.dumps(each).encode() for each in several]
    body = b"[" + b",".join(raw) + b"]" if media_type == JSON else b"\n".join(raw)
    accepted, faults = read(body, media_type)
    assert (faults, [each.value for each in accepted]) == ([], raw)
    assert [each.priority for each in accepted] == [Priority.CRITICAL, Priority.WARN, Priority.DEBUG]
    assert [dict(each.headers)["message-id"] for each in accepted] == [b"critical", b"WARNING", b"debug"]


def test_bad_ones_are_told_by_index_and_reason() -> None:
    body = [
        WHOLE,
        1,
        {"x": 1},
        WHOLE | {"priority": "loud"},
        WHOLE | {"priority": "AUDIT"},
        {"event_type": " "},
    ]
    accepted, faults = read(body)
    assert len(accepted) == 1
    assert faults == [
        Fault(1, "The value is a number, not a JSON object."),
        Fault(2, "The message has no event_type."),
        Fault(3, "The priority 'loud' is not taken; use one of CRITICAL, ERROR, WARN, INFO, DEBUG."),
        Fault(4, "The priority 'AUDIT' is not taken; use one of CRITICAL, ERROR, WARN, INFO, DEBUG."),
        Fault(5, "The event_type is blank."),
    ]


def test_one_that_is_too_large_is_told_also_where_filling_in_makes_it_so() -> None:
    whole = WHOLE | {"payload": ""}
    room = LIMITS.max_bytes - len(json.dumps(whole))
    assert one(whole | {"payload": "x" * room}).priority is Priority.ERROR
    assert reasons(whole | {"payload": "x" * (room + 1)}) == ["It has 1001 bytes; 1000 are allowed."]
    lacking = {"event_type": "a", "payload": ""}
    room = LIMITS.max_bytes - len(json.dumps(lacking))
    (reason,) = reasons(lacking | {"payload": "x" * room})
    assert "1000 are allowed" in reason


def test_a_token_may_be_used_for_its_publishers_alone() -> None:
    nova = Publisher("nova", ("compute.",))
    assert one(WHOLE, publisher=nova).priority is Priority.ERROR
    others = [WHOLE | {"publisher_id": name} for name in ("network.host1", "", None, 7)]
    # What the worker takes for the publisher counts, and that is the last of two.
    twice = json.dumps(WHOLE).encode()[:-1] + b',"publisher_id":"network.host1"}'
    for body in (*others, twice, FOREIGN):
        accepted, faults = read(body, publisher=nova)
        assert (accepted, [fault.forbidden for fault in faults]) == ([], [True]), body
    envelope = {"oslo.message": json.dumps(WHOLE | {"publisher_id": "network.host1"})}
    assert read(envelope, publisher=nova)[1][0].forbidden


# --- Headers -------------------------------------------------------------------------------


def test_the_trace_context_of_a_request_goes_into_the_headers() -> None:
    found = one(WHOLE, traceparent=TRACE, tracestate="a=1")
    assert found.headers == [("message-id", b"m-1"), ("traceparent", TRACE.encode()), ("tracestate", b"a=1")]
    for wrong in ("", "x", TRACE.upper(), TRACE + "-x", "é"):
        assert one(WHOLE, traceparent=wrong, tracestate="a=1").headers == [("message-id", b"m-1")]


def test_the_trace_context_of_an_event_comes_before_that_of_the_request() -> None:
    own = TRACE.replace("b7ad", "aaaa")
    for body, attributes in ((FOREIGN | {"traceparent": own}, {}), ({}, {"ce_traceparent": own})):
        if attributes:
            attributes |= {
                f"ce_{name}": str(FOREIGN[name]) for name in ("specversion", "id", "source", "type")
            }
        found = one(body, JSON if attributes else EVENT, traceparent=TRACE, tracestate="a=1", **attributes)
        assert found.headers == [("message-id", b"e-1"), ("traceparent", own.encode())]


@pytest.mark.parametrize("message_id", ["é", "two words", "x" * 400, "line\nbreak"])
def test_an_id_that_no_header_may_have_is_there_by_its_digest_and_the_same_again(message_id: str) -> None:
    found = one(WHOLE | {"message_id": message_id})
    assert found == one(WHOLE | {"message_id": message_id})
    (header,) = found.headers
    assert header[0] == "message-id"
    assert len(header[1]) <= 255
    assert header != one(WHOLE | {"message_id": message_id + "!"}).headers[0]


# --- CloudEvents ---------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", [EVENT, JSON, EVENTS])
def test_a_foreign_event_becomes_a_notification(media_type: str) -> None:
    event = FOREIGN | {
        "time": "2026-11-01T13:00:00.5+01:00",
        "priority": "warning",
        "subject": "s",
        "dataschema": "https://example.org/s",
        "tenant": 7,
        "traceparent": TRACE,
    }
    found = one([event] if media_type == EVENTS else event, media_type)
    decoded = notification(found)
    assert found.priority is Priority.WARN
    assert found.headers == [("message-id", b"e-1"), ("traceparent", TRACE.encode())]
    assert (decoded.event_type, decoded.publisher_id, decoded.message_id) == ("order.paid", "/shop/1", "e-1")
    assert decoded.event_time_ms == NOW_MS + 500 - 123
    assert decoded.payload == {"total": 12.5}
    assert decoded.context == {
        "cloud_event": {"subject": "s", "dataschema": "https://example.org/s", "tenant": 7}
    }
    assert decoded.repairs == ()


def test_a_foreign_event_in_binary_mode_becomes_the_same_notification() -> None:
    headers = {"ce_specversion": "1.0", "ce_id": "e-1", "ce_source": "/shop/1", "ce_type": "order.paid"}
    structured = one(FOREIGN | {"subject": "s"}, EVENT)
    for media_type in (JSON, "", "application/vnd.shop+json"):
        assert one(FOREIGN["data"], media_type, ce_subject="s", **headers) == structured
    assert notification(one(b"hello", "text/plain", **headers)).payload == "hello"
    for raw, media_type in ((b"\xff\x00", "image/png"), (b"\xff", "text/plain")):
        found = notification(one(raw, media_type, **headers))
        assert found.payload == {"data_base64": base64.b64encode(raw).decode()}
        assert found.context == {"cloud_event": {"datacontenttype": media_type}}
    assert notification(one(b"", "", **headers)).payload == {}
    assert reasons(b"{", JSON, **headers) == [
        "The data of the CloudEvent is not JSON, which its Content-Type says."
    ]


def test_an_event_whose_data_is_a_notification_is_that_notification() -> None:
    found = one(FOREIGN | {"data": WHOLE})
    assert (json.loads(found.value), found.priority) == (WHOLE, Priority.ERROR)
    assert found.headers == [("message-id", b"m-1")]
    lacking = {"event_type": "a.b", "payload": [1], "publisher_id": ""}
    decoded = notification(one(FOREIGN | {"data": lacking, "priority": "critical"}, EVENT))
    assert decoded.priority is Priority.CRITICAL
    assert (decoded.event_type, decoded.publisher_id, decoded.message_id) == ("a.b", "/shop/1", "e-1")
    envelope = {"oslo.version": "2.0", "oslo.message": json.dumps(WHOLE)}
    assert json.loads(one(FOREIGN | {"data": envelope}, EVENT).value) == envelope


def test_data_in_base64_is_kept() -> None:
    event = {name: value for name, value in FOREIGN.items() if name != "data"}
    assert notification(one(event | {"data_base64": "aGk="}, EVENT)).payload == {"data_base64": "aGk="}
    assert notification(one(event, EVENT)).payload == {}
    for wrong in ("?", 7, None):
        assert reasons(event | {"data_base64": wrong}, EVENT) == [
            "data_base64 of the CloudEvent is not Base64 text."
        ]
    assert reasons(FOREIGN | {"data_base64": "aGk="}, EVENT) == [
        "The CloudEvent has both data and data_base64; send one of them."
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"specversion": "0.3"}, "The CloudEvent has not the specversion 1.0."),
        ({"specversion": 1.0}, "The CloudEvent has not the specversion 1.0."),
        ({"id": ""}, "The CloudEvent has no id, which is a text that is not empty."),
        ({"source": None}, "The CloudEvent has no source, which is a text that is not empty."),
        ({"type": 7}, "The CloudEvent has no type, which is a text that is not empty."),
        ({"type": "a\nb"}, "The event_type has control characters: 'a\\nb'."),
        ({"time": "yesterday"}, "The time of the CloudEvent is not in the form of RFC 3339."),
        ({"time": 7}, "The time of the CloudEvent is not in the form of RFC 3339."),
        (
            {"priority": "loud"},
            (
                "The priority of the CloudEvent is unknown; use one of "
                "CRITICAL, ERROR, WARN, INFO, DEBUG, AUDIT, SAMPLE."
            ),
        ),
        ({"data": {"event_type": 7}}, "The event_type is a number, not text."),
    ],
)
def test_an_event_that_is_none_is_told(change: dict[str, Any], reason: str) -> None:
    assert reasons(FOREIGN | change, EVENT) == [reason]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"a":' * 5000, WHOLE, 'x"'])
def test_what_is_no_event_at_all_is_told(body: Any) -> None:
    assert len(reasons(body, EVENT)) == 1


# --- Anything ------------------------------------------------------------------------------

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    [
        "event_type",
        "publisher_id",
        "message_id",
        "timestamp",
        "priority",
        "payload",
        "metadata",
        "_context",
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "data",
        "data_base64",
        "oslo.message",
        "traceparent",
    ]
)
_KNOWN = st.sampled_from(["a.b", "1.0", "critical", "2026-11-01T12:00:00Z", "aGk=", TRACE, json.dumps(WHOLE)])
_ANYTHING = st.dictionaries(_NAMES | st.text(max_size=8), _KNOWN | _VALUES | st.just(WHOLE), max_size=12)


@given(
    _ANYTHING,
    st.sampled_from([JSON, EVENT, EVENTS, *LINES, "text/plain", ""]),
    st.dictionaries(
        st.sampled_from(["id", "source", "type", "priority", "time"]), _KNOWN | st.text(), max_size=5
    ),
    st.sampled_from([ANYBODY, Publisher("nova", ("compute.",))]),
)
def test_whatever_is_taken_is_a_notification_to_the_worker_of_a_publisher_that_is_allowed(
    body: dict[str, Any], media_type: str, attributes: dict[str, str], publisher: Publisher
) -> None:
    headers = {f"ce_{name}": value for name, value in attributes.items()}
    if attributes:
        headers["ce_specversion"] = "1.0"
    raw = json.dumps([body] if media_type == EVENTS else body).encode()
    try:
        accepted, faults = read(raw, media_type, publisher, **headers)
    except BodyError:
        return  # tests of bodies say which
    assert len(accepted) + len(faults) == 1
    for each in accepted:
        found = Decoder(LIMITS).decode(each.value, each.priority)
        assert isinstance(found, Notification)
        assert found.stated_priority is None, "it lies in the topic of its priority"
        assert publisher.may_use(found.publisher_id)
        assert len(each.value) <= LIMITS.max_bytes
        assert [name for name, _ in each.headers].count("message-id") == 1
        assert all(len(value) <= 512 for _, value in each.headers)
    for fault in faults:
        assert fault.reason.isprintable()
        assert fault.reason.endswith(".")
