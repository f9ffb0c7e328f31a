"""Records that ingest sends out at once: forwarded alerts and dead letters, until they are confirmed.

Alerts come packed, many at a time, and go straight into batches of the client, with which they are confirmed:
a parcel. So the cost of a storm is that of its batches. Another record that finds no open batch is sent by
itself, and opens one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, count
from operator import attrgetter
from typing import Any, Final

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.types import TP

from agents.parcels import Parcel, Published, Smaller
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords
from streams.transport.committable import CommittableOffsets
from streams.upstream.stores import PartitionGoneError

log = logging.getLogger(__name__)

#: Bytes under way above which ingest waits; bounds what a broker outage can pile up.
_MOST_BYTES: Final = 2 * 2**20
#: Bytes that a record costs besides its value, about; and one that is packed.
_RECORD_BYTES: Final = 500
_PACKED_BYTES: Final = 100
_REFUSED_RETRY_S: Final = 10.0
#: Seconds of waiting for confirmations after which others are to be served meanwhile.
_TELL_AFTER_S: Final = 0.05

_number_of: Final = attrgetter("number")


class Effects:
    """Sends records that belong to an input offset, and notes which offsets still wait for one.

    Args:
        producer: sends them.
        offsets: where it is noted; whoever ends an assignment makes them forget it.
        on_confirmed: told of records that are confirmed: input partition, when they were published, how many.
        on_waiting: told of an input partition whose records wait for others to be confirmed, and again when
            they do no longer; not of a short wait, as there are many in a storm.
    """

    def __init__(
        self,
        producer: ConfirmedProducer,
        offsets: CommittableOffsets,
        on_confirmed: Callable[[TP, Published, int], None] = lambda *_: None,
        on_waiting: Callable[[TP, bool], None] = lambda *_: None,
    ) -> None:
        self._producer = producer
        self._on_confirmed = on_confirmed
        self._on_waiting = on_waiting
        self._offsets = offsets
        self._under_way = 0
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._parcels: dict[asyncio.Future[Any], Parcel] = {}
        #: Bytes of ended assignments that the client still holds, by the future of their batch.
        self._left: Counter[asyncio.Future[Any]] = Counter()
        self._assignment = 0
        self._numbers = count()
        #: Parcels that are not confirmed, the one that has waited longest first.
        self._waiting: dict[Parcel, None] = {}
        #: Topic -> the parcels that were not confirmed and are sent again; nothing else goes there meanwhile.
        self._failed: dict[str, list[Parcel]] = {}
        self._retries: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """Records sent and not yet confirmed."""
        return self._under_way

    @property
    def blocked(self) -> bool:
        """Whether ingest waits for confirmations."""
        return not self._room.is_set()

    def unconfirmed_s(self) -> float:
        """Seconds for which some record has waited to be confirmed; 0 when none does."""
        oldest = next(iter(self._waiting), None)
        return 0.0 if oldest is None else time.monotonic() - oldest.began

    def send_now(
        self, tp: TP, offset: int, record: Outgoing, smaller: Smaller, published: Published | None = None
    ) -> bool:
        """Do as `send` where that needs no waiting; else nothing, and False is returned.

        Records of one input partition come in the order of their offsets.
        """
        if not self._may_send(record.topic) or (future := self._producer.put_now(record)) is None:
            return False
        self._sent(future, record.topic, tp, (offset,), (record,), smaller, _size(record), published)
        return True

    async def send_all(
        self,
        tp: TP,
        offsets: Sequence[int],
        records: PackedRecords,
        smaller: Smaller,
        published: Published | None = None,
    ) -> None:
        """Do as `send` for packed records of consecutive inputs, in order.

        Raises:
            PartitionGoneError: the assignment ended meanwhile.
        """
        begun = 0
        while begun < len(records):
            await self._room_for(records.topic, tp)
            taken = self._send_some_now(tp, offsets, records, begun, smaller, published)
            if not taken:
                await self.send(tp, offsets[begun], records[begun], smaller, published)
            begun += taken or 1

    def _send_some_now(
        self,
        tp: TP,
        offsets: Sequence[int],
        records: PackedRecords,
        begun: int,
        smaller: Smaller,
        published: Published | None,
    ) -> int:
        """Send records from index ``begun`` on, as far as there is room; return how many."""
        sums = list(accumulate(map(len, records.records[begun:])))
        # The one that reaches the bound is sent still, as by itself.
        fitting = bisect_left(sums, _MOST_BYTES - self._bytes) + 1
        taken = 0
        for future, indexes in self._producer.put_packed_now(records, begun, begun + min(fitting, len(sums))):
            packed = [records.records[index] for index in indexes]
            self._sent(
                future,
                records.topic,
                tp,
                [offsets[index] for index in indexes],
                PackedRecords(records.topic, (), packed),
                smaller,
                sum(map(len, packed)) + _PACKED_BYTES * len(packed),
                published,
            )
            taken += len(indexes)
        return taken

    def _sent(
        self,
        future: asyncio.Future[Any],
        topic: str,
        tp: TP,
        offsets: Sequence[int],
        records: Sequence[Outgoing] | PackedRecords,
        smaller: Smaller,
        nbytes: int,
        published: Published | None,
    ) -> None:
        """Records lie in the batch that the future is of."""
        parcel = self._parcels.get(future)
        if parcel is None:
            parcel = self._parcels[future] = self._parcel(topic)
            future.add_done_callback(self._parcel_done)
        outstanding = self._offsets.outstanding(tp)
        known = parcel.floors.get(outstanding)
        # A batch of an assignment that has just ended may have left a later one.
        if known is None or offsets[0] < known[1]:
            outstanding.begin(offsets[0])
            parcel.floors[outstanding] = tp, offsets[0]
            if known is not None:
                outstanding.end(known[1])
        parcel.add(tp, offsets, records, smaller, nbytes, published)
        self._bytes += nbytes
        self._under_way += len(offsets)

    def _parcel(self, topic: str) -> Parcel:
        parcel = Parcel(next(self._numbers), topic, time.monotonic())
        self._waiting[parcel] = None
        return parcel

    async def send(
        self, tp: TP, offset: int, record: Outgoing, smaller: Smaller, published: Published | None = None
    ) -> None:
        """Send a record for the input at ``offset``; returns before it is confirmed.

        Args:
            tp: input partition.
            offset: input offset.
            record: what to send.
            smaller: makes of it what to send instead when the brokers refuse it for its size.
            published: when the input was; None where nobody asks how long this takes.

        Raises:
            PartitionGoneError: the assignment ended meanwhile.
        """
        await self._room_for(record.topic, tp)
        if self.send_now(tp, offset, record, smaller, published):
            return
        outstanding = self._offsets.outstanding(tp)
        outstanding.begin(offset)
        alone = self._parcel(record.topic)
        alone.floors[outstanding] = tp, offset
        alone.add(tp, (offset,), (record,), smaller, _size(record), published)
        self._under_way += 1
        self._bytes += alone.nbytes
        assignment = self._assignment
        try:
            # A topic whose partitions nobody knows is looked for, for seconds.
            with self._telling(tp):
                future = await self._producer.enqueue(record)
        except (KafkaError, RecordRefusedForSizeError) as error:
            if assignment != self._assignment:
                raise _gone(tp) from error
            self._retry(alone, error)
            return
        if assignment != self._assignment:
            raise _gone(tp)
        self._parcels[future] = alone
        future.add_done_callback(self._parcel_done)

    def _parcel_done(self, future: asyncio.Future[Any]) -> None:
        if left := self._left.pop(future, 0):
            self._free(left)
        if (parcel := self._parcels.pop(future, None)) is not None:
            self._confirmed(parcel, future)
        elif not future.cancelled():  # of an assignment that has ended
            future.exception()

    def _confirmed(self, parcel: Parcel, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            # When stopping, the offsets stay outstanding and will be read again.
            if not self._producer.closed:
                self._retry(parcel, None)
        elif (error := future.exception()) is not None:
            self._retry(parcel, error)
        else:
            self._ended(parcel)

    def _ended(self, parcel: Parcel) -> None:
        self._waiting.pop(parcel, None)
        for tp, published, number in parcel.published:
            self._on_confirmed(tp, published, number)
        current = False
        for outstanding, (tp, offset) in parcel.floors.items():
            if self._offsets.is_current(tp, outstanding):
                outstanding.end(offset)
                current = True
        if not current:
            return  # of an assignment that has ended
        self._under_way -= len(parcel)
        if not self._under_way:
            self._empty.set()
        self._free(parcel.nbytes)

    def _free(self, nbytes: int) -> None:
        self._bytes -= nbytes
        # As soon as there is any: what is made meanwhile goes with the next request.
        if self._bytes < _MOST_BYTES:
            self._room.set()

    def _may_send(self, topic: str) -> bool:
        return self._bytes < _MOST_BYTES and topic not in self._failed

    async def _room_for(self, topic: str, tp: TP) -> None:
        if self._may_send(topic):
            return
        assignment = self._assignment
        with self._telling(tp):
            while not self._may_send(topic):
                self._room.clear()
                await self._room.wait()
                if assignment != self._assignment:
                    raise _gone(tp)

    @contextmanager
    def _telling(self, tp: TP) -> Iterator[None]:
        """Tell that records of an input partition wait, once they have for a while."""
        late = asyncio.get_running_loop().call_later(_TELL_AFTER_S, self._on_waiting, tp, True)
        try:
            yield
        finally:
            late.cancel()
            self._on_waiting(tp, False)

    def _retry(self, parcel: Parcel, error: BaseException | None) -> None:
        if isinstance(error, MessageSizeTooLargeError | RecordRefusedForSizeError):
            # By itself: until somebody raises a limit, it may take for ever.
            self._begin(self._send_refused(parcel))
            return
        topic = parcel.topic
        if topic in self._failed:
            self._failed[topic].append(parcel)
        else:
            self._failed[topic] = [parcel]
            self._begin(self._send_failed(topic))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._retries.add(task)
        task.add_done_callback(self._retries.discard)

    async def _send_failed(self, topic: str) -> None:
        """Send again what was not confirmed, in order, before anything else goes to its topic."""
        failed = self._failed[topic]
        try:
            while failed:
                parcel = min(failed, key=_number_of)
                failed.remove(parcel)
                try:
                    await self._producer.send([record for _, _, record, _ in parcel])
                except RecordRefusedForSizeError:
                    self._begin(self._send_refused(parcel))
                else:
                    self._ended(parcel)
        finally:
            # Also where the producer was closed meanwhile: nobody may wait for this then.
            if self._failed.get(topic) is failed:
                del self._failed[topic]
            self._room.set()

    async def _send_refused(self, parcel: Parcel) -> None:
        """Send one by one until all is confirmed: a record of it was refused for its size."""
        alone = len(parcel) == 1
        parts, parcel.parts = list(parcel), []
        for tp, offset, record, smaller in parts:
            # Of several, most are not too large.
            sent = await self._send_one(smaller(record) if alone else record, smaller)
            parcel.parts.append((tp, (offset,), (sent,), smaller))
        self._ended(parcel)

    async def _send_one(self, record: Outgoing, smaller: Smaller) -> Outgoing:
        """Send a record until it is confirmed; returns the form in which the brokers took it."""
        is_smaller = False
        while True:
            try:
                await self._producer.send([record])
                return record
            except RecordRefusedForSizeError as error:
                if not is_smaller:
                    record, is_smaller = smaller(record), True
                    continue
                # Somebody has lowered the topic's limit. Nothing is left out: until the limit is raised,
                # the offset is not committed.
                log.error("Raise max.message.bytes of %s: %s", record.topic, error)  # noqa: TRY400
                await asyncio.sleep(_REFUSED_RETRY_S)

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
        # Until the client has sent it or has given it up, it takes memory.
        for future, parcel in self._parcels.items():
            self._left[future] += parcel.nbytes
        self._assignment += 1
        self._parcels = {}
        self._waiting = {}
        self._failed = {}
        self._under_way = 0
        self._bytes = self._left.total()
        self._room.set()


def _size(record: Outgoing) -> int:
    return _RECORD_BYTES + len(record.value or b"")


def _gone(tp: TP) -> PartitionGoneError:
    return PartitionGoneError(f"{tp.topic}, partition {tp.partition}")
