"""Writes a worker's own state into the status topic, beside everything else that it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.broker.producers.client import connected_producer, end_producer
from streams.cancellation import end
from streams.log_lines import BOUNDED
from streams.retries import Backoff, Retries
from streams.upstream.topic_ids import fetch_topics
from tables.fleet.state import MOST_BYTES, WorkerState, encode_state

log = logging.getLogger(__name__)

#: Seconds between two rows.
INTERVAL_S: Final = 2.0
_RETRY: Final = Backoff(INTERVAL_S, factor=2, most_s=5.0)
#: Seconds for a row to be confirmed, and for the last one of a worker that ends.
_CONFIRM_S: Final = 10.0
_LAST_S: Final = 1.0


class StatusWriter:
    """Writes the state every two seconds over a producer of its own, so that nothing else waits for it.

    A row that was not confirmed is not sent again: there is a newer one. A topic that is not there, or may
    not be written, and brokers that are away, are said once, and tried again for as long as the worker runs.

    Args:
        topic: the status topic.
        worker: the worker's id.
        state: makes the state as it is now.
        options: of the aiokafka client.
        shows: is given each state as well.
    """

    def __init__(
        self,
        topic: str,
        worker: str,
        state: Callable[[], WorkerState],
        options: dict[str, Any],
        shows: Callable[[str, WorkerState], None] = lambda *_: None,
    ) -> None:
        self._topic = topic
        self._worker = worker
        self._state = state
        self._shows = shows
        self._options = options | {
            "linger_ms": 0,
            "max_request_size": 2 * MOST_BYTES,
            "request_timeout_ms": int(_CONFIRM_S * 500),
        }
        self._producer: AIOKafkaProducer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._latest: WorkerState | None = None
        self._news = asyncio.Event()
        self._said = False
        #: Rows that were confirmed.
        self.written = 0

    def start(self) -> None:
        """Start writing in the background."""
        self._tasks = [
            asyncio.create_task(self._tell(), name="status"),
            asyncio.create_task(self._write(), name="status-writer"),
        ]

    async def stop(self, *, in_order: bool = True) -> None:
        """Write no more; a worker that ends in order takes its row out of the topic, any other leaves it."""
        await end(*self._tasks)
        try:
            if self.written and not self._said:
                await self._send(None if in_order else encode_state(self._state()), _LAST_S)
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            log.debug("The last row of the status topic was not written: %r", error)
        finally:
            await self._disconnect()

    async def _tell(self) -> None:
        """Make the state now and then; it is shown here whatever becomes of the rows."""
        while True:
            try:
                self._latest = self._state()
                self._shows(self._worker, self._latest)
                self._news.set()
            except Exception:
                # Without it the state would stand still, silently.
                log.exception("The state of this worker could not be told; trying again.")
                await asyncio.sleep(_RETRY.most_s)
            await asyncio.sleep(INTERVAL_S)

    async def _write(self) -> None:
        """Write the latest state, once for each that is made; one that comes meanwhile replaces it."""
        retries = Retries(_RETRY)
        while True:
            await self._news.wait()
            self._news.clear()
            if self._latest is None:
                continue
            try:
                if self._producer is None:
                    self._producer = await connected_producer(self._options, _CONFIRM_S)
                    await self._look()
                await self._send(encode_state(self._latest), _CONFIRM_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing else may suffer, and it is said
                self._say_not_written(error)
                await self._disconnect()
                await retries.pause()
            else:
                self._say_written()
                retries = Retries(_RETRY)

    async def _look(self) -> None:
        """Look whether the topic can be used, before the client waits for it and complains."""
        topic = (await fetch_topics(self._producer, [self._topic]))[self._topic]
        if topic.error is not None or not topic.may_write:
            raise KafkaError(topic.error or "it may not be written")

    async def _send(self, row: bytes | None, within_s: float) -> None:
        if self._producer is None:
            return
        async with asyncio.timeout(within_s):
            await self._producer.send_and_wait(self._topic, row, key=self._worker.encode())
        self.written += 1

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await end_producer(producer, 0.5)

    def _say_not_written(self, error: BaseException) -> None:
        if not self._said:
            self._said = True
            log.warning(
                "The state of this worker is not written to %s (%r), so other workers do not show it: look "
                "at `tocsin topics check`. It is tried again, and nothing else needs it.",
                self._topic,
                error,
                extra=BOUNDED,
            )

    def _say_written(self) -> None:
        if self._said:
            self._said = False
            log.info("The state of this worker is written to %s again.", self._topic)
