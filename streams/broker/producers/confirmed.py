"""Sending record by record: each has a future, and nothing counts as sent before the brokers have it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from streams.broker.producers.client import NOT_CONNECTED_S, connected_producer, end_producer
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.cancellation import look_at
from streams.log_lines import LimitedLog
from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords
from streams.retries import Backoff, Retries
from streams.upstream.connections import connect
from streams.upstream.open_batches import OpenBatches

#: Between two tries to send what was not confirmed.
_AGAIN: Final = Backoff(0.1, factor=2, most_s=5.0)
_STOP_S: Final = 1.0


class ConfirmedProducer:
    """An idempotent producer that retries until the brokers confirm, or until it is closed.

    A worker has one for counts, one for alerts and dead letters, and one for those of its most urgent
    priority, so that none holds up another.

    Args:
        name: for the log.
        options: of the aiokafka client, see ``client_options``.
        compression: None, gzip, snappy, lz4 or zstd.
        batch_bytes: size of a batch. The client waits for a full batch to leave before it takes another
            record of that partition.
        largest_bytes: of a record that is handed to the client; brokers have limits of their own, by topic.
        request_timeout_ms: milliseconds after which the client takes what was not confirmed as failed.
        on_failed: called with each error for which something is sent again.
        waits_for_size: whether `send` goes on trying what the brokers refuse for its size: for records that
            are never larger than their topics are to take, so that somebody has lowered a limit.
    """

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        *,
        compression: str | None = None,
        batch_bytes: int = 512 * 1024,
        largest_bytes: int = 8 * 2**20,
        request_timeout_ms: int = 15_000,
        on_failed: Callable[[BaseException | None], None] = lambda _: None,
        waits_for_size: bool = False,
    ) -> None:
        self._name = name
        self._waits_for_size = waits_for_size
        self._on_failed = on_failed
        self._options = options | {
            # What is handed over in one turn of the event loop leaves together without it.
            "linger_ms": 0,
            "compression_type": compression,
            "max_batch_size": batch_bytes,
            "max_request_size": largest_bytes,
            "request_timeout_ms": request_timeout_ms,
        }
        #: The producer in use and its batches; None before it is connected and once it is closed.
        self._producer: aiokafka.AIOKafkaProducer | None = None
        self._open: OpenBatches | None = None
        self._lock = asyncio.Lock()
        #: Not while one client is ended and its successor has not begun.
        self._steady = asyncio.Event()
        self._steady.set()
        #: Calls that wait for the client to take a record, and what it has taken and not confirmed.
        self._entering: set[asyncio.Timeout] = set()
        self._unconfirmed: set[asyncio.Future[Any]] = set()
        self._log = LimitedLog(__name__)
        #: Attempts that failed, for the metrics.
        self.failures = 0

    async def start(self, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Connect; tries again while no broker is there and it is ``wanted``. Whether it is connected."""
        return await connect(self.connect, wanted)

    async def connect(self) -> None:
        """Connect, with a single try.

        Raises:
            KafkaError: it could not; may be called again.
        """
        self._use(await connected_producer(self._options))

    def _use(self, producer: aiokafka.AIOKafkaProducer) -> None:
        self._producer, self._open = producer, OpenBatches(producer)

    async def stop(self, within_s: float = _STOP_S) -> bool:
        """Send what is buffered, give up what cannot be sent within seconds, and disconnect.

        Returns:
            Whether all that was in good order.
        """
        producer, self._producer, self._open = self._producer, None, None
        self._steady.set()
        return producer is None or await self._end(producer, within_s)

    def put_now(self, record: Outgoing) -> asyncio.Future[Any] | None:
        """Do as `enqueue` where the client has a batch open for the record, else nothing: then None.

        Records of one batch are confirmed together, by one future.
        """
        if self._open is None:
            return None
        topic, value, key, partition, headers = record
        if key is None or value is None or partition is not None:
            return None
        future = self._open.put(topic, value, key, headers)
        if future is not None and future not in self._unconfirmed:
            self._watched(future)
        return future

    def put_packed_now(
        self, records: PackedRecords, first: int, end: int
    ) -> list[tuple[asyncio.Future[Any], list[int]]]:
        """Hand over packed records from index ``first`` to before ``end``.

        Returns:
            The future of each batch that took some, and their indexes; together all, or none where the client
            cannot take them now: then `enqueue` one, which waits until it can.
        """
        if self._open is None:
            return []
        put = self._open.put_packed(records, first, end)
        for future, _ in put:
            if future not in self._unconfirmed:
                self._watched(future)
        return put

    async def enqueue(self, record: Outgoing) -> asyncio.Future[Any]:
        """Hand a record to the client and return the future of its confirmation.

        Raises:
            KafkaError: the client did not take it.
            RecordRefusedForSizeError: it is too large.
        """
        if not self._steady.is_set():
            # Sent again, it goes behind what the old client still had.
            await self._steady.wait()
            raise _replaced()
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
            raise _replaced() from None
        except MessageSizeTooLargeError as error:
            raise RecordRefusedForSizeError(str(error)) from error
        if self._producer is not producer or not self._steady.is_set():
            raise _replaced()
        return self._watched(future)

    def _watched(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        self._unconfirmed.add(future)
        future.add_done_callback(self._settled)
        return future

    def _settled(self, future: asyncio.Future[Any]) -> None:
        self._unconfirmed.discard(future)
        look_at(future)  # whoever waits still gets it

    async def _hand_over(self, producer: aiokafka.AIOKafkaProducer, record: Outgoing) -> asyncio.Future[Any]:
        topic, value, key, partition, headers = record
        future: asyncio.Future[Any]
        if key is not None or value is not None:
            future = await producer.send(
                topic, value, key=key, partition=partition, headers=list(headers) or None
            )
            return future
        # A record with neither is one that Kafka takes and the client's ``send`` refuses.
        if partition is None:
            partition = random.choice(sorted(await producer.partitions_for(topic)))
        batch = producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=list(headers))
        batch.close()
        future = await producer.send_batch(batch, topic, partition=partition)
        return future

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._producer is None

    async def send(self, records: Sequence[Outgoing]) -> list[Any]:
        """Send all records and return their metadata, in order, when the brokers have all of them.

        Raises:
            RecordRefusedForSizeError: a record is refused for its size.
            asyncio.CancelledError: closed or cancelled before all were confirmed.
        """
        confirmed: list[Any] = [None] * len(records)
        left = list(range(len(records)))
        retries = Retries(_AGAIN)
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
                    topic = records[index].topic
                    if not self._waits_for_size:
                        raise RecordRefusedForSizeError(f"{topic}: {refused}") from refused
                    self._log.warning("Raise max.message.bytes of %s, or counts wait: %s", topic, refused)
                    error = refused
                except KafkaError as refused:
                    error = refused
            left = [index for index in left if confirmed[index] is None]
            if left:
                await self._after_failure(error, producer)
                await retries.pause()
        return confirmed

    async def _after_failure(
        self, error: BaseException | None, failed: aiokafka.AIOKafkaProducer | None
    ) -> None:
        self.failures += 1
        self._on_failed(error)
        self._log.warning(
            "%s: the brokers did not confirm (%r); trying again until they do.", self._name, error
        )
        if self.closed:
            raise asyncio.CancelledError
        if getattr(error, "retriable", False):
            return
        # After any other failure the client's sequence numbers may be out of step: a fresh one is needed.
        async with self._lock:
            if failed is None or self._producer is not failed:
                return
            try:
                fresh = await connected_producer(self._options)
            except KafkaError:
                return
            if self._producer is not failed:  # closed meanwhile
                await end_producer(fresh, NOT_CONNECTED_S)
                return
            # The successor begins when whoever sent by this one knows what has become of it: what is sent
            # later to a topic that works would else overtake what is still on its way there.
            self._open = None
            self._steady.clear()
            try:
                await self._end(failed, _STOP_S)
                await asyncio.sleep(0)
            finally:
                if self._producer is failed:
                    self._use(fresh)
                self._steady.set()
            if self._producer is not fresh:  # closed meanwhile
                await end_producer(fresh, NOT_CONNECTED_S)

    async def _end(self, producer: aiokafka.AIOKafkaProducer, within_s: float) -> bool:
        """End a producer for good: what it still holds is sent again only when it cannot send it itself."""
        now = asyncio.get_running_loop().time()
        for scope in list(self._entering):
            scope.reschedule(now)
        unconfirmed, self._unconfirmed = self._unconfirmed, set()
        try:
            return await end_producer(producer, within_s, answers_s=_STOP_S)
        finally:
            for future in unconfirmed:
                if not future.done():
                    future.set_exception(_replaced())


def _replaced() -> KafkaError:
    return KafkaError("the client was replaced")
