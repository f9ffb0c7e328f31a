"""The bridge from RabbitMQ: takes notifications, and acknowledges what Kafka has confirmed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, Final

from streams.bridges.rabbit_client import (
    LOST,
    REFUSED_LOGIN,
    ChannelClosed,
    ChannelNotFoundEntity,
    close,
    connected,
    reason,
)
from streams.bridges.rabbit_consumer import Consumer, Delivery
from streams.bridges.rabbit_messages import Incoming, MessageReader
from streams.bridges.rabbit_queues import Declared, declare
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.cancellation import end
from streams.log_lines import LimitedLog
from streams.notifications.priority import Priority
from streams.publishing.rabbit_urls import without_password
from streams.retries import Backoff, Retries
from streams.scheduling.scheduler import ClassSpec, Scheduler
from streams.settings import BrokersAwayError, ConfigurationError

log = logging.getLogger("tocsin.bridges.rabbit")

#: Between two tries to connect.
_AGAIN: Final = Backoff(0.1, factor=2, most_s=5.0)
#: Between two tries to keep a dead letter.
_KEEP: Final = Backoff(1.0, factor=2, most_s=60.0)
#: Seconds before a queue that is not there, or may not be read, is looked for again.
_LOOK_S: Final = 5.0
#: Seconds at the end for Kafka to confirm what is under way.
_DRAIN_S: Final = 10.0
#: Seconds after that for RabbitMQ to take the acknowledgements.
_LAST_S: Final = 2.0
_BATCH_RECORDS: Final = 100


@dataclass(frozen=True, slots=True)
class RabbitSource:
    """What to consume.

    Attributes:
        urls: AMQP URLs of the hosts, tried in turn.
        topics: queues are named ``<topic>.<priority>``, as ``notifications.info``.
        weights: of the priorities to consume.
        mode: in which order they are served; see `streams.scheduling.modes`.
        declared: how to make what is missing; None to declare nothing.
        prefetch: messages at most of each queue that are held without acknowledgement.
        bound_bytes: bytes at most of each queue that are so held.
        heartbeat_s: seconds between heartbeats.
        patience_s: seconds for a server to answer at the start; later there is no limit.
    """

    urls: Sequence[str]
    topics: Sequence[str]
    weights: Mapping[Priority, float]
    mode: str = "weighted"
    declared: Declared | None = None
    prefetch: int = 500
    bound_bytes: int = 8 * 2**20
    heartbeat_s: int = 15
    patience_s: float = 60.0


class RabbitBridge:
    """Consumes the queues of all topics and priorities, the more urgent with the larger share.

    A message is acknowledged after Kafka has confirmed it, so one may come twice after a fault, with the
    same message id in its headers, and none is lost. What is held without a confirmation is bounded; while
    Kafka is away RabbitMQ keeps the rest.

    Args:
        writer: to Kafka, started by the caller.
        source: what to consume.
    """

    def __init__(self, writer: KafkaWriter, source: RabbitSource) -> None:
        self._writer = writer
        self._source = source
        self._reader = MessageReader()
        queues = len(source.topics)
        self._scheduler: Scheduler[Priority, Consumer, Delivery] = Scheduler(
            [
                # The prefetch of its queues bounds a class already.
                ClassSpec(each, weight, each.rank, 2 * queues * source.bound_bytes)
                for each, weight in source.weights.items()
            ],
            source.mode,
            max_batch_records=_BATCH_RECORDS,
        )
        self._wake = asyncio.Event()
        #: Queues that were said to be missing.
        self._missing: set[str] = set()
        self._dead: set[asyncio.Task[None]] = set()
        self._log = LimitedLog("tocsin.bridges.rabbit")
        #: Messages that Kafka has confirmed.
        self.confirmed = 0
        #: Of them, those that became dead letters, for their size.
        self.refused = 0
        #: The same as `confirmed`, by the priority of the queue.
        self.confirmed_by: Counter[Priority] = Counter()
        #: Messages of which RabbitMQ said that it had sent them before.
        self.redelivered = 0
        #: Connections to RabbitMQ that were lost.
        self.lost = 0
        self._consumers: dict[tuple[str, Priority], Consumer] = {}
        self._connected = False

    @property
    def waiting(self) -> int:
        """Messages that came and are not handed to Kafka yet."""
        return len(self._scheduler)

    @property
    def consumed(self) -> list[str]:
        """The queues that are consumed at present."""
        return [each.queue for each in self._consumers.values() if each.consuming]

    def held(self) -> dict[Priority, tuple[int, int]]:
        """Messages that are held without acknowledgement, and their bytes, by the priority of the queue."""
        found = dict.fromkeys(self._source.weights, (0, 0))
        for consumer in self._consumers.values():
            number, size = found[consumer.priority]
            found[consumer.priority] = number + consumer.held, size + consumer.held_bytes
        return found

    def reason(self) -> str | None:
        """Why nothing comes from RabbitMQ at present, as one sentence; None while it may."""
        if not self._connected:
            return "RabbitMQ does not answer."
        if not self.consumed:
            queues = ", ".join(f"{topic}.<priority>" for topic in self._source.topics)
            return f"RabbitMQ has none of the queues {queues} yet, or does not let them be consumed."
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Bridge until ``stop`` is set; then acknowledge what Kafka confirms within a bound, and disconnect.

        Raises:
            ConfigurationError: RabbitMQ refuses the user, or a declaration.
            BrokersAwayError: RabbitMQ did not answer at the start.
        """
        urls = cycle(self._source.urls)
        retries = Retries(_AGAIN, within_s=self._source.patience_s, wanted=lambda: not stop.is_set())
        first = True
        pump = asyncio.create_task(self._pump(stop))
        try:
            while not stop.is_set():
                url = next(urls)
                try:
                    connection = await connected(url, self._source.heartbeat_s)
                except LOST as error:
                    host, why = without_password(url), reason(error)
                    if first and isinstance(error, REFUSED_LOGIN):
                        raise ConfigurationError(
                            f"RabbitMQ at {host} refuses the user or the virtual host ({why}); "
                            "set --url or TOCSIN_RABBIT_URL to what transport_url of nova.conf says."
                        ) from None
                    self._log.warning("RabbitMQ at %s does not answer: %s", host, why)
                    if not await retries.pause() and first and not stop.is_set():
                        raise BrokersAwayError(
                            f"RabbitMQ at {host} does not answer ({why}); start it, or set --url."
                        ) from None
                    continue
                first = False
                log.info("Connected to RabbitMQ at %s.", without_password(url))
                self._connected = True
                try:
                    await self._serve(connection, stop, pump)
                finally:
                    self._connected = False
                    self._consumers = {}
                retries = Retries(_AGAIN, wanted=lambda: not stop.is_set())
                if not stop.is_set():
                    await retries.pause()
        finally:
            await end(pump, *self._dead)

    # --- One connection --------------------------------------------------------------------

    async def _serve(self, connection: Any, stop: asyncio.Event, pump: asyncio.Task[None]) -> None:
        """Consume on a connection until it is lost or ``stop`` is set."""
        lost = asyncio.Event()
        connection.close_callbacks.add(lambda *_: lost.set())
        tasks = [
            asyncio.create_task(self._keep(connection, topic, priority))
            for topic in self._source.topics
            for priority in sorted(self._source.weights, key=lambda each: each.rank)
        ]
        watched = [asyncio.create_task(_is_set(lost)), asyncio.create_task(_is_set(stop))]
        try:
            await asyncio.wait([pump, *tasks, *watched], return_when=asyncio.FIRST_COMPLETED)
            try:
                for ended in (pump, *tasks):
                    # With an exception for a wrong configuration or a fault of ours.
                    if ended.done():
                        ended.result()
            except Exception:
                await self._drain(list(self._consumers.values()), lost)
                raise
            if stop.is_set():
                await self._drain(list(self._consumers.values()), lost)
            else:
                self.lost += 1
                self._log.warning("The connection to RabbitMQ is lost and will be made anew.")
        finally:
            await close(connection)
            await end(*tasks, *watched)

    async def _drain(self, consumers: list[Consumer], lost: asyncio.Event) -> None:
        for consumer in consumers:
            consumer.stop()
            # What is not under way to Kafka yet stays in RabbitMQ.
            self._scheduler.revoke(consumer.priority, [consumer])
        if await _ended_within(_DRAIN_S, consumers, lost):
            return
        if any(consumer.under_way for consumer in consumers):
            self._log.warning("Kafka has not confirmed all; RabbitMQ keeps what it has not confirmed.")
        for consumer in consumers:
            consumer.stop(at_once=True)
        if not await _ended_within(_LAST_S, consumers, lost):
            self._log.warning("RabbitMQ does not answer, so it may send again what Kafka has confirmed.")

    async def _keep(self, connection: Any, topic: str, priority: Priority) -> None:
        """Consume one queue for as long as the connection lasts, whatever becomes of the queue."""
        queue = f"{topic}.{priority.value.lower()}"
        while True:
            consumer = Consumer(
                queue,
                priority,
                prefetch=self._source.prefetch,
                bound_bytes=self._source.bound_bytes,
                came=self._came,
            )
            self._scheduler.assign(priority, [consumer])
            self._consumers[topic, priority] = consumer
            try:
                if self._source.declared is not None:
                    await declare(connection, queue, self._source.declared)
                await consumer.run(connection)
                return
            except ChannelNotFoundEntity:
                if queue not in self._missing:
                    self._missing.add(queue)
                    log.info("There is no queue %s yet; it is looked for every %g s.", queue, _LOOK_S)
            except LOST as error:
                task = asyncio.current_task()
                if connection.is_closed or (task is not None and task.cancelling()):
                    # Told by whoever watches the connection; and the client may lose a cancellation.
                    return
                kind = "closed the channel" if isinstance(error, ChannelClosed) else "is in trouble"
                self._log.warning("Queue %s: RabbitMQ %s: %s", queue, kind, reason(error))
            finally:
                # Only what no channel can acknowledge any more, and RabbitMQ therefore sends again.
                self._scheduler.revoke(priority, [consumer])
            await asyncio.sleep(_LOOK_S)

    # --- Messages --------------------------------------------------------------------------

    def _came(self, delivery: Delivery) -> None:
        consumer = delivery.consumer
        self.redelivered += bool(delivery.message.delivery.redelivered)
        self._scheduler.add(consumer.priority, consumer, [delivery], delivery.size)
        self._wake.set()

    async def _pump(self, stop: asyncio.Event) -> None:
        """Hand over to Kafka what the scheduler chooses, while there is room."""
        scheduler = self._scheduler
        while True:
            await self._wake.wait()
            self._wake.clear()
            while True:
                # The choice comes after the wait, so that what is urgent and has just come goes first.
                await self._writer.room()
                if stop.is_set() or (dispatch := scheduler.next()) is None:
                    break
                took_s = 0.0
                for delivery in dispatch.records:
                    if self._writer.full:
                        # What was packed may be far larger than it came.
                        await self._writer.room()
                        if stop.is_set():
                            break
                    began = time.perf_counter()
                    self._hand_over(delivery)
                    took_s += time.perf_counter() - began
                scheduler.done(dispatch, took_s)
                await asyncio.sleep(0)

    def _hand_over(self, delivery: Delivery) -> None:
        message = delivery.message
        properties = message.header.properties
        incoming = self._reader.read(
            bytes(message.body),
            properties.message_id,
            properties.headers,
            message.delivery.routing_key,
            delivery.consumer.priority,
        )
        delivery.consumer.handed_over()
        future = self._writer.post(incoming.value, incoming.headers, priority=incoming.priority)
        future.add_done_callback(partial(self._told, delivery, incoming))

    def _told(self, delivery: Delivery, incoming: Incoming, future: asyncio.Future[None]) -> None:
        if future.cancelled():
            return
        if (error := future.exception()) is None:
            self._settle(delivery)
        else:
            task = asyncio.get_running_loop().create_task(self._bury(delivery, incoming, str(error)))
            self._dead.add(task)
            task.add_done_callback(self._dead.discard)

    def _settle(self, delivery: Delivery) -> None:
        self.confirmed += 1
        self.confirmed_by[delivery.consumer.priority] += 1
        delivery.consumer.settled(delivery)

    async def _bury(self, delivery: Delivery, incoming: Incoming, error: str) -> None:
        """Keep among the dead letters what its topic refuses; without that it is not acknowledged."""
        detail = f"its topic takes no record of {len(incoming.value)} bytes ({error})"
        retries = Retries(_KEEP)
        while True:
            try:
                await self._writer.dead_letter(
                    incoming.value, incoming.headers, priority=incoming.priority, detail=detail
                )
                break
            except RecordRefusedForSizeError as refused:
                self._log.warning("The dead-letter topic takes not even a shortened record: %s", refused)
                await retries.pause()
        self.refused += 1
        self._settle(delivery)


async def _is_set(event: asyncio.Event) -> None:
    await event.wait()


async def _ended_within(seconds: float, consumers: Sequence[Consumer], lost: asyncio.Event) -> bool:
    """Whether all consumers end within a time, or the connection does."""
    tasks = {asyncio.create_task(_all_ended(consumers)), asyncio.create_task(_is_set(lost))}
    done, left = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await end(*left)
    return bool(done)


async def _all_ended(consumers: Sequence[Consumer]) -> None:
    for consumer in consumers:
        await consumer.ended.wait()
