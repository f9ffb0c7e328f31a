"""Sending with confirmation: nothing counts as sent before the brokers have it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiokafka
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams.upstream.connections import connect
from streams.upstream.open_batches import OpenBatches

log = logging.getLogger(__name__)

#: Largest record that is handed to the client; brokers have limits of their own, by topic.
_MAX_REQUEST_BYTES = 8 * 2**20
_RETRY_FIRST_S = 0.1
_RETRY_MOST_S = 5.0
_WARN_INTERVAL_S = 10.0
_STOP_S = 1.0


@dataclass(slots=True)
class Outgoing:
    """A record to send; ``partition`` None lets the client choose by key."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = field(default_factory=tuple)


class TooLargeError(Exception):
    """The brokers refuse a record for its size; sending again cannot help."""


class ConfirmedProducer:
    """An idempotent producer that retries until the brokers confirm, or until it is closed.

    One is used for alerts and dead letters and another for counts, so that neither can hold up the other.
    """

    def __init__(
        self, name: str, options: dict[str, Any], *, linger_ms: int, compression: str | None = None
    ) -> None:
        self._name = name
        self._options = options | {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": linger_ms,
            "compression_type": compression,
            "max_request_size": _MAX_REQUEST_BYTES,
            # The client waits for a full batch to leave before it takes another record of that partition.
            "max_batch_size": 512 * 1024,
            "request_timeout_ms": 15_000,
        }
        self._producer: aiokafka.AIOKafkaProducer | None = None
        self._open: OpenBatches | None = None
        self._lock = asyncio.Lock()
        #: Calls that wait for the client to take a record, and what it has taken and not confirmed.
        self._entering: set[asyncio.Timeout] = set()
        self._unconfirmed: set[asyncio.Future[Any]] = set()
        self._warned_at = 0.0
        #: Attempts that failed, for the metrics.
        self.failures = 0

    async def start(self, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Connect; tries again while no broker is there and it is ``wanted``. Whether it is connected."""
        return await connect(self._connect, wanted)

    async def _connect(self) -> None:
        """Connect a client, and use it from now on.

        Raises:
            KafkaError: it could not connect; then it is closed, and the one before stays.
        """
        producer = aiokafka.AIOKafkaProducer(**self._options)
        try:
            await producer.start()
        except BaseException:
            await producer.client.close()
            raise
        self._producer, self._open = producer, OpenBatches(producer)

    async def stop(self) -> None:
        """Send what is buffered, give up what cannot be sent within seconds, and disconnect."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await self._end(producer)

    def enqueue_now(self, record: Outgoing) -> asyncio.Future[Any] | None:
        """Do as `enqueue` where the client has a batch open for the record, else nothing: then None."""
        if self._producer is None or self._open is None:
            return None
        if record.key is None or record.value is None or record.partition is not None:
            return None
        future = self._open.add(record.topic, record.value, record.key, record.headers)
        return None if future is None else self._watched(future)

    async def enqueue(self, record: Outgoing) -> asyncio.Future[Any]:
        """Hand a record to the client and return the future of its confirmation.

        Raises:
            KafkaError: the client did not take it.
        """
        producer = self._producer
        if producer is None:
            raise KafkaError("the producer is closed")
        try:
            # A client that is being replaced may never take the record: the scope then ends the call.
            async with asyncio.timeout(None) as scope:
                self._entering.add(scope)
                try:
                    future = await self._hand_over(producer, record)
                finally:
                    self._entering.discard(scope)
        except TimeoutError:
            raise KafkaError("the client was replaced") from None
        except MessageSizeTooLargeError as error:
            raise TooLargeError(str(error)) from error
        if self._producer is not producer:
            raise KafkaError("the client was replaced")
        return self._watched(future)

    def _watched(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        self._unconfirmed.add(future)
        future.add_done_callback(self._unconfirmed.discard)
        return future

    async def _hand_over(self, producer: aiokafka.AIOKafkaProducer, record: Outgoing) -> asyncio.Future[Any]:
        if record.key is None and record.value is None:
            return await self._enqueue_empty(producer, record)
        future: asyncio.Future[Any] = await producer.send(
            record.topic,
            record.value,
            key=record.key,
            partition=record.partition,
            headers=list(record.headers) or None,
        )
        return future

    async def _enqueue_empty(
        self, producer: aiokafka.AIOKafkaProducer, record: Outgoing
    ) -> asyncio.Future[Any]:
        """Send a record with neither key nor value, which Kafka takes and the client's ``send`` refuses."""
        partition = record.partition
        if partition is None:
            partition = random.choice(sorted(await producer.partitions_for(record.topic)))
        batch = producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=list(record.headers))
        batch.close()
        future: asyncio.Future[Any] = await producer.send_batch(batch, record.topic, partition=partition)
        return future

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._producer is None

    async def send(self, records: Sequence[Outgoing]) -> list[Any]:
        """Send all records and return their metadata, in order, when the brokers have all of them.

        Raises:
            TooLargeError: a record is refused for its size.
            asyncio.CancelledError: closed or cancelled before all were confirmed.
        """
        confirmed: list[Any] = [None] * len(records)
        left = list(range(len(records)))
        delay = _RETRY_FIRST_S
        while left:
            producer = self._producer
            futures = []
            error: BaseException | None = None
            for index in left:
                try:
                    futures.append((index, await self.enqueue(records[index])))
                except KafkaError as refused:
                    error = refused
                    break
            for index, future in futures:
                try:
                    confirmed[index] = await future
                except MessageSizeTooLargeError as refused:
                    raise TooLargeError(f"{records[index].topic}: {refused}") from refused
                except KafkaError as refused:
                    error = refused
            left = [index for index in left if confirmed[index] is None]
            if left:
                await self._after_failure(error, producer)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _RETRY_MOST_S)
        return confirmed

    async def _after_failure(
        self, error: BaseException | None, failed: aiokafka.AIOKafkaProducer | None
    ) -> None:
        self.failures += 1
        now = asyncio.get_running_loop().time()
        if now - self._warned_at > _WARN_INTERVAL_S:
            self._warned_at = now
            log.warning(
                "%s: the brokers did not confirm (%r); trying again until they do.", self._name, error
            )
        if self._producer is None:
            raise asyncio.CancelledError
        if getattr(error, "retriable", False):
            return
        # After a failure that the client cannot retry, its sequence numbers may be out of step: start afresh.
        async with self._lock:
            if self._producer is not failed or failed is None:
                return
            try:
                await self._connect()
            except KafkaError:
                return
            await self._end(failed)

    async def _end(self, failed: aiokafka.AIOKafkaProducer) -> None:
        """End a client for good: what it still holds is sent again only when it cannot send it itself."""
        now = asyncio.get_running_loop().time()
        for scope in list(self._entering):
            scope.reschedule(now)
        unconfirmed, self._unconfirmed = self._unconfirmed, set()
        try:
            async with asyncio.timeout(_STOP_S):
                await failed.stop()
        except (KafkaError, TimeoutError):
            # Private: stop waits for batches that cannot be sent, the sender for answers that do not come.
            if failed._sender is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_STOP_S):
                        await failed._sender.close()
            await failed.client.close()
        for future in unconfirmed:
            if not future.done():
                future.set_exception(KafkaError("the client was replaced"))
