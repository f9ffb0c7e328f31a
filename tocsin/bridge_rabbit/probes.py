"""The probes of a bridge from RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry

from streams.bridges.rabbit import RabbitBridge
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.outage import BrokerWatch
from tocsin import small_server
from tocsin.bridge_rabbit.figures import make_registry


class BridgeHealth:
    """What is told of the bridge: why it is not ready.

    It is live as long as it answers: nothing else is mended by a restart.

    Args:
        bridge: from RabbitMQ.
        writer: to Kafka.
        brokers: whether they answer.
        stopping: whether the process was told to end.
    """

    def __init__(
        self, bridge: RabbitBridge, writer: KafkaWriter, brokers: BrokerWatch, stopping: Callable[[], bool]
    ) -> None:
        self._bridge = bridge
        self._writer = writer
        self._brokers = brokers
        self._stopping = stopping
        #: Whether Kafka was reached once; before that the watch says nothing.
        self.connected = False

    def reasons(self) -> list[str]:
        """One sentence for each reason why nothing goes from RabbitMQ to Kafka now; none when it is ready."""
        found = ["The process is stopping."] if self._stopping() else []
        if not self.connected:
            found.append("The brokers of Kafka have not been reached yet.")
        return [
            *found,
            *filter(None, (self._brokers.reason(), self._writer.reason(), self._bridge.reason())),
        ]

    def registry(self) -> CollectorRegistry:
        """The metrics."""
        return make_registry(self._bridge, self._writer, lambda: not self.reasons())


def make_app(health: BridgeHealth) -> web.Application:
    """The addresses ``/livez``, ``/readyz`` and ``/metrics``; none changes anything or tells of a message."""
    return small_server.make_app(health.reasons, health.registry())
