"""What the bridge for HTTP has done, and its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from streams.bridges.to_kafka import KafkaWriter
from streams.notifications.priority import Priority

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


class _Collector:
    def __init__(self, figures: BridgeFigures, writer: KafkaWriter, ready: Callable[[], bool]) -> None:
        self._values: dict[str, Callable[[], dict[tuple[str, ...], float]]] = {
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
        }

    def describe(self) -> list[Any]:
        """Nothing: it is not asked when it is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """All metrics, as of now."""
        for name, kind, labels, meaning in METRICS:
            family_of = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            family = family_of(name, meaning, labels=labels)
            for values, value in self._values[name]().items():
                family.add_metric(values, value)
            yield family


def make_registry(
    figures: BridgeFigures, writer: KafkaWriter, ready: Callable[[], bool]
) -> CollectorRegistry:
    """A registry of the metrics, and those of the process (CPU, memory, files)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures, writer, ready))
    ProcessCollector(registry=registry)
    return registry
