"""What the probes say of the bridge for HTTP."""

from __future__ import annotations

from streams.bridges.to_kafka import KafkaWriter
from streams.broker.outage import BrokerWatch
from tables.views.sources import Check


class BridgeHealth:
    """Implements ``Health`` of the web views for the bridge.

    Args:
        brokers: whether they answer.
        writer: to Kafka.
    """

    def __init__(self, brokers: BrokerWatch, writer: KafkaWriter) -> None:
        self._brokers = brokers
        self._writer = writer
        #: Why nothing can be taken yet; None once it is connected.
        self.waits: str | None = "The brokers have not been reached yet."
        #: It was told to stop.
        self.stopping = False

    def trouble(self) -> str | None:
        """Why Kafka takes nothing at present; None while it does.

        A single topic that takes nothing is no reason: the notifications of other priorities are to come in.
        """
        nothing = self._writer.reason() if self._writer.takes_nothing else None
        return self.waits or self._brokers.reason() or nothing

    def started(self) -> Check:
        """Whether it was connected once."""
        return Check(self.waits is None, [] if self.waits is None else [self.waits])

    def ready(self) -> Check:
        """Whether what comes now would be taken."""
        reasons = ["The process is stopping."] if self.stopping else []
        if (trouble := self.trouble()) is not None:
            reasons.append(trouble)
        return Check(not reasons, reasons)

    def live(self) -> Check:
        """Always: an event loop that answers is all that a restart could mend."""
        return Check(ok=True)
