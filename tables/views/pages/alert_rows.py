"""Alerts as rows of a table, for every page that shows some; ``_alert_rows.html`` writes them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tables.recent_alerts import Alert
from tables.views.alert_groups import publisher_of, summary_of
from tables.views.alerts_query import alert_address
from tables.views.pages.links import event_address
from tables.views.times import age, rfc3339

#: Something that is true of event types that were counted.
Known = Callable[[str], object]


@dataclass(slots=True, frozen=True)
class AlertRow:
    """An alert in a table.

    Attributes:
        key: of the row, the same for as long as the alert is kept.
        at: when it was written to its topic, RFC 3339; None where nobody knows it.
        age: how long ago that was, for people.
        priority: of its topic.
        event_type: of the notification.
        publisher: of the notification; "" where that is not said.
        told: its summary where that says more than event type and publisher; else "".
        place: topic, partition and offset, for people.
        address: of its own page, relative.
        type_address: of the page of its event type, relative; "" where there is none.
    """

    key: str
    at: str | None
    age: str
    priority: str
    event_type: str
    publisher: str
    told: str
    place: str
    address: str
    type_address: str


def place_of(alert: Alert) -> str:
    """Where an alert lies, for people."""
    return f"{alert.topic}/{alert.partition}/{alert.offset}"


def alert_row(alert: Alert, now_s: float, known: Known) -> AlertRow:
    """An alert as a row, at ``now_s`` seconds since 1970; ``known`` says which event types have a page."""
    publisher, summary, place = publisher_of(alert), summary_of(alert), place_of(alert)
    usual = f"{alert.priority.value} {alert.event_type} from {publisher or 'an unnamed publisher'}"
    return AlertRow(
        key=place,
        at=rfc3339(alert.time_ms / 1000),
        age=age(now_s - alert.time_ms / 1000),
        priority=alert.priority.value,
        event_type=alert.event_type,
        publisher=publisher,
        told="" if usual.startswith(summary) else summary,
        place=place,
        address=alert_address(alert),
        type_address=event_address(alert.event_type) if known(alert.event_type) else "",
    )


def alert_rows(alerts: Iterable[Alert], now_s: float, known: Known) -> list[AlertRow]:
    """Some alerts as rows, in the same order; for a few, since they are made in one step."""
    return [alert_row(alert, now_s, known) for alert in alerts]
