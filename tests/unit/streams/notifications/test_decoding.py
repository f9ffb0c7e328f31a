"""Decoding: accepted forms, repairs, rejections and limits."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from streams.notifications import (
    Decoder,
    Limits,
    Notification,
    Priority,
    Reason,
    Rejection,
    Repair,
)

# 2011-05-09 22:00:14.621 UTC
SEED_TIME_MS = 1_304_978_414_621

decode = Decoder(Limits()).decode


def seed_message(**changes: Any) -> dict[str, Any]:
    """The example of the proposal, with a message_id; a change to ... removes the key."""
    message = {
        "publisher_id": "compute.host1",
        "timestamp": "2011-05-09 22:00:14.621831",
        "priority": "WARN",
        "event_type": "compute.create_instance",
        "payload": {"instance_id": 12},
        "message_id": "6eccedba-120e-4db8-9735-2ad5f061e5ee",
    } | changes
    return {key: value for key, value in message.items() if value is not ...}


def seed_value(**changes: Any) -> bytes:
    return orjson.dumps(seed_message(**changes))


def envelope(message: Any) -> bytes:
    return orjson.dumps({"oslo.version": "2.0", "oslo.message": orjson.dumps(message).decode()})


def cloud_event(**attributes: Any) -> bytes:
    """A CloudEvent in structured mode, as a record's value."""
    given = {"specversion": "1.0", "type": "org.example.made", "source": "/made", "id": "1"}
    return orjson.dumps(given | {"time": "2020-01-01T00:00:00Z"} | attributes)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def decoded(value: bytes | None, priority: Priority = Priority.WARN) -> Notification:
    result = decode(value, priority)
    assert isinstance(result, Notification), result
    return result


def rejected(value: bytes | None, priority: Priority = Priority.WARN) -> Rejection:
    result = decode(value, priority)
    assert isinstance(result, Rejection), result
    return result


class TestAcceptedForms:
    def test_the_seeds_flat_dictionary(self) -> None:
        assert decoded(seed_value()) == Notification(
            publisher_id="compute.host1",
            event_time_ms=SEED_TIME_MS,
            event_type="compute.create_instance",
            priority=Priority.WARN,
            stated_priority=None,
            payload={"instance_id": 12},
            message_id="6eccedba-120e-4db8-9735-2ad5f061e5ee",
            context=None,
            repairs=(),
        )

    def test_oslo_envelope_with_nested_context(self) -> None:
        context = {"user_id": "u", "roles": ["admin"]}
        found = decoded(envelope(seed_message(_context=context)))
        assert found.context == context
        assert found.repairs == ()
        found.context = None
        assert found == decoded(seed_value())

    def test_flattened_context_and_unique_id(self) -> None:
        message = seed_message(_context_user_id="u", _context_roles=["admin"], _unique_id="0ee26117")
        for value in (orjson.dumps(message), envelope(message)):
            found = decoded(value)
            assert found.context == {"user_id": "u", "roles": ["admin"]}
            assert found.repairs == ()

    def test_context_is_found_when_other_keys_are_missing(self) -> None:
        found = decoded(orjson.dumps({"event_type": "a", "_context_user": "u"}))
        assert found.context == {"user": "u"}

    def test_listener_form_of_ceilometer(self) -> None:
        found = decoded(
            seed_value(
                message_id=...,
                timestamp=...,
                ctxt={"user": None},
                metadata={"message_id": "m", "timestamp": "2011-05-09T22:00:14.621831+00:00"},
            )
        )
        assert (found.message_id, found.event_time_ms, found.context) == ("m", SEED_TIME_MS, {"user": None})
        assert found.repairs == ()

    def test_own_id_and_timestamp_win_over_metadata(self) -> None:
        found = decoded(seed_value(metadata={"message_id": "m", "timestamp": "2020-01-01 00:00:00"}))
        assert (found.message_id, found.event_time_ms) == (seed_message()["message_id"], SEED_TIME_MS)

    def test_missing_message_id_is_no_repair(self) -> None:
        found = decoded(seed_value(message_id=...))
        assert (found.message_id, found.repairs) == (None, ())

    @pytest.mark.parametrize(
        "payload",
        [
            {},
            [],
            [{"counter_name": "a"}],
            "",
            "text",
            "{}",
            0,
            1.5,
            True,
            None,
            {"nova_object.data": {"uuid": "u"}, "nova_object.version": "1.0"},
        ],
    )
    def test_payload_of_any_type_is_kept_as_it_is(self, payload: Any) -> None:
        for value in (seed_value(payload=payload), envelope(seed_message(payload=payload))):
            found = decoded(value)
            assert found.payload == payload
            assert type(found.payload) is type(payload)
            assert found.repairs == ()

    def test_payload_of_900_kb(self) -> None:
        found = decoded(seed_value(payload={"blob": "x" * 900_000}))
        assert len(found.payload["blob"]) == 900_000

    def test_notifications_of_one_type_share_one_string(self) -> None:
        assert decoded(seed_value()).event_type is decoded(seed_value()).event_type

    def test_event_type_of_the_greatest_length_and_any_script(self) -> None:
        for event_type in ("x" * 255, "compute.créé", "通知.開始", "a b", "a\\b"):
            assert decoded(seed_value(event_type=event_type)).event_type == event_type

    @pytest.mark.parametrize("publisher_id", ["compute.host1", "nova-compute:host1", "foo123"])
    def test_publisher_id_in_its_shapes(self, publisher_id: str) -> None:
        found = decoded(seed_value(publisher_id=publisher_id))
        assert (found.publisher_id, found.repairs) == (publisher_id, ())


class TestPriority:
    @pytest.mark.parametrize("priority", list(Priority))
    def test_seven_priorities_in_any_case(self, priority: Priority) -> None:
        for stated in (priority.value, priority.lower(), priority.capitalize(), f" {priority.value} "):
            found = decoded(seed_value(priority=stated), priority)
            assert found.priority is priority
            assert (found.stated_priority, found.repairs) == (None, ())

    @pytest.mark.parametrize("stated", ["WARNING", "warning", "Warning"])
    def test_warning_means_warn(self, stated: str) -> None:
        found = decoded(seed_value(priority=stated), Priority.WARN)
        assert (found.stated_priority, found.repairs) == (None, ())

    def test_the_topic_wins_and_what_was_stated_is_kept(self) -> None:
        found = decoded(seed_value(priority="warning"), Priority.CRITICAL)
        assert found.priority is Priority.CRITICAL
        assert found.stated_priority == "WARN"
        assert found.repairs == (Repair.PRIORITY_DISAGREES,)

    def test_missing_takes_the_topics(self) -> None:
        for absent in (..., None):
            found = decoded(seed_value(priority=absent), Priority.ERROR)
            assert found.priority is Priority.ERROR
            assert (found.stated_priority, found.repairs) == (None, (Repair.PRIORITY_MISSING,))

    @pytest.mark.parametrize(
        ("stated", "kept"),
        [
            ("FATAL", "FATAL"),
            ("", ""),
            (40, "40"),
            (True, "true"),
            ([], None),
            ({"a": 1}, None),
            ("é\n", "\\xe9\\n"),
        ],
    )
    def test_unknown_takes_the_topics(self, stated: Any, kept: str | None) -> None:
        found = decoded(seed_value(priority=stated), Priority.INFO)
        assert found.priority is Priority.INFO
        assert (found.stated_priority, found.repairs) == (kept, (Repair.PRIORITY_UNKNOWN,))

    def test_unknown_is_kept_short(self) -> None:
        stated = decoded(seed_value(priority="\x00" * 100_000)).stated_priority
        assert stated is not None
        assert len(stated) == 80


def envelope_of_text(text: bytes) -> bytes:
    return orjson.dumps({"oslo.version": "2.0", "oslo.message": text.decode()})


# One value for each repair, which shows that repair and no other.
REPAIRED: dict[Repair, bytes] = {
    Repair.BYTE_ORDER_MARK: b"\xef\xbb\xbf" + seed_value(),
    Repair.NOT_A_NUMBER: seed_value(payload="?").replace(b'"?"', b"[NaN,-Infinity]"),
    Repair.LONE_SURROGATE: seed_value(payload="?").replace(b"?", rb"\ud83d"),
    Repair.DOUBLE_ENCODED: orjson.dumps(seed_value().decode()),
    Repair.ENVELOPE_NOT_TEXT: orjson.dumps({"oslo.version": "2.0", "oslo.message": seed_message()}),
    Repair.CLOUD_EVENT: cloud_event(data=seed_message()),
    Repair.EVENT_TYPE_STRIPPED: seed_value(event_type=" compute.create_instance\n"),
    Repair.EVENT_TYPE_INVISIBLE: seed_value(event_type="compute.create\u200b_instance"),
    Repair.PUBLISHER_ID_CUT: seed_value(publisher_id="p" * 256),
    Repair.MESSAGE_ID_CUT: seed_value(message_id="m" * 2000),
    Repair.PRIORITY_MISSING: seed_value(priority=...),
    Repair.PRIORITY_DISAGREES: seed_value(priority="DEBUG"),
    Repair.PRIORITY_UNKNOWN: seed_value(priority="PANIC"),
    Repair.PUBLISHER_ID_MISSING: seed_value(publisher_id=...),
    Repair.PUBLISHER_ID_NOT_TEXT: seed_value(publisher_id=17),
    Repair.MESSAGE_ID_NOT_TEXT: seed_value(message_id=17),
    Repair.PAYLOAD_MISSING: seed_value(payload=...),
    Repair.TIMESTAMP_MISSING: seed_value(timestamp=...),
    Repair.TIMESTAMP_BROKEN: seed_value(timestamp="yesterday"),
    Repair.TIMESTAMP_REPAIRED: seed_value(timestamp="2011-05-09 22:00:14.621831   "),
    Repair.TIMESTAMP_NUMBER: seed_value(timestamp=1_304_978_414.621),
}


class TestRepairs:
    def test_every_repair_has_a_case(self) -> None:
        assert set(REPAIRED) == set(Repair)

    @pytest.mark.parametrize("repair", list(Repair))
    def test_repair_is_made_and_named(self, repair: Repair) -> None:
        found = decoded(REPAIRED[repair])
        assert found.repairs == (repair,)
        assert found.event_type == "compute.create_instance"
        assert found.priority is Priority.WARN

    def test_a_cloud_event_is_read_as_its_data(self) -> None:
        plain = decoded(seed_value())
        found = decoded(cloud_event(data=seed_message(), datacontenttype="application/json"))
        assert found.repairs == (Repair.CLOUD_EVENT,)
        found.repairs = ()
        assert found == plain
        twice = decoded(orjson.dumps(cloud_event(data=seed_message()).decode()))
        assert twice.repairs == (Repair.DOUBLE_ENCODED, Repair.CLOUD_EVENT)

    def test_an_event_type_of_its_own_makes_it_the_flat_form(self) -> None:
        found = decoded(seed_value(specversion="1.0", data=seed_message(event_type="other")))
        assert (found.event_type, found.repairs) == ("compute.create_instance", ())

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (cloud_event(), "in structured mode without data: data must be the notification"),
            (cloud_event(data_base64="e30="), "in structured mode with data_base64, which is not read"),
            (b"[" + cloud_event() + b"," + cloud_event() + b"]", "a batch of 2 CloudEvents: send each in a"),
        ],
    )
    def test_a_cloud_event_that_is_not_read_is_called_one(self, value: bytes, words: str) -> None:
        assert words in rejected(value).detail

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            (rb"NaN", None),
            (rb'[1,NaN,"NaN",-Infinity,Infinity]', [1, None, "NaN", None, None]),
            (rb'{"NaN":NaN,"a":"-Infinity \"NaN"}', {"NaN": None, "a": '-Infinity "NaN'}),
            (rb'"\ud83d\udca5 \ud83d!"', "\U0001f4a5 \ufffd!"),
            (rb'"\udca5\ud83d"', "\ufffd\ufffd"),
            (rb'"\ud83d\ud83d\udca5"', "\ufffd\U0001f4a5"),
            (rb'["\\ud83d", "\ud83d"]', ["\\ud83d", "\ufffd"]),
            (rb"[NaN,1e999]", [None, float("inf")]),
        ],
    )
    def test_payload_that_is_nearly_json(self, written: bytes, read: Any) -> None:
        value = seed_value(payload="?").replace(b'"?"', written)
        for each in (value, envelope_of_text(value)):
            found = decoded(each)
            assert found.payload == read
            assert set(found.repairs) <= {Repair.NOT_A_NUMBER, Repair.LONE_SURROGATE}
            assert found.repairs

    @pytest.mark.parametrize("piece", [b'"', b"\\", b'\\"', b'"\\', b"NaN", b'NaN"', b"\\ud800", b"-"])
    def test_nearly_json_takes_no_longer_than_there_are_bytes(self, piece: bytes) -> None:
        """Otherwise a megabyte of it would stop a worker for minutes, and this test with it."""
        assert isinstance(decode(b"NaN" + piece * (900_000 // len(piece)), Priority.WARN), Rejection)
        assert isinstance(decode(b'NaN"' + piece * (900_000 // len(piece)), Priority.WARN), Rejection)

    def test_several_repairs_of_one_message_are_all_named(self) -> None:
        value = b"\xef\xbb\xbf" + orjson.dumps(orjson.dumps({"event_type": " a "}).decode())
        assert set(decoded(value).repairs) == {
            Repair.BYTE_ORDER_MARK,
            Repair.DOUBLE_ENCODED,
            Repair.EVENT_TYPE_STRIPPED,
            Repair.PRIORITY_MISSING,
            Repair.PUBLISHER_ID_MISSING,
            Repair.PAYLOAD_MISSING,
            Repair.TIMESTAMP_MISSING,
        }

    def test_double_encoded_envelope(self) -> None:
        found = decoded(orjson.dumps(envelope(seed_message()).decode()))
        assert found.repairs == (Repair.DOUBLE_ENCODED,)

    @pytest.mark.parametrize(
        ("stated", "taken", "repair"),
        [
            (None, "", Repair.PUBLISHER_ID_MISSING),
            ("", "", Repair.PUBLISHER_ID_MISSING),
            (0, "0", Repair.PUBLISHER_ID_NOT_TEXT),
            (False, "false", Repair.PUBLISHER_ID_NOT_TEXT),
            (1.5, "1.5", Repair.PUBLISHER_ID_NOT_TEXT),
            ([], "", Repair.PUBLISHER_ID_NOT_TEXT),
            ({"host": "a"}, "", Repair.PUBLISHER_ID_NOT_TEXT),
        ],
    )
    def test_publisher_id_of_a_wrong_type(self, stated: Any, taken: str, repair: Repair) -> None:
        found = decoded(seed_value(publisher_id=stated))
        assert (found.publisher_id, found.repairs) == (taken, (repair,))

    @pytest.mark.parametrize(("stated", "taken"), [(17, "17"), (True, "true"), ([1], None), ({}, None)])
    def test_message_id_of_a_wrong_type(self, stated: Any, taken: str | None) -> None:
        found = decoded(seed_value(message_id=stated))
        assert (found.message_id, found.repairs) == (taken, (Repair.MESSAGE_ID_NOT_TEXT,))

    @pytest.mark.parametrize("character", ["x", "ü", "\U0001f4a5"])
    def test_long_ids_are_cut_and_stay_different(self, character: str) -> None:
        fits, longer, other = character * 255, character * 256, character * 300 + "!"
        found = decoded(seed_value(publisher_id=fits, message_id=fits))
        assert (found.publisher_id, found.message_id, found.repairs) == (fits, fits, ())
        cut = [decoded(seed_value(publisher_id=each, message_id=each)) for each in (longer, other, longer)]
        assert [len(each.publisher_id) for each in cut] == [255] * 3
        assert [each.message_id for each in cut] == [each.publisher_id for each in cut]
        assert cut[0] == cut[2]
        assert cut[0].publisher_id != cut[1].publisher_id
        assert cut[0].publisher_id.startswith(character * 238 + "~")
        assert cut[0].repairs == (Repair.PUBLISHER_ID_CUT, Repair.MESSAGE_ID_CUT)

    @pytest.mark.parametrize(
        "stated",
        [
            *("disk\u200b full", "disk\u2060 full", "\u200bdisk full", "disk full\u00ad", "disk full\ufe0f"),
            *("disk\U000e0041 full", "disk\u034f full\u180e", "disk\u3164full", "disk\u00a0full"),
            *("disk\u3000full\u3164", "\u2800disk full", "disk\uffa0\u200bfull"),
        ],
    )
    def test_what_looks_alike_is_one_event_type(self, stated: str) -> None:
        found = decoded(seed_value(event_type=stated))
        assert (found.event_type, found.repairs) == ("disk full", (Repair.EVENT_TYPE_INVISIBLE,))

    @pytest.mark.parametrize("stated", ["\u200b", "\u3164\u3164", " \u2060 ", "\U000e0020"])
    def test_an_event_type_that_cannot_be_seen_is_blank(self, stated: str) -> None:
        found = decode(seed_value(event_type=stated), Priority.WARN)
        assert isinstance(found, Rejection)
        assert found.reason is Reason.EVENT_TYPE_BLANK

    def test_missing_payload_is_an_empty_dictionary(self) -> None:
        assert decoded(seed_value(payload=...)).payload == {}

    @pytest.mark.parametrize("metadata", [None, [], "text", {}, {"message_id": None, "timestamp": None}])
    def test_metadata_without_use(self, metadata: Any) -> None:
        found = decoded(seed_value(message_id=..., timestamp=..., metadata=metadata))
        assert (found.message_id, found.event_time_ms) == (None, None)
        assert found.repairs == (Repair.TIMESTAMP_MISSING,)


# At least one value for each reason.
REJECTED: list[tuple[Reason, bytes | None]] = [
    (Reason.NULL_VALUE, None),
    (Reason.EMPTY_VALUE, b""),
    (Reason.EMPTY_VALUE, b" \r\n\t"),
    (Reason.EMPTY_VALUE, b"\xef\xbb\xbf"),
    (Reason.TOO_LARGE, seed_value(payload="x" * 2**20)),
    (Reason.TOO_DEEP, seed_value(payload=nested(200))),
    (Reason.TOO_DEEP, b'{"event_type":"a","payload":' + b"[" * 300 + b"]" * 300 + b"}"),
    (Reason.TOO_DEEP, b'{"a":' * 300 + b"1" + b"}" * 300),
    (Reason.TOO_DEEP, b"[" * 300 + b"]" * 300),
    (Reason.TOO_DEEP, b"[" * 100_000),
    (Reason.TOO_DEEP, envelope(seed_message(payload=nested(200)))),
    (Reason.TOO_DEEP, orjson.dumps({"oslo.message": "[" * 5000})),
    (Reason.BAD_UTF8, b"\xff\xfe"),
    (Reason.BAD_UTF8, b'{"event_type":"caf\xe9"}'),
    (Reason.BAD_UTF8, b'{"event_type":"\xed\xa0\x80"}'),
    (Reason.NOT_JSON, b"hello"),
    (Reason.NOT_JSON, b"{'event_type': 'a'}"),
    (Reason.NOT_JSON, b'{"event_type":"a","payload":NaNs}'),
    (Reason.NOT_JSON, b'{"event_type":"a","payload":--Infinity}'),
    (Reason.NOT_JSON, b'{"event_type":"\\ud80"}'),
    (Reason.NOT_JSON, b'{"event_type":"a","payload":NaN'),
    (Reason.NOT_JSON, b'{"event_type":"a"'),
    (Reason.NOT_JSON, b'{"event_type":"a"} trailing'),
    (Reason.NOT_JSON, b"\xef\xbb\xbf\xef\xbb\xbf{}"),
    (Reason.NOT_JSON, b"\x00"),
    (Reason.NOT_AN_OBJECT, b"[]"),
    (Reason.NOT_AN_OBJECT, orjson.dumps([seed_message()])),
    (Reason.NOT_AN_OBJECT, b"null"),
    (Reason.NOT_AN_OBJECT, b"true"),
    (Reason.NOT_AN_OBJECT, b"1.5"),
    (Reason.NOT_AN_OBJECT, b'"text"'),
    (Reason.NOT_AN_OBJECT, b'"[]"'),
    (Reason.NOT_AN_OBJECT, orjson.dumps(orjson.dumps(seed_value().decode()).decode())),
    (Reason.BAD_ENVELOPE, orjson.dumps({"oslo.version": "2.0", "oslo.message": "{"})),
    (Reason.BAD_ENVELOPE, orjson.dumps({"oslo.version": "2.0", "oslo.message": "[]"})),
    (Reason.BAD_ENVELOPE, orjson.dumps({"oslo.version": "2.0", "oslo.message": None})),
    (Reason.BAD_ENVELOPE, orjson.dumps({"oslo.message": ["a"]})),
    (Reason.BAD_CLOUD_EVENT, cloud_event()),
    (Reason.BAD_CLOUD_EVENT, cloud_event(data=None)),
    (Reason.BAD_CLOUD_EVENT, cloud_event(data=[seed_message()])),
    (Reason.BAD_CLOUD_EVENT, cloud_event(data=seed_value().decode())),
    (Reason.BAD_CLOUD_EVENT, cloud_event(data=seed_message(event_type=...))),
    (Reason.BAD_CLOUD_EVENT, cloud_event(data={"oslo.message": seed_value().decode()})),
    (Reason.BAD_CLOUD_EVENT, cloud_event(data_base64=base64.b64encode(seed_value()).decode())),
    (Reason.BAD_CLOUD_EVENT, b"[" + cloud_event(data=seed_message()) + b"]"),
    (Reason.BAD_CLOUD_EVENT, orjson.dumps(cloud_event().decode())),
    (Reason.TOO_DEEP, cloud_event(data=seed_message(), more=nested(200))),
    (Reason.TOO_DEEP, cloud_event(data=nested(200))),
    (Reason.NOT_AN_OBJECT, b"[{}]"),
    (Reason.EVENT_TYPE_NOT_TEXT, cloud_event(data=seed_message(event_type=5))),
    (Reason.EVENT_TYPE_MISSING, b"{}"),
    (Reason.EVENT_TYPE_MISSING, seed_value(event_type=...)),
    (Reason.EVENT_TYPE_MISSING, seed_value(event_type=None)),
    (Reason.EVENT_TYPE_MISSING, envelope({})),
    (Reason.EVENT_TYPE_MISSING, envelope({"oslo.message": "{}"})),
    (Reason.EVENT_TYPE_NOT_TEXT, seed_value(event_type=5)),
    (Reason.EVENT_TYPE_NOT_TEXT, seed_value(event_type=["a"])),
    (Reason.EVENT_TYPE_NOT_TEXT, seed_value(event_type={"a": 1})),
    (Reason.EVENT_TYPE_NOT_TEXT, seed_value(event_type=False)),
    (Reason.EVENT_TYPE_BLANK, seed_value(event_type="")),
    (Reason.EVENT_TYPE_BLANK, seed_value(event_type=" \t\n\u2003")),
    (Reason.EVENT_TYPE_TOO_LONG, seed_value(event_type="x" * 256)),
    (Reason.EVENT_TYPE_TOO_LONG, seed_value(event_type="x" * 100_000)),
    (Reason.EVENT_TYPE_CONTROL_CHARACTERS, seed_value(event_type="a\x00b")),
    (Reason.EVENT_TYPE_CONTROL_CHARACTERS, seed_value(event_type="a\x1b[31mb")),
    (Reason.EVENT_TYPE_CONTROL_CHARACTERS, seed_value(event_type="a\u202eb")),
]


class TestRejections:
    def test_every_reason_has_a_case(self) -> None:
        # Those that are missing are about records that cannot even be read, so there is nothing to decode.
        unread = {Reason.UNREADABLE_RECORD, Reason.CORRUPT_BATCH}
        assert {reason for reason, _ in REJECTED} == set(Reason) - unread

    @pytest.mark.parametrize(("reason", "value"), REJECTED)
    def test_reason_and_detail(self, reason: Reason, value: bytes | None) -> None:
        found = rejected(value)
        assert found.reason is reason
        assert found.detail.endswith(".")
        assert len(found.detail) <= 200
        assert found.detail.isascii()
        assert found.detail.isprintable()

    def test_detail_shows_at_most_80_characters_of_the_input(self) -> None:
        secret = "abcdefghij" * 20
        for value in (
            seed_value(event_type="a\x00" + secret),
            orjson.dumps(secret),
            orjson.dumps({"oslo.message": secret}),
            secret.encode(),
        ):
            assert secret[:81] not in rejected(value).detail

    def test_detail_says_where_the_json_ends_to_be_json(self) -> None:
        assert "near 'nan}'" in rejected(b'{"a":nan}').detail

    def test_a_rejected_event_type_is_not_remembered_as_good(self) -> None:
        for _ in range(2):
            rejected(seed_value(event_type="a\x00b"))


class TestLimits:
    def test_depth_is_exact(self) -> None:
        shallow = Decoder(Limits(max_depth=5)).decode
        for deep, accepted in (
            (nested(4), True),
            (nested(5), False),
            ([[[[]]]], True),
            ([[[[[]]]]], False),
            ({"a": [[[]]]}, True),
            ({"a": [[[[]]]]}, False),
        ):
            for value in (seed_value(payload=deep), envelope(seed_message(payload=deep))):
                assert isinstance(shallow(value, Priority.WARN), Notification) is accepted

    def test_depth_is_measured_wherever_it_lies(self) -> None:
        shallow = Decoder(Limits(max_depth=5)).decode
        for key in seed_message() | {"_context": 1, "ctxt": 1, "metadata": 1, "other": 1}:
            found = shallow(seed_value(**{key: nested(5)}), Priority.WARN)
            assert isinstance(found, Rejection), key
            assert found.reason is Reason.TOO_DEEP

    def test_many_brackets_are_not_depth(self) -> None:
        payload = {"text": "[{" * 500, "wide": [{} for _ in range(500)]}
        assert decoded(seed_value(payload=payload)).payload == payload

    def test_escaped_brackets_in_an_envelope_are_depth(self) -> None:
        text = orjson.dumps(seed_message(payload=nested(200))).decode()
        hidden = orjson.dumps(text).replace(b"{", b"\\u007b")
        assert rejected(b'{"oslo.message":' + hidden + b"}").reason is Reason.TOO_DEEP

    def test_bytes_and_lengths_are_inclusive(self) -> None:
        value = seed_value(event_type="abc")
        exact = Decoder(Limits(max_bytes=len(value), max_event_type_length=3)).decode
        assert isinstance(exact(value, Priority.WARN), Notification)
        assert isinstance(exact(value + b" ", Priority.WARN), Rejection)
        assert isinstance(exact(seed_value(event_type="abcd"), Priority.WARN), Rejection)

    @pytest.mark.parametrize("wrong", [{"max_bytes": 1}, {"max_depth": 1}, {"max_event_type_length": 0}])
    def test_limits_that_nothing_could_keep_are_refused(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="must be at least"):
            Limits(**wrong)
