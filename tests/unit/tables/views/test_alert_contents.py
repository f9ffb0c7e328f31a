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
from tables.views.alert_contents import AlertContents, contents_of
from tests.unit.tables.views.alerts_kit import HOSTILE, foreign_record
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
