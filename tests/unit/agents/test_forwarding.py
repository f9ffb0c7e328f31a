"""Alert records of forwarded notifications."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from faust.types import TP

from agents.alert_labels import AlertLabels, fingerprint
from agents.forwarding import Forwarding, without_body
from streams.notifications import Decoder, Limits, Notification, Priority
from streams.notifications.masking import Masker
from streams.notifications.tidy import make_tidy_readers

decode = Decoder(Limits()).decode
FLAT = {
    "publisher_id": "compute.host1",
    "timestamp": "2026-01-02 03:04:05.678",
    "priority": "ERROR",
    "event_type": "compute.create",
    "message_id": "m1",
    "payload": {"instance_id": 12},
}


def alert_of(
    value: bytes, offset: int = 7, source: str = "id:3", event_ms: int = 1_767_323_045_678, **options: Any
) -> Any:
    read = decode(value, Priority.ERROR)
    assert isinstance(read, Notification)
    labels = AlertLabels(Priority.ERROR)
    forwarding = Forwarding("alerts.error", TP("notifications.error", 3), source, labels, Masker(["pin"]))
    return forwarding.alert(offset, value, event_ms, read, **options)


def alert(message: dict[str, Any], **options: Any) -> Any:
    return alert_of(orjson.dumps(message), **options)


def id_of(made: Any) -> str:
    identity: str = orjson.loads(made.value)["id"]
    assert dict(made.headers)["ce_id"] == identity.encode()
    return identity


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
    assert alert(FLAT) == alert(FLAT)


def test_ids_and_fingerprints_are_those_of_earlier_versions() -> None:
    """Or a replay after an upgrade would ring twice."""
    made = alert(FLAT)
    assert id_of(made) == "ac558487c385402a24bfdb74e5a95e19"
    assert orjson.loads(made.value)["fingerprint"] == "aca52b0d0f81d528"


def test_other_records_have_other_ids() -> None:
    """The control: neither the offset, the partition nor the topic's id may be left out of the id."""
    places = [("id:3", 7), ("id:3", 8), ("id:4", 7), ("other:3", 7)]
    ids = {id_of(alert(FLAT, source=source, offset=offset)) for source, offset in places}
    assert len(ids) == 4


def test_without_a_body_it_is_marked() -> None:
    value = orjson.loads(alert(FLAT, body=False).value)
    assert value["notification"] is None
    assert value["truncated"] is True


def test_what_is_sent_in_place_of_one_that_is_too_large_has_no_body() -> None:
    for made in (alert(FLAT), alert(FLAT | {"event_type": 'a","notification":"b'}), alert(FLAT, body=False)):
        small = orjson.loads(without_body(made).value)
        assert small["notification"] is None
        assert small["truncated"] is True
        whole = orjson.loads(made.value)
        assert {**small, "notification": 0, "truncated": 0} == {**whole, "notification": 0, "truncated": 0}
        assert without_body(made)[2:] == made[2:]


@pytest.mark.parametrize(
    "body",
    [
        FLAT | {"_context_auth_token": "s3cret"},
        FLAT | {"_context": {"auth_token": "s3cret", "user": "me"}},
        FLAT | {"payload": [{"x": {"adminPass": "s3cret"}}]},
        FLAT | {"payload": {"aws_creds": {"id": "s3cret"}}},
        FLAT | {"payload": {"customer-PIN": "s3cret"}},
        {"oslo.message": orjson.dumps(FLAT | {"_context_auth_token": "s3cret"}).decode()},
    ],
)
def test_secrets_are_masked(body: dict[str, Any]) -> None:
    made = alert(body)
    assert b"s3cret" not in made.value
    assert b"compute.create" in made.value
    assert orjson.loads(made.value)["notification"] is not None


@pytest.mark.parametrize("written", [b"NaN", b"-Infinity", rb'"\ud83d"', rb'{"\udc00":1}'])
@pytest.mark.parametrize("secret", [b"", b',"password":"s3cret"'])
def test_what_is_no_strict_json_is_repaired_in_the_alert_too(written: bytes, secret: bytes) -> None:
    value = orjson.dumps(FLAT | {"payload": {"x": 0}}).replace(b'"x":0', b'"x":' + written + secret)
    found = orjson.loads(alert_of(value).value)["notification"]
    assert set(found["payload"]) == ({"x", "password"} if secret else {"x"})
    assert found["payload"].get("password", "***") == "***"
    assert {**found, "payload": 0} == FLAT | {"payload": 0}
    inner = b'{"oslo.version":"2.0","oslo.message":' + orjson.dumps(value.decode()) + b"}"
    assert b"s3cret" not in alert_of(inner).value
    assert orjson.loads(alert_of(inner).value)["notification"]["oslo.version"] == "2.0"


def test_a_time_out_of_range_does_not_stop_an_alert() -> None:
    assert orjson.loads(alert(FLAT, event_ms=10**18).value)["startsAt"] == "1970-01-01T00:00:00.000Z"


def test_a_secret_beside_a_number_too_large_for_a_float_is_not_shown() -> None:
    """Nothing can look for the secret there, so the body is left out."""
    value = orjson.dumps(FLAT | {"_context_auth_token": "secret"}).replace(b"12}", b"1e999}")
    assert b"1e999" in value
    made = alert_of(value)
    assert b"secret" not in made.value
    assert orjson.loads(made.value)["truncated"] is True


def test_the_parts_around_a_publisher_are_those_of_json_as_a_whole() -> None:
    for publisher_id in ("", 'a"b\\c\n', "größe\u2028", "p"):
        made = alert(FLAT | {"publisher_id": publisher_id, "event_type": 'x"é'})
        value = orjson.loads(made.value)
        assert value["labels"]["publisher_id"] == publisher_id
        assert value["annotations"] == {"summary": f'ERROR x"é from {publisher_id or "an unnamed publisher"}'}
        assert value["fingerprint"] == fingerprint(value["labels"])


@pytest.mark.parametrize("event_ms", [0, 1, 10**18, 253_402_300_799_999])
def test_packed_alerts_are_those_made_by_themselves_whatever_their_time(event_ms: int) -> None:
    """The headers that are packed beforehand are of an alert with a start, of the usual length."""
    value = orjson.dumps(FLAT)
    read = make_tidy_readers(Priority.ERROR)[0](value)
    labels = AlertLabels(Priority.ERROR)
    forwarding = Forwarding("alerts.error", TP("notifications.error", 3), "id:3", labels, Masker(["pin"]))
    [packed] = forwarding.alerts([SimpleNamespace(offset=7, value=value, headers=())], [event_ms], [read])
    assert packed == alert(FLAT, event_ms=event_ms)
