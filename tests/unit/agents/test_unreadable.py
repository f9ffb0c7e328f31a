"""Alert records of what cannot be read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from faust.types import TP

from agents.alert_labels import fingerprint
from agents.unreadable import TYPE, UnreadableAlerts, as_it_is
from streams.notifications import Priority, Reason

VALUE = b'{"event_type": "disk.full", "publisher_id": "compute.host1", "payload": {"password": "geheim", '
TP_3 = TP("notifications.critical", 3)


def alert(
    value: bytes | None = VALUE, offset: int = 7, source: str = "id:3", reason: Reason = Reason.NOT_JSON
) -> Any:
    alerts = UnreadableAlerts("alerts.critical", TP_3, source, Priority.CRITICAL, "dead-letters")
    return alerts.alert(offset, value, 1_767_323_045_678, reason)


def test_it_keeps_the_contract_of_alerts_and_says_where_the_record_lies() -> None:
    made = alert()
    body = orjson.loads(made.value)
    assert body["labels"] == {
        "alertname": "unreadable",
        "severity": "critical",
        "publisher_id": "compute.host1",
        "rule": "unreadable",
        "reason": "not-json",
        "event_type": "disk.full",
    }
    assert made.topic == "alerts.critical"
    assert made.key == body["fingerprint"].encode() == fingerprint(body["labels"]).encode()
    assert body["startsAt"] == "2026-01-02T03:04:05.678Z"
    assert body["examples"] == [
        {"topic": "notifications.critical", "partition": 3, "offset": 7, "message_id": None}
    ]
    assert body["deadLetter"] == {"topic": "dead-letters", "id": "id:3:7", "reason": "not-json"}
    assert body["annotations"]["summary"] == (
        "CRITICAL disk.full from compute.host1 cannot be read (not-json); it lies in dead-letters as id:3:7"
    )
    headers = dict(made.headers)
    assert (headers["ce_id"], headers["ce_type"]) == (body["id"].encode(), TYPE.encode())
    assert (headers["ce_subject"], headers["ce_time"]) == (b"disk.full", b"2026-01-02T03:04:05.678Z")
    assert as_it_is(made) is made


def test_nothing_of_the_record_is_shown_but_type_and_publisher() -> None:
    made = alert()
    assert b"geheim" not in made.value
    assert b"password" not in made.value


def test_a_record_has_one_alert_to_the_last_byte_and_no_other_has_its_id() -> None:
    assert alert() == alert()
    ids = {
        orjson.loads(each.value)["id"]
        for each in (alert(), alert(offset=8), alert(source="id:2"), alert(source="other:3"))
    }
    assert len(ids) == 4


@pytest.mark.parametrize("value", [None, b"", b"\xff" * 2_000_000], ids=["none", "empty", "large"])
def test_what_tells_nothing_rings_all_the_same_and_is_small(value: bytes | None) -> None:
    made = alert(value, reason=Reason.NULL_VALUE)
    body = orjson.loads(made.value)
    assert "event_type" not in body["labels"]
    assert body["annotations"]["summary"].startswith("CRITICAL from an unnamed publisher cannot be read")
    assert dict(made.headers)["ce_subject"] == b"unreadable"
    assert len(made.value) < 2000


def test_the_largest_names_make_no_alert_that_a_topic_refuses() -> None:
    value = b'{"event_type": "%b", "publisher_id": "%b"}' % ((b"\xf0\x9f\x90\x80" * 500,) * 2)
    assert len(alert(value).value) < 8000
