"""What the bridge for HTTP has done, and its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry

from streams.bridges.to_kafka import KafkaWriter
from streams.notifications.priority import Priority
from tocsin.small_metrics import registry_of

#: Name, type, labels and meaning of each metric.
METRICS: Final = (
    ("tocsin_http_bridge_answers_total", "counter", ("status",), "Answers to what was posted, by status."),
    (
        "tocsin_http_bridge_notifications_total",
        "counter",
        ("priority",),
        "Notifications that Kafka has confirmed.",
    ),
    (
        "tocsin_http_bridge_waiting_bytes",
        "gauge",
        (),
        "Bytes that were handed to Kafka and are not confirmed yet.",
    ),
    ("tocsin_http_bridge_bodies_bytes", "gauge", (), "Bytes of bodies that are being received."),
    (
        "tocsin_http_bridge_resends_total",
        "counter",
        (),
        "Records that were handed to Kafka again because it had not confirmed them.",
    ),
    ("tocsin_http_bridge_ready", "gauge", (), "1 while /readyz passes."),
)
#: Statuses that a post is answered with.
STATUSES: Final = (202, 400, 401, 403, 408, 413, 415, 429, 500, 503)


class BridgeFigures:
    """Counts of one bridge."""

    def __init__(self) -> None:
        #: Answers to posts, by status.
        self.answers: Counter[int] = Counter()
        #: Notifications that Kafka has confirmed.
        self.confirmed: Counter[Priority] = Counter()
        #: Bytes of bodies that are being received, or read.
        self.bodies_bytes = 0


def make_registry(
    figures: BridgeFigures, writer: KafkaWriter, ready: Callable[[], bool]
) -> CollectorRegistry:
    """A registry of the metrics, and those of the process (CPU, memory, files)."""
    return registry_of(
        METRICS,
        {
            "tocsin_http_bridge_answers_total": lambda: {
                (str(status),): figures.answers[status] for status in STATUSES
            },
            "tocsin_http_bridge_notifications_total": lambda: {
                (priority.value,): figures.confirmed[priority] for priority in Priority
            },
            "tocsin_http_bridge_waiting_bytes": lambda: {(): writer.bytes},
            "tocsin_http_bridge_bodies_bytes": lambda: {(): figures.bodies_bytes},
            "tocsin_http_bridge_resends_total": lambda: {(): writer.failures},
            "tocsin_http_bridge_ready": lambda: {(): float(ready())},
        },
    )
