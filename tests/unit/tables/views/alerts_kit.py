"""Alerts as forwarding makes them, in the memory of stand-ins."""

from __future__ import annotations

from typing import Any

import orjson
from faust.types import TP

from agents.alert_labels import AlertLabels
from agents.forwarding import Forwarding
from streams.notifications import Decoder, Limits, Notification, Priority
from streams.notifications.masking import Masker
from streams.records import UnreadableRecord
from tests.unit.tables.views.views_kit import NOW_S, FakeSources

_decode = Decoder(Limits()).decode
_labels = {priority: AlertLabels(priority) for priority in Priority}

#: What somebody may put into names and payloads.
HOSTILE = (
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\u202e\u2066dlrow\u2069",
    "compute\u200b.create\u3164",
    '" autofocus onfocus="alert(1)',
    "{{ 7 * 7 }}",
    "&lt;b&gt;",
    "'; DROP TABLE alerts; --",
    "x" * 100_000,
)


def alert_record(
    offset: int,
    event_type: str = "disk.full",
    *,
    priority: Priority = Priority.ERROR,
    partition: int = 0,
    publisher: str = "compute.host1",
    time_s: float = NOW_S - 60,
    payload: Any = None,
) -> UnreadableRecord:
    """The record of an alert, as a worker writes it."""
    message = {
        "publisher_id": publisher,
        "event_type": event_type,
        "priority": priority.value,
        "timestamp": "2026-11-01 11:00:00.000",
        "message_id": f"m{offset}",
        "payload": {"n": offset} if payload is None else payload,
    }
    value = orjson.dumps(message)
    read = _decode(value, priority)
    assert isinstance(read, Notification)
    topic = f"alerts.{priority.value.lower()}"
    made = Forwarding(
        topic,
        TP(f"notifications.{priority.value.lower()}", 3),
        f"id:{partition}",
        _labels[priority],
        Masker(),
    ).alert(offset, value, 1_793_530_800_000, read)
    return UnreadableRecord(
        topic, partition, offset, "", round(time_s * 1000), value=made.value, headers=tuple(made.headers)
    )


def foreign_record(offset: int, event_type: str, publisher: str, payload: Any = None) -> UnreadableRecord:
    """The record of an alert that another program wrote, with whatever names it likes."""
    body = {
        "labels": {"alertname": event_type, "publisher_id": publisher, event_type: publisher},
        "annotations": {"summary": f"About {event_type} from {publisher}"},
        "notification": {"event_type": event_type, "payload": payload},
    }
    headers = (("ce_id", b"%d" % offset), ("ce_subject", event_type.encode()))
    return UnreadableRecord(
        "alerts.error", 0, offset, "", (NOW_S - 60) * 1000, value=orjson.dumps(body), headers=headers
    )


def forward(fake: FakeSources, *records: UnreadableRecord) -> None:
    """Put alerts into the memory of the sources, as if they had been read from their topics."""
    for each in records:
        assert len(list(fake.alerts.memory.take((each.topic, each.partition), [each]))) == 1
