"""Watches whether any broker answers, and says so: in the log at a bounded rate, and for ``/readyz``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.logs import BOUNDED

log = logging.getLogger(__name__)

_ASK_INTERVAL_S = 2.0
#: Milliseconds after which a broker that took the connection and says nothing counts as silent.
_ANSWER_MS = 5000
#: Seconds without an answer after which it is said, and after how many it is said again.
_SAY_AFTER_S = 3.0
_SAY_AGAIN_S = (10.0, 30.0, 60.0)


class Outage:
    """The sentences about an outage, each at its time. Pure: the time is an argument, in seconds."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._since: float | None = None
        self._say_at = 0.0

    def lost_s(self, now: float) -> float:
        """Seconds since no broker answers; 0 while one does, or when it is too early to tell."""
        lost = 0.0 if self._since is None else now - self._since
        return lost if lost >= _SAY_AFTER_S else 0.0

    def answered(self, now: float) -> str | None:
        """A broker answered; returns what is to be said."""
        lost, self._since = self.lost_s(now), None
        return f"Broker at {self._brokers} is back after {lost:.0f} s." if lost else None

    def silent(self, asked_at: float, now: float) -> str | None:
        """No broker answered what was asked at ``asked_at``; returns what is to be said."""
        if self._since is None:
            self._since = asked_at
            self._say_at = asked_at + _SAY_AFTER_S
        lost = now - self._since
        if now < self._say_at:
            return None
        after = next((each for each in _SAY_AGAIN_S if each > lost), lost + _SAY_AGAIN_S[-1])
        self._say_at = self._since + after
        return f"Waiting for the broker at {self._brokers}: no answer for {lost:.0f} s."


class BrokerWatch:
    """Asks the brokers for their metadata, every 2 s, over a connection of its own.

    Args:
        brokers: their addresses, for the log.
        options: of the Kafka client.
        clock: seconds, only for differences.
    """

    def __init__(
        self, brokers: str, options: dict[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options | {"request_timeout_ms": _ANSWER_MS}
        self._clock = clock
        self._outage = Outage(brokers)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch in the background."""
        self._task = asyncio.create_task(self._watch(), name="broker-watch")

    async def stop(self) -> None:
        """Watch no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def lost_s(self) -> float:
        """Seconds since no broker answers; 0 while one does."""
        return self._outage.lost_s(self._clock())

    async def _watch(self) -> None:
        client: AIOKafkaClient | None = None
        try:
            while True:
                asked_at = self._clock()
                answered = False
                # What else it raises would end the watch unseen; the brokers are what matters.
                with contextlib.suppress(KafkaError, OSError, TimeoutError):
                    if client is None:
                        fresh = AIOKafkaClient(**self._options)
                        try:
                            await fresh.bootstrap()
                        except BaseException:
                            await fresh.close()
                            raise
                        client, answered = fresh, True
                    else:
                        answered = bool(await client.force_metadata_update())
                now = self._clock()
                if answered:
                    if said := self._outage.answered(now):
                        log.warning("%s", said, extra=BOUNDED)
                elif said := self._outage.silent(asked_at, now):
                    log.warning("%s", said, extra=BOUNDED)
                await asyncio.sleep(_ASK_INTERVAL_S)
        finally:
            if client is not None:
                await client.close()
