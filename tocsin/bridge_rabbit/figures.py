"""The metrics of a bridge from RabbitMQ; values are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry

from streams.bridges.rabbit import RabbitBridge
from streams.bridges.to_kafka import KafkaWriter
from tocsin.small_metrics import registry_of

#: Name, type, labels and meaning of each metric.
METRICS: Final = (
    (
        "tocsin_rabbit_bridge_messages_total",
        "counter",
        ("priority",),
        "Messages that Kafka has confirmed, and RabbitMQ may forget.",
    ),
    (
        "tocsin_rabbit_bridge_dead_letters_total",
        "counter",
        (),
        "Messages among them that became dead letters at once, being too large for their topic.",
    ),
    (
        "tocsin_rabbit_bridge_redelivered_total",
        "counter",
        (),
        "Messages of which RabbitMQ says that it sent them before: some may lie in Kafka twice.",
    ),
    (
        "tocsin_rabbit_bridge_held_messages",
        "gauge",
        ("priority",),
        "Messages that are held and not acknowledged.",
    ),
    ("tocsin_rabbit_bridge_held_bytes", "gauge", ("priority",), "Bytes of these."),
    (
        "tocsin_rabbit_bridge_waiting_bytes",
        "gauge",
        (),
        "Bytes that were handed to Kafka and are not confirmed yet.",
    ),
    (
        "tocsin_rabbit_bridge_resends_total",
        "counter",
        (),
        "Records that were handed to Kafka again because it had not confirmed them.",
    ),
    ("tocsin_rabbit_bridge_lost_connections_total", "counter", (), "Connections to RabbitMQ that were lost."),
    ("tocsin_rabbit_bridge_queues", "gauge", (), "Queues that are consumed."),
    ("tocsin_rabbit_bridge_ready", "gauge", (), "1 while /readyz passes."),
)


def make_registry(bridge: RabbitBridge, writer: KafkaWriter, ready: Callable[[], bool]) -> CollectorRegistry:
    """A registry of the metrics, and those of the process (CPU, memory, files)."""
    return registry_of(
        METRICS,
        {
            "tocsin_rabbit_bridge_messages_total": lambda: {
                (priority.value,): bridge.confirmed_by[priority] for priority in bridge.held()
            },
            "tocsin_rabbit_bridge_dead_letters_total": lambda: {(): bridge.refused},
            "tocsin_rabbit_bridge_redelivered_total": lambda: {(): bridge.redelivered},
            "tocsin_rabbit_bridge_held_messages": lambda: {
                (priority.value,): number for priority, (number, _) in bridge.held().items()
            },
            "tocsin_rabbit_bridge_held_bytes": lambda: {
                (priority.value,): size for priority, (_, size) in bridge.held().items()
            },
            "tocsin_rabbit_bridge_waiting_bytes": lambda: {(): writer.bytes},
            "tocsin_rabbit_bridge_resends_total": lambda: {(): writer.failures},
            "tocsin_rabbit_bridge_lost_connections_total": lambda: {(): bridge.lost},
            "tocsin_rabbit_bridge_queues": lambda: {(): len(bridge.consumed)},
            "tocsin_rabbit_bridge_ready": lambda: {(): float(ready())},
        },
    )
