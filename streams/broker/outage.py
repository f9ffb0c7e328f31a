"""Watches whether enough brokers answer, and says so: in the log at a bounded rate, and for ``/readyz``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.cancellation import cancellable, end
from streams.log_lines import BOUNDED
from streams.upstream.clients import answering, connect_client

log = logging.getLogger(__name__)

_ASK_INTERVAL_S = 2.0
#: Milliseconds after which a broker that took the connection and says nothing counts as silent.
_ANSWER_MS = 5000
#: Seconds without an answer after which it is said, and after how many it is said again.
_SAY_AFTER_S = 3.0
_SAY_AGAIN_S = (10.0, 30.0, 60.0)


class Outage:
    """The sentences about an outage, each at its time. Pure: the time is an argument, in seconds.

    Args:
        brokers: their addresses.
        needed: brokers that must answer for writes to be durable, ``min.insync.replicas``.
    """

    def __init__(self, brokers: str, needed: int = 1) -> None:
        self._brokers = brokers
        self.needed = needed
        self._since: float | None = None
        self._answering = 0
        self._say_at = 0.0

    def lost_s(self, now: float) -> float:
        """Seconds since too few brokers answer; 0 while enough do, or when it is too early to tell."""
        lost = 0.0 if self._since is None else now - self._since
        return lost if lost >= _SAY_AFTER_S else 0.0

    def reason(self, now: float) -> str | None:
        """Why nothing can be done at present; None while enough brokers answer."""
        if not (lost := self.lost_s(now)):
            return None
        if not self._answering:
            return f"No Kafka broker has answered for {lost:.0f} s."
        return (
            f"Only {self._answering} of the {self.needed} Kafka brokers that writes need "
            f"answered in the last {lost:.0f} s."
        )

    def asked(self, asked_at: float, now: float, answering: int) -> str | None:
        """So many brokers answered what was asked at ``asked_at``; returns what is to be said."""
        if answering >= self.needed:
            lost, self._since = self.lost_s(now), None
            if not lost:
                return None
            who, verb = ("Broker", "is") if self.needed == 1 else ("Enough brokers", "are")
            return f"{who} at {self._brokers} {verb} back after {lost:.0f} s."
        self._answering = answering
        if self._since is None:
            self._since = asked_at
            self._say_at = asked_at + _SAY_AFTER_S
        lost = now - self._since
        if now < self._say_at:
            return None
        after = next((each for each in _SAY_AGAIN_S if each > lost), lost + _SAY_AGAIN_S[-1])
        self._say_at = self._since + after
        if not answering:
            return f"Waiting for the broker at {self._brokers}: no answer for {lost:.0f} s."
        return (
            f"Waiting for brokers at {self._brokers}: only {answering} of the {self.needed} that writes need "
            f"answered in the last {lost:.0f} s."
        )


class BrokerWatch:
    """Asks every broker of the cluster for a sign of life, every 2 s, over connections of its own.

    Args:
        brokers: their addresses, for the log.
        options: of the Kafka client.
        topic: whose metadata the client asks for when it looks where the brokers are; else it would be all.
        clock: seconds, only for differences.
    """

    def __init__(
        self, brokers: str, options: dict[str, Any], topic: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options | {"request_timeout_ms": _ANSWER_MS}
        self._topic = topic
        self._clock = clock
        self._outage = Outage(brokers)
        self._task: asyncio.Task[None] | None = None

    def start(self, needed: int) -> None:
        """Watch in the background; ``needed`` brokers must answer for writes to be durable."""
        self._outage.needed = needed
        self._task = asyncio.create_task(self._watch(), name="broker-watch")

    async def stop(self) -> None:
        """Watch no longer."""
        await end(self._task)

    def lost_s(self) -> float:
        """Seconds since too few brokers answer; 0 while enough do."""
        return self._outage.lost_s(self._clock())

    def reason(self) -> str | None:
        """Why nothing can be done at present; None while enough brokers answer."""
        return self._outage.reason(self._clock())

    async def _watch(self) -> None:
        client: AIOKafkaClient | None = None
        try:
            while True:
                asked_at = self._clock()
                brokers = 0
                # What else it raises would end the watch unseen; the brokers are what matters.
                with contextlib.suppress(KafkaError, OSError, TimeoutError):
                    if client is None:
                        client = await connect_client(self._options, self._topic)
                    brokers = await answering(client)
                if said := self._outage.asked(asked_at, self._clock(), brokers):
                    log.warning("%s", said, extra=BOUNDED)
                if client is not None and not brokers:
                    # They may come back elsewhere.
                    gone, client = client, None
                    with cancellable():
                        await gone.close()
                await asyncio.sleep(_ASK_INTERVAL_S)
        finally:
            if client is not None:
                await client.close()
