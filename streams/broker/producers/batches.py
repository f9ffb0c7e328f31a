"""Sending many messages through one aiokafka producer, a record batch at a time.

``producer.send`` costs about as much per message as decoding ten of them. Here messages go into
aiokafka's own batch builders, and the producer sees whole batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import murmur2

from streams.broker.producers.client import connected_producer, end_producer
from streams.broker.producers.errors import TOPIC_REFUSED
from streams.cancellation import end
from streams.outgoing import Outgoing, size_of
from streams.retries import Backoff, Retries

#: Called once for every group of messages that share one fate; None means delivered.
OnResult = Callable[[list[Outgoing], Exception | None], None]

logger = logging.getLogger("tocsin.publishing.batches")

_MAX_ATTEMPTS: Final = 4
#: The brokers did not write the batch, so that sending it again, by a fresh client, makes no duplicate.
_NOT_WRITTEN: Final = (OutOfOrderSequenceNumber, UnknownProducerId)
#: Between two tries to connect anew.
_AGAIN: Final = Backoff(0.1, factor=2, most_s=5.0)


@dataclass(slots=True, eq=False)
class _Batch:
    """Records for one partition, open until it is full or has lingered."""

    builder: Any
    messages: list[Outgoing] = field(default_factory=list)
    attempts: int = 0


@dataclass(slots=True, eq=False)
class _Lane:
    """What waits for one topic: open batches by partition; slot -1 has messages without a key."""

    partitions: tuple[int, ...] = ()
    waiting: list[Outgoing] = field(default_factory=list)
    open: dict[int, _Batch] = field(default_factory=dict)
    next: int = 0


class BatchSender:
    """Groups messages into record batches and sends them with acks=all, idempotent, retried until written.

    Messages with a key go to the partition that Kafka's Java client would choose, in the order
    they were added, unless they name a partition. Messages with neither fill one batch at a time,
    the batches going to the partitions in turn. Belongs to the event loop it is started on; not
    thread-safe.

    Args:
        options: of the aiokafka client (see ``client_options``).
        on_result: told what became of the messages.
        batch_bytes: size a batch is closed at.
        linger_s: age in seconds a batch is closed at.
        compression: None, gzip, snappy, lz4 or zstd.
        topic_wait_s: seconds to wait for a topic that the brokers do not know (yet).
        connect_s: seconds that ``start`` tries for.
        client_id: name that the brokers' logs and quotas know this client by.
    """

    def __init__(
        self,
        options: dict[str, Any],
        on_result: OnResult,
        *,
        batch_bytes: int = 2**16,
        linger_s: float = 0.005,
        compression: str | None = None,
        topic_wait_s: float = 10.0,
        connect_s: float = 30.0,
        client_id: str = "tocsin-publisher",
    ) -> None:
        self._options = options | {
            "client_id": client_id,
            "compression_type": compression,
            "max_batch_size": batch_bytes,
            "linger_ms": 0,  # batches linger here
            "retry_backoff_ms": 250,
        }
        self._on_result = on_result
        self._linger_s = linger_s
        self._topic_wait_s = topic_wait_s
        self._connect_s = connect_s
        self._producer: Any = None
        self._lanes: dict[str, _Lane] = {}
        self._queues: dict[tuple[str, int], deque[_Batch]] = {}
        self._again: list[tuple[tuple[str, int], _Batch]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._unconfirmed: dict[_Batch, asyncio.Future[Any] | None] = {}
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self._renewing = False
        self._closed = False
        self.pending_bytes = 0
        self.pending = 0

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError: no broker answered; may be called again.
        """
        self._producer = await connected_producer(self._options, self._connect_s)
        self._ready.set()

    def add(self, message: Outgoing) -> None:
        """Take ``message``; returns at once. The caller minds ``pending_bytes`` (see ``room``)."""
        self.pending += 1
        self.pending_bytes += size_of(message)
        lane = self._lanes.get(message.topic)
        if lane is None:
            lane = self._lanes[message.topic] = _Lane()
            self._spawn(self._find_partitions(message.topic, lane))
        if lane.partitions:
            self._append(lane, message)
        else:
            lane.waiting.append(message)

    async def room(self, limit: int) -> None:
        """Wait until fewer than ``limit`` bytes are on their way."""
        while self.pending_bytes >= limit:
            self._changed.clear()
            await self._changed.wait()

    async def flush(self, timeout: float) -> bool:  # noqa: ASYNC109 -- reports instead of raising
        """Send everything now, wait up to ``timeout`` seconds; True when nothing is on its way any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.pending:
                    for topic, lane in self._lanes.items():
                        for slot in tuple(lane.open):
                            self._seal(topic, lane, slot)
                    self._changed.clear()
                    await self._changed.wait()
        return not self.pending

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 -- gives up instead of raising
        """Flush for up to ``timeout`` seconds, disconnect, and report the rest as failed."""
        if self._producer is not None:
            await self.flush(timeout)
        self._closed = True
        await end(*self._tasks)
        if self._producer is not None:
            await end_producer(self._producer, 1.0 if self.pending else max(1.0, timeout))
        error = KafkaError("closed before the delivery was confirmed")
        for lane in self._lanes.values():
            for batch in lane.open.values():
                self._report(batch.messages, error)
            self._report(lane.waiting, error)
        for batch in [*self._unconfirmed, *(batch for _, batch in self._again)]:
            self._report(batch.messages, error)
        for queue in self._queues.values():
            for batch in queue:
                self._report(batch.messages, error)
        self._lanes, self._queues, self._unconfirmed, self._again = {}, {}, {}, []

    # --- from messages to batches ----------------------------------------------------------

    async def _find_partitions(self, topic: str, lane: _Lane) -> None:
        error: Exception
        try:
            await self._ready.wait()
            async with asyncio.timeout(self._topic_wait_s):
                found = await self._producer.partitions_for(topic)
            lane.partitions = tuple(sorted(found))
            waiting, lane.waiting = lane.waiting, []
            for message in waiting:
                self._append(lane, message)
            return
        except TimeoutError:
            error = UnknownTopicOrPartitionError(f"there is no topic {topic}")
        except Exception as caught:  # noqa: BLE001 -- whatever it is, the messages learn of it
            error = caught
        # The next message to this topic tries again: it may be created meanwhile.
        del self._lanes[topic]
        self._report(lane.waiting, error)

    def _forget(self, topic: str) -> None:
        """Look up the topic's partitions anew for the next message."""
        if lane := self._lanes.get(topic):
            for slot in tuple(lane.open):
                self._seal(topic, lane, slot)
            if not lane.waiting:
                del self._lanes[topic]

    def _append(self, lane: _Lane, message: Outgoing) -> None:
        slot = -1
        if message.partition is not None:
            slot = message.partition
        elif message.key is not None:
            slot = lane.partitions[(murmur2(message.key) & 0x7FFFFFFF) % len(lane.partitions)]
        batch = lane.open.get(slot)
        if batch is not None:
            if self._put(batch, message):
                return
            self._seal(message.topic, lane, slot)
        batch = _Batch(self._producer.create_batch())
        # The first record of a batch is taken whatever its size.
        if not self._put(batch, message):
            self._report([message], MessageSizeTooLargeError())
            return
        lane.open[slot] = batch
        found = self._producer.client.cluster.partitions_for_topic(message.topic)
        if found and len(found) != len(lane.partitions):
            lane.partitions = tuple(sorted(found))
        loop = asyncio.get_running_loop()
        loop.call_later(self._linger_s, self._lingered, message.topic, lane, slot, batch)

    @staticmethod
    def _put(batch: _Batch, message: Outgoing) -> bool:
        taken = batch.builder.append(
            timestamp=None, key=message.key, value=message.value, headers=list(message.headers)
        )
        if taken is None:
            return False
        batch.messages.append(message)
        return True

    def _lingered(self, topic: str, lane: _Lane, slot: int, batch: _Batch) -> None:
        if lane.open.get(slot) is batch:
            self._seal(topic, lane, slot)

    def _seal(self, topic: str, lane: _Lane, slot: int) -> None:
        """Close an open batch and queue it for its partition."""
        batch = lane.open.pop(slot)
        batch.builder.close()
        partition = slot
        if slot < 0:
            partition = lane.partitions[lane.next % len(lane.partitions)]
            lane.next += 1
        self._queue((topic, partition)).append(batch)

    def _queue(self, place: tuple[str, int]) -> deque[_Batch]:
        """What waits for a partition; a task that works it off runs for as long as it is not empty."""
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = deque()
            self._spawn(self._work(place, queue))
        return queue

    # --- from batches to the brokers -------------------------------------------------------

    async def _work(self, place: tuple[str, int], queue: deque[_Batch]) -> None:
        """Hand the batches of one partition to the producer, in order, until there are none."""
        topic, partition = place
        while queue:
            await self._ready.wait()
            batch = queue.popleft()
            self._unconfirmed[batch] = None
            batch.attempts += 1
            try:
                future = await self._producer.send_batch(batch.builder, topic, partition=partition)
            except KafkaTimeoutError:
                # It waited behind another batch and was not sent: the broker is away, not the batch wrong.
                batch.attempts -= 1
                del self._unconfirmed[batch]
                queue.appendleft(batch)
            except TOPIC_REFUSED as error:
                del self._unconfirmed[batch]
                self._forget(topic)
                self._report(batch.messages, error if isinstance(error, KafkaError) else _gone(place))
            except KafkaError as error:
                # The producer itself is broken; it took nothing.
                del self._unconfirmed[batch]
                self._retry(place, batch, error)
            else:
                self._unconfirmed[batch] = future
                future.add_done_callback(partial(self._confirmed, place, batch))
        self._queues.pop(place, None)

    def _confirmed(self, place: tuple[str, int], batch: _Batch, future: asyncio.Future[Any]) -> None:
        if batch not in self._unconfirmed:
            return  # closed meanwhile, and reported then
        del self._unconfirmed[batch]
        if future.cancelled():
            self._report(batch.messages, KafkaError("the sending was cancelled"))
            return
        error = future.exception()
        if error is None:
            self._report(batch.messages, None)
        elif isinstance(error, _NOT_WRITTEN):
            self._retry(place, batch, error)
        else:
            self._report(batch.messages, error if isinstance(error, Exception) else KafkaError(repr(error)))
            # The batch used up sequence numbers without being written: aiokafka's producer would
            # get OutOfOrderSequenceNumber for everything that follows on this partition.
            self._renew()

    def _retry(self, place: tuple[str, int], batch: _Batch, error: Exception) -> None:
        if batch.attempts >= _MAX_ATTEMPTS or self._closed:
            self._report(batch.messages, error)
        else:
            self._again.append((place, batch))
        self._renew()

    def _renew(self) -> None:
        """Replace the producer, once what it has in hand is settled."""
        if not self._renewing and not self._closed:
            self._renewing = True
            self._ready.clear()
            self._spawn(self._renewed())

    async def _renewed(self) -> None:
        while self._unconfirmed:
            futures = [future for future in self._unconfirmed.values() if future is not None]
            if futures:
                await asyncio.wait(futures)
            await asyncio.sleep(0 if futures else 0.02)  # callbacks run; or the producer takes the batch
        await end_producer(self._producer, 1.0)
        retries = Retries(_AGAIN)
        while True:
            try:
                self._producer = await connected_producer(self._options, self._connect_s)
                break
            except (KafkaError, OSError) as error:
                logger.debug("Cannot connect again: %r", error)
                await retries.pause()
        again, self._again = self._again, []
        self._renewing = False
        self._ready.set()
        # From the last to the first, each to the front: the order of every partition is kept.
        for place, batch in reversed(again):
            self._queue(place).extendleft(reversed(self._made_again(batch)))

    def _made_again(self, batch: _Batch) -> list[_Batch]:
        """The messages of a batch in fresh ones: a second where other times take more bytes."""
        made: list[_Batch] = []
        for message in batch.messages:
            if not made or not self._put(made[-1], message):
                made.append(_Batch(self._producer.create_batch(), attempts=batch.attempts))
                self._put(made[-1], message)
        for each in made:
            each.builder.close()
        return made

    def _report(self, messages: Iterable[Outgoing], error: Exception | None) -> None:
        done = list(messages)
        if not done:
            return
        self.pending -= len(done)
        self.pending_bytes -= sum(map(size_of, done))
        self._changed.set()
        self._on_result(done, error)

    def _spawn(self, routine: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(routine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Publishing: a task failed", exc_info=error)


def _gone(place: tuple[str, int]) -> KafkaError:
    return UnknownTopicOrPartitionError(f"topic {place[0]} has no partition {place[1]} any more")
