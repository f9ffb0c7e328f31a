"""What the API answers of alerts, as types: bodies are written from them, and OpenAPI made of them.

A time is RFC 3339 in UTC, or null where there is none.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tables.views.bodies import Time


class PlaceItem(msgspec.Struct, frozen=True):
    """A partition of an alert topic."""

    topic: str
    partition: int


class KeptItem(msgspec.Struct, frozen=True):
    """How far back alerts of one priority are in memory: how many, and when the oldest came."""

    priority: str
    alerts: int
    since: Time | None


class StateOfAlerts(msgspec.Struct, frozen=True):
    """Up to when all alerts that came are known, and whether they are of all partitions."""

    as_of: Time | None
    complete: bool
    missing_partitions: list[PlaceItem]


class AlertItem(msgspec.Struct, frozen=True):
    """An alert. ``at`` is when it was written to its topic, ``link`` the address of its page."""

    at: Time | None
    priority: str
    event_type: str
    publisher: str
    summary: str
    id: str
    topic: str
    partition: int
    offset: int
    link: str


class AlertsBody(StateOfAlerts, frozen=True):
    """Alerts, newest first. ``as_of`` is the time up to which all that came are among them.

    ``trouble`` says in a sentence why they cannot be read, or is null.
    """

    trouble: str | None
    kept: list[KeptItem]
    items: list[AlertItem]
    next: str | None


class AlertPlaceItem(msgspec.Struct, frozen=True):
    """Where an alert lies, its id, and the address of its page."""

    id: str
    topic: str
    partition: int
    offset: int
    link: str


class AlertGroupItem(msgspec.Struct, frozen=True):
    """Alerts of one priority, event type and publisher: how many are in memory, and the newest of them.

    ``buckets`` are counts from ``from`` on, each of ``bucket_s`` seconds.
    """

    priority: str
    event_type: str
    publisher: str
    count: int
    first: Time | None
    last: Time | None
    summary: str
    latest: list[AlertPlaceItem]
    buckets: list[int]


class AlertGroupsBody(StateOfAlerts, frozen=True, rename={"start": "from"}):
    """Groups of alerts, the one with the newest alert first."""

    trouble: str | None
    kept: list[KeptItem]
    window: str
    start: Time | None
    bucket_s: int
    items: list[AlertGroupItem]
    next: str | None


class ExampleItem(msgspec.Struct, frozen=True):
    """A record that an alert stems from."""

    topic: str
    partition: int
    offset: int
    message_id: str | None


class AlertDeadLetterItem(msgspec.Struct, frozen=True):
    """The dead letter of a record that could not be read."""

    topic: str
    id: str
    reason: str


class AlertBody(StateOfAlerts, frozen=True):
    """One alert. ``notification`` is what was published, with secrets masked, where that may be shown.

    ``notification_left_out`` says in a sentence why there is none, or is null.
    """

    alert: AlertItem
    starts_at: str | None
    labels: dict[str, str]
    annotations: dict[str, str]
    repairs: list[str]
    examples: list[ExampleItem]
    dead_letter: AlertDeadLetterItem | None
    notification: Any
    notification_left_out: str | None
