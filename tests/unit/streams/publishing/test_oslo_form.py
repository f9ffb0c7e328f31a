"""What goes to RabbitMQ has oslo.messaging's forms."""

from __future__ import annotations

import orjson

from streams.notifications.encoding import encode
from streams.notifications.priority import Priority
from streams.publishing.oslo_form import enveloped, flat

_ID = "9a3c6f30-5f0c-4f5b-8f0e-0d9b1f6f4a11"
_VALUE = encode("compute.host1", "a.b", Priority.INFO, {"at": 1}, 0, _ID, {"user_id": "u"})


def test_flat_form_has_the_context_flattened():
    body = flat(_VALUE)
    assert (body.message_id, body.json) == (_ID, True)
    message = orjson.loads(body.value)
    assert message["_context_user_id"] == "u"
    assert "_context" not in message


def test_flat_form_leaves_what_has_no_context_as_it_is():
    value = encode("p", "a.b", Priority.INFO, 1, 0, _ID)
    assert flat(value) == (value, _ID, True)


def test_envelope_holds_text_with_a_unique_id():
    body = enveloped(_VALUE)
    outer = orjson.loads(body.value)
    assert set(outer) == {"oslo.version", "oslo.message"}
    assert outer["oslo.version"] == "2.0"
    inner = orjson.loads(outer["oslo.message"])
    assert (inner["_unique_id"], inner["_context_user_id"], inner["payload"]) == (
        _ID.replace("-", ""),
        "u",
        {"at": 1},
    )
    assert body.message_id == _ID


def test_what_has_an_envelope_already_is_not_put_into_another():
    once = enveloped(_VALUE).value
    assert enveloped(once).value == once
    assert flat(once).value == once


def test_other_bytes_are_left_as_they_are_with_an_id_of_their_own():
    for form in (flat, enveloped):
        for value in (b"\xff", b"[1]", b"null", b""):
            body = form(value)
            assert (body.value, body.json) == (value, False)
            assert body.message_id == form(value).message_id
        assert form(b"1").message_id != form(b"2").message_id


def test_an_id_that_amqp_cannot_hold_is_replaced():
    for wrong in (7, "", "x" * 256, None):
        body = flat(orjson.dumps({"message_id": wrong}))
        assert 0 < len(body.message_id) <= 255
        assert body.message_id != wrong
