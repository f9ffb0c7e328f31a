"""The driver that pushes messages to Kafka, from synchronous and asynchronous code alike."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter

from streams.broker.client_options import client_options
from streams.broker.producers.batches import BatchSender
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing, size_of
from streams.publishing.backlog import priority_of
from streams.publishing.loop_driver import LoopDriver
from streams.retries import Backoff, Retries
from streams.settings import ConfigurationError, Settings, load_settings

_CHUNK = 256
#: Seconds between two looks at whether the driver was closed.
_LOOK_S = 0.5
#: Between two tries to connect.
_AGAIN = Backoff(0.1, factor=2, most_s=5.0)


class KafkaDriver(LoopDriver):
    """Delivers to Kafka with acks=all, idempotent; retries until the brokers answer or it is closed.

    The buffer is bounded in bytes. When it is full, a message waits for room for up to
    ``max_wait_s``, if deliveries go on; while the brokers are away, less urgent messages that wait give way
    to it, and where there are none it is dropped. What is dropped is counted.

    Args:
        settings: where the brokers are and how to talk to them; read from the environment when None.
        buffer_bytes: bound of the messages not yet confirmed.
        max_wait_s: the longest that ``push`` and ``apush`` hold up the caller. ``push`` called in
            a thread that runs an event loop never waits.
        linger_ms: how long a batch waits for more messages.
        compression: None, gzip, snappy, lz4 or zstd.
        max_message_bytes: larger messages fail at once.
        exit_wait_s: how long the interpreter's exit waits for what is still buffered.

    Raises:
        ConfigurationError: the settings or options cannot be used.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        buffer_bytes: int = 32 * 2**20,
        max_wait_s: float = 0.25,
        linger_ms: float = 5.0,
        compression: str | None = None,
        max_message_bytes: int = 2**20,
        exit_wait_s: float = 2.0,
    ) -> None:
        if compression not in (None, "gzip", "snappy", "lz4", "zstd"):
            raise ConfigurationError(f"compression={compression!r}: use gzip, snappy, lz4, zstd or None.")
        self._options = client_options(settings if settings is not None else load_settings())
        self._linger_s = linger_ms / 1000
        self._compression = compression
        super().__init__(
            "kafka",
            "Kafka",
            buffer_bytes=buffer_bytes,
            max_wait_s=max_wait_s,
            max_message_bytes=max_message_bytes,
            exit_wait_s=exit_wait_s,
        )

    def _fresh(self) -> None:
        super()._fresh()
        #: Bytes on their way, by priority.
        self._ahead: Counter[Priority] = Counter()

    async def _deliver(self) -> None:
        sender = BatchSender(
            self._options,
            self._settled,
            linger_s=self._linger_s,
            compression=self._compression,
            client_id=f"tocsin-publisher-{os.getpid()}",
        )
        try:
            if await self._connect(sender):
                await self._forward(sender)
        finally:
            left = 0.0 if self._closing is None else self._closing - time.monotonic()
            await sender.close(max(0.0, left))

    async def _connect(self, sender: BatchSender) -> bool:
        """Try until the brokers answer; False when the driver was closed before."""
        # A new message is no reason to try sooner; only closing, from another thread, cuts a pause short.
        retries = Retries(_AGAIN, wanted=lambda: not self._gave_up())
        while not self._gave_up():
            try:
                await sender.start()
            except Exception as error:  # noqa: BLE001 -- whatever keeps it from connecting
                self._log.warning("Kafka at %s does not answer: %s", self._where(), error)
                self._set_away(True)
            else:
                self._set_away(False)
                return True
            await retries.pause()
        return False

    async def _forward(self, sender: BatchSender) -> None:
        """Move messages from the backlog to the sender until the driver is closed."""
        while True:
            with contextlib.suppress(TimeoutError):
                # While something is held back, nothing tells that the time is over: look now and then.
                async with asyncio.timeout(_LOOK_S if self._held_back() else None):
                    await self._news()
            while messages := self._take(_CHUNK, self._held_back()):
                for message in messages:
                    self._ahead[priority_of(message.topic)] += size_of(message)
                    sender.add(message)
                await asyncio.sleep(0)
            if self._closing is not None and (not self._held_back() or self._gave_up()):
                return

    def _held_back(self) -> set[Priority]:
        """Priorities of which so much is on its way that the rest stays in the backlog for now.

        There it can give way to what is more urgent, and a topic that takes nothing holds up no other.
        """
        return {priority for priority, ahead in self._ahead.items() if ahead >= self._ahead_bytes}

    def _settled(self, messages: list[Outgoing], error: Exception | None) -> None:
        # Those that share one fate are of one topic.
        self._ahead[priority_of(messages[0].topic)] -= sum(map(size_of, messages))
        super()._settled(messages, error)
        self._wake.set()

    def _where(self) -> str:
        return ",".join(self._options["bootstrap_servers"])
