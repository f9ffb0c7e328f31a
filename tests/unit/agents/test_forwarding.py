"""Alert records of forwarded notifications."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from faust.types import TP

from agents.forwarding import alert_id, fingerprint, forwarded, without_tokens
from streams.notifications import Decoder, Limits, Notification, Priority

decode = Decoder(Limits()).decode
FLAT = {
    "publisher_id": "compute.host1",
    "timestamp": "2026-01-02 03:04:05.678",
    "priority": "ERROR",
    "event_type": "compute.create",
    "message_id": "m1",
    "payload": {"instance_id": 12},
}


def alert(message: dict[str, Any], offset: int = 7, source: str = "id:3", **options: Any) -> Any:
    value = orjson.dumps(message)
    read = decode(value, Priority.ERROR)
    assert isinstance(read, Notification)
    record = SimpleNamespace(offset=offset, value=value)
    return forwarded(
        "alerts.error", TP("notifications.error", 3), read, record, source, 1_767_323_045_678, **options
    )


def test_the_value_can_be_posted_to_alertmanager_and_holds_the_original() -> None:
    made = alert(FLAT)
    value = orjson.loads(made.value)
    assert value["labels"] == {
        "alertname": "compute.create",
        "severity": "error",
        "publisher_id": "compute.host1",
        "rule": "forward",
    }
    assert value["startsAt"] == "2026-01-02T03:04:05.678Z"
    assert value["notification"] == FLAT
    assert value["examples"] == [
        {"topic": "notifications.error", "partition": 3, "offset": 7, "message_id": "m1"}
    ]
    assert made.key == value["fingerprint"].encode()


def test_one_record_has_one_id_and_content_however_often_it_is_forwarded() -> None:
    """Stable alert identity."""
    assert alert(FLAT).value == alert(FLAT).value
    assert dict(alert(FLAT).headers)["ce_id"] == alert_id("id:3", 7).encode()


def test_other_records_have_other_ids() -> None:
    """The control: neither the offset, the partition nor the topic's id may be left out of the id."""
    ids = {alert_id("id:3", 7), alert_id("id:3", 8), alert_id("id:4", 7), alert_id("other:3", 7)}
    assert len(ids) == 4


def test_the_fingerprint_depends_on_labels_and_not_on_their_order() -> None:
    assert fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    assert fingerprint({"a": "1", "b": "2"}) != fingerprint({"a": "12", "b": ""})


def test_without_a_body_it_is_marked() -> None:
    value = orjson.loads(alert(FLAT, body=False).value)
    assert value["notification"] is None
    assert value["truncated"] is True


@pytest.mark.parametrize(
    "body",
    [
        FLAT | {"_context_auth_token": "s3cret"},
        FLAT | {"_context": {"auth_token": "s3cret", "user": "me"}},
        FLAT | {"payload": [{"x": {"auth_token": "s3cret"}}]},
        {"oslo.message": orjson.dumps(FLAT | {"_context_auth_token": "s3cret"}).decode()},
    ],
)
def test_tokens_of_callers_are_masked(body: dict[str, Any]) -> None:
    made = alert(body)
    assert b"s3cret" not in made.value
    assert b"compute.create" in made.value
    assert orjson.loads(made.value)["notification"] is not None


@pytest.mark.parametrize("depth", [200, 900, 5000])
def test_text_nested_too_deep_to_look_into_is_masked_whole(depth: int) -> None:
    text = '{"a":' * depth + '{"auth_token": "s3cret"}' + "}" * depth
    assert b"s3cret" not in alert(FLAT | {"payload": text}).value


def test_masking_changes_nothing_else() -> None:
    body = FLAT | {"_context_auth_token": None, "note": "the auth_token is gone", "n": [1, 2.5, True]}
    assert orjson.loads(without_tokens(orjson.dumps(body))) == body


def test_a_time_out_of_range_does_not_stop_an_alert() -> None:
    read = decode(orjson.dumps(FLAT), Priority.ERROR)
    assert isinstance(read, Notification)
    record = SimpleNamespace(topic="t", partition=0, offset=0, value=orjson.dumps(FLAT))
    value = orjson.loads(forwarded("a", TP("n", 0), read, record, "s:0", 10**18).value or b"")
    assert value["startsAt"] == "1970-01-01T00:00:00.000Z"


def test_a_token_beside_a_number_too_large_for_a_float_is_not_shown() -> None:
    """Nothing can look for the token there, so the body is left out."""
    value = orjson.dumps(FLAT | {"_context_auth_token": "secret"}).replace(b"12}", b"1e999}")
    assert b"1e999" in value
    read = decode(value, Priority.ERROR)
    assert isinstance(read, Notification)
    record = SimpleNamespace(offset=7, value=value)
    made = forwarded("alerts.error", TP("notifications.error", 3), read, record, "id:3", 1_767_323_045_678)
    assert b"secret" not in (made.value or b"")
    assert orjson.loads(made.value or b"")["truncated"] is True
