"""What is shown of one alert: no secret, and nothing that acts on who reads it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from streams.notifications.masking import Masker
from streams.notifications.priority import Priority
from streams.records import UnreadableRecord
from tables.recent_alerts import Alert
from tables.views.alert_contents import AlertContents, contents_of, masked_body
from tests.unit.tables.views.alerts_kit import HOSTILE, alert_record, foreign_record
from tests.unit.tables.views.views_kit import run


def shown(value: bytes, *, payloads: bool = True) -> AlertContents:
    record = UnreadableRecord("alerts.error", 0, 1, "", 1, value=value, headers=())
    alert = Alert("alerts.error", 0, Priority.ERROR, record)
    return run(contents_of(alert, Masker(), payloads=payloads))


@pytest.mark.parametrize("text", HOSTILE[:-1])
def test_hostile_text_can_be_seen_and_means_the_same(text: str) -> None:
    record = foreign_record(1, "a", "b", {text: [text]})
    found = shown(record.value or b"")
    assert orjson.loads(found.lines) == found.notification
    assert found.notification["payload"] == {text: [text]}
    assert "\u202e" not in found.lines
    assert "\u200b" not in found.lines


def test_what_is_nested_deep_stays_in_one_line() -> None:
    deep: Any = 1
    for _ in range(240):
        deep = [deep, *range(10, 60)]
    found = shown(json.dumps({"notification": deep}).encode())
    assert found.notification == deep
    assert "\n" not in found.lines
    flat = shown(orjson.dumps({"notification": {"a": [1, 2]}}))
    assert flat.lines == '{\n  "a": [\n    1,\n    2\n  ]\n}'


def test_what_is_nested_too_deep_is_not_shown() -> None:
    deep = b"[" * 900 + b"]" * 900
    found = shown(b'{"labels":{"a":"b"},"notification":' + deep + b"}")
    assert found.notification is None
    assert "cannot be searched" in found.left_out or "no alert that can be read" in found.left_out


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", b'{"labels":[]}'])
def test_what_is_no_alert_says_so(value: bytes) -> None:
    assert shown(value) == AlertContents(left_out="What lies there is no alert that can be read.")


def test_labels_are_texts_and_secrets_in_them_are_masked() -> None:
    labels = {"n": 7, "none": None, "auth_token": "x", "empty_token": "", "deep": {"a": 1}}
    found = shown(orjson.dumps({"labels": labels}))
    assert found.labels == {
        "n": "7",
        "none": "null",
        "auth_token": "***",
        "empty_token": "",
        "deep": '{"a":1}',
    }
    assert found.left_out == "The alert has no notification in it."
    many = shown(orjson.dumps({"labels": {str(number): "x" for number in range(1000)}}))
    assert len(many.labels) == 64


def test_a_dead_letter_says_where_it_lies() -> None:
    letter = {"topic": "dead-letters", "id": "t:3:9", "reason": "not-json"}
    found = shown(orjson.dumps({"deadLetter": letter, "notification": None}))
    assert found.dead_letter is not None
    assert (found.dead_letter.topic, found.dead_letter.id) == ("dead-letters", "t:3:9")


SECRET = "hunter2-hunter2"
#: What another program may write into the texts of an alert.
TEXTS = {
    "auth_token": SECRET,
    "said": f"password={SECRET}",
    "from": f"amqp://nova:{SECRET}@h1:5672/",
    "deep": {"a": [{"admin_pass": SECRET}]},
    "json": orjson.dumps({"token": SECRET}).decode(),
    f"secret={SECRET}": "x",
    "plain": "disk 93 % full",
}


def test_secrets_in_the_texts_of_foreign_alerts_are_masked() -> None:
    body = {"labels": TEXTS, "annotations": TEXTS, "repairs": [f"token: {SECRET}"]}
    found = shown(orjson.dumps(body))
    for texts in (found.labels, found.annotations):
        assert texts == {
            "auth_token": "***",
            "said": "password=***",
            "from": "amqp://***@h1:5672/",
            "deep": '{"a":[{"admin_pass":"***"}]}',
            "json": '{"token":"***"}',
            "secret=***": "***",
            "plain": "disk 93 % full",
        }
    assert found.repairs == ["token: ***"]


def test_names_of_foreign_alerts_are_cut() -> None:
    name = "x" * 9000
    body = {
        "examples": [{"topic": name, "message_id": name}],
        "deadLetter": {"topic": name, "id": name, "reason": name},
    }
    found = shown(orjson.dumps(body))
    assert found.dead_letter is not None
    for each in (found.examples[0].topic, found.examples[0].message_id, found.dead_letter.id):
        assert each == "x" * 512


def body_of(value: bytes) -> bytes:
    record = UnreadableRecord("alerts.error", 0, 1, "", 1, value=value, headers=())
    return run(masked_body(Alert("alerts.error", 0, Priority.ERROR, record)))


def test_an_alert_for_programs_has_no_secret_and_is_else_as_it_lies_in_its_topic() -> None:
    own = alert_record(1, payload={"admin_pass": SECRET}).value or b""
    assert body_of(own) == own
    value = orjson.dumps({"labels": TEXTS, "notification": TEXTS, "more": {"long_token": SECRET}})
    found = orjson.loads(body_of(value))
    assert found["labels"]["said"] == "password=***"
    assert found["labels"]["plain"] == found["notification"]["plain"] == TEXTS["plain"]
    assert found["more"] == {"long_token": "***"}
    assert found["notification"]["auth_token"] == "***"
    long = orjson.loads(body_of(orjson.dumps({"labels": {"a": "x" * 9000, "b": f"token={SECRET}" * 900}})))
    assert long["labels"] == {"a": "x" * 9000, "b": "***"}
    for strange in (b"", b"[1]", b"7", b"\xff", b"{"):
        assert body_of(strange) is strange
    for value in (f'{{"token":"{SECRET}"', f"password={SECRET}", f'["password={SECRET}"]'):
        assert body_of(value.encode()) == b'{"truncated":true}'
