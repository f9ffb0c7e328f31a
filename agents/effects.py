"""Records that ingest sends out at once: forwarded alerts and dead letters, until they are confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.types import TP

from streams.broker.producers.confirmed import ConfirmedProducer
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.outgoing import Outgoing
from streams.transport.committable import CommittableOffsets
from streams.transport.outstanding import OutstandingOffsets

log = logging.getLogger(__name__)

#: Bytes under way above which ingest waits; bounds what a broker outage can pile up.
_MOST_BYTES = 2 * 2**20
#: Bytes that a record costs besides its value, about.
_RECORD_BYTES = 500
_REFUSED_RETRY_S = 10.0


class Effects:
    """Sends records that belong to an input offset, and notes which offsets still wait for one.

    Args:
        producer: sends them.
        offsets: where it is noted; whoever ends an assignment makes them forget it.
    """

    def __init__(self, producer: ConfirmedProducer, offsets: CommittableOffsets) -> None:
        self._producer = producer
        self._offsets = offsets
        self._under_way = 0
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._retries: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """Records sent and not yet confirmed."""
        return self._under_way

    @property
    def blocked(self) -> bool:
        """Whether ingest waits for confirmations."""
        return not self._room.is_set()

    async def send(self, tp: TP, offset: int, record: Outgoing, smaller: Callable[[], Outgoing]) -> None:
        """Send a record for the input at ``offset``; returns before it is confirmed.

        Args:
            tp: input partition.
            offset: input offset.
            record: what to send.
            smaller: makes the record to send instead when the brokers refuse it for its size.
        """
        while self._bytes >= _MOST_BYTES:
            self._room.clear()
            await self._room.wait()
        outstanding = self._offsets.outstanding(tp)
        outstanding.begin(offset)
        self._under_way += 1
        self._bytes += _size(record)
        future = self._producer.enqueue_now(record)
        if future is None:
            try:
                future = await self._producer.enqueue(record)
            except RecordRefusedForSizeError:
                self._retry(tp, outstanding, offset, smaller())
                return
            except KafkaError:
                self._retry(tp, outstanding, offset, record)
                return
        future.add_done_callback(partial(self._confirmed, tp, outstanding, offset, record, smaller))

    def _confirmed(
        self,
        tp: TP,
        outstanding: OutstandingOffsets,
        offset: int,
        record: Outgoing,
        smaller: Callable[[], Outgoing],
        future: asyncio.Future[Any],
    ) -> None:
        if future.cancelled():
            # When stopping, the offset stays outstanding and will be read again.
            if not self._producer.closed:
                self._retry(tp, outstanding, offset, record)
            return
        error = future.exception()
        if error is None:
            self._ended(tp, outstanding, offset, record)
        elif isinstance(error, MessageSizeTooLargeError):
            self._retry(tp, outstanding, offset, smaller())
        else:
            self._retry(tp, outstanding, offset, record)

    def _ended(self, tp: TP, outstanding: OutstandingOffsets, offset: int, record: Outgoing) -> None:
        if not self._offsets.is_current(tp, outstanding):
            return  # of an assignment that has ended
        outstanding.end(offset)
        self._under_way -= 1
        self._bytes -= _size(record)
        if not self._under_way:
            # What was sent in a smaller form gives back less than it took.
            self._bytes = 0
            self._empty.set()
        if self._bytes < _MOST_BYTES // 2:
            self._room.set()

    def _retry(self, tp: TP, outstanding: OutstandingOffsets, offset: int, record: Outgoing) -> None:
        task = asyncio.get_running_loop().create_task(self._send_again(tp, outstanding, offset, record))
        self._retries.add(task)
        task.add_done_callback(self._retries.discard)

    async def _send_again(
        self, tp: TP, outstanding: OutstandingOffsets, offset: int, record: Outgoing
    ) -> None:
        while True:
            try:
                await self._producer.send([record])
                break
            except RecordRefusedForSizeError as error:
                # Somebody has lowered the topic's limit. Nothing is left out: until the limit is raised,
                # the offset is not committed.
                log.error("Raise max.message.bytes of %s: %s", record.topic, error)  # noqa: TRY400
                await asyncio.sleep(_REFUSED_RETRY_S)
        self._ended(tp, outstanding, offset, record)

    async def wait(self, deadline_s: float) -> bool:
        """Wait until nothing is under way; False when the deadline came first."""
        if self._under_way:
            self._empty.clear()
            try:
                async with asyncio.timeout(deadline_s):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return True

    def close(self) -> None:
        """Send nothing of the assignment again; what is under way may still arrive, and does no harm."""
        for task in list(self._retries):
            task.cancel()
        self._under_way = 0
        self._bytes = 0
        self._room.set()


def _size(record: Outgoing) -> int:
    return _RECORD_BYTES + len(record.value or b"")
