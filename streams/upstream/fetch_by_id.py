"""Fetching a topic by its id, so that no record of another topic of the same name can come. Private parts.

A topic that was deleted and made again has the same name, and offsets that begin at 0 again. aiokafka 0.14
fetches by name (version 11 of the request), so a consumer goes on in the new topic as if it were the old one.
Version 13 (Kafka 3.1 and newer) names the id: the broker that has another topic of that name refuses.

Each answer also tells where reading really went on after an offset was out of range, and where a broker does
not find on its disk what must be there: then it is looked where it finds something again. And each request
says of which leader epoch the last record was: a broker whose log lost its end, and went on with others, says
so.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from aiokafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from streams.log_lines import BOUNDED
from streams.upstream.corrupt_batches import hole, next_found
from streams.upstream.fetch_by_id_messages import ID_BYTES, FetchById, FetchByIdResponse
from streams.upstream.lenient_records import LenientRecords

log = logging.getLogger(__name__)

#: Kafka's error codes: no topic has this id; the broker has the id under another name.
UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID = 100, 103
#: Seconds to wait when the topic is not there: aiokafka would ask again at once, and again.
_GONE_WAIT_S = 0.5

#: Kafka's error codes where a broker does not understand what lies on its disk: unknown, corrupt message.
_BROKEN: Final = frozenset({-1, 2})
#: Seconds for which it finds nothing, after which it is looked where it does, and after how many again.
_STUCK_S: Final = 5.0
_LOOK_AGAIN_S: Final = 60.0
#: Seconds for which a transaction is open, after which it is said.
_SAY_OPEN_S: Final = 10.0
#: Bytes asked for where one batch is enough; it comes as a whole.
_PROBE_BYTES: Final = 1
#: In the place of a time, where an end is asked for.
_LATEST: Final = -1

#: Told of partition, offset that was asked for, and offset at which reading goes on instead.
OnReset = Callable[[int, int, int], None]
#: Told of partition, and the offset that was asked for of it.
OnDiverged = Callable[[int, int], None]


def topic_id_bytes(topic_id: str) -> bytes:
    """The 16 bytes of a topic id of 22 characters.

    Raises:
        ValueError: it is no topic id.
    """
    found = base64.urlsafe_b64decode(topic_id + "==")
    if len(found) != ID_BYTES:
        raise ValueError(f"{topic_id!r} is no topic id")
    return found


def fetch_by_id(
    consumer: Any,
    topic: str,
    topic_id: str,
    on_reset: OnReset | None = None,
    *,
    epochs: Mapping[int, int] = MappingProxyType({}),
    on_diverged: OnDiverged | None = None,
) -> None:
    """Let a consumer fetch ``topic`` by its id; to be called once it has started, before it is assigned.

    When the topic is gone, or is another one by now, the consumer gets nothing, and says nothing.

    Args:
        consumer: of aiokafka, of this one topic.
        topic: its name.
        topic_id: 22 characters, as Kafka prints it.
        on_reset: called when an offset was out of range, once it is known where reading goes on.
        epochs: partition -> leader epoch of the last record before where it is read; asked at each fetch.
        on_diverged: called when the broker's log is another than what was read; the consumer gets nothing.
    """
    client = consumer._client
    client.send = _SendById(client.send, topic, topic_id_bytes(topic_id), on_reset, epochs, on_diverged)


@dataclass(slots=True)
class _Stuck:
    """Where a broker finds nothing.

    Attributes:
        offset: that was asked for.
        look_at: when to look where it finds something.
        rests_until: when to ask again.
    """

    offset: int
    look_at: float
    rests_until: float = 0.0


class _SendById:
    """Stands in for ``AIOKafkaClient.send``: fetches by id, everything else as ever."""

    def __init__(
        self,
        send: Any,
        topic: str,
        topic_id: bytes,
        on_reset: OnReset | None,
        epochs: Mapping[int, int],
        on_diverged: OnDiverged | None,
    ) -> None:
        self._send = send
        self._epochs = epochs
        self._on_diverged = on_diverged
        self._topic = topic
        self._id = topic_id
        self._on_reset = on_reset
        #: Partition -> offset that was out of range, until another one was asked for.
        self._out_of_range: dict[int, int] = {}
        #: Partition -> the end of its log, as of its last good answer.
        self._ends: dict[int, int] = {}
        #: Partition -> offset of an open transaction -> since when records wait there, and when to say so.
        self._waiting: dict[int, dict[int, tuple[float, float]]] = {}
        #: Partition -> where the broker finds nothing.
        self._stuck: dict[int, _Stuck] = {}

    async def __call__(self, node_id: Any, request: Any, **options: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, **options)
        fetch = FetchById(request, self._topic, self._id, self._epochs)
        if self._stuck and not fetch.leave_out(self._resting()):
            # An error comes at once, and aiokafka would ask again at once.
            await asyncio.sleep(_GONE_WAIT_S)
            return FetchByIdResponse(0, 0, 0, [])
        answer = await self._send(node_id, fetch, **options)
        asked = {number: offset for _, wanted in request.topics for number, offset, *_ in wanted}
        gone = False
        diverging = list(answer.diverging)
        named = []
        for topic_id, parts in answer.topics:
            if topic_id != self._id:
                continue  # cannot be: it was not asked for
            for index, (number, code, *rest) in enumerate(parts):
                if code in {UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID}:
                    parts[index] = (number, UnknownTopicOrPartitionError.errno, *rest)
                    gone = True
                elif code == UnknownTopicOrPartitionError.errno:
                    gone = True
                elif code == OffsetOutOfRangeError.errno:
                    # Wherever it is read from: the epoch of what was read is none that the broker has had.
                    if number in self._out_of_range and number in self._epochs:
                        diverging.append(number)
                    self._out_of_range.setdefault(number, asked[number])
                else:
                    if not code and number in self._out_of_range:
                        self._was_reset(number, asked[number])
                    if code in _BROKEN or not (code or rest[-1] or asked[number] >= _end(request, rest)):
                        if stand_in := await self._hole(node_id, request, number, asked[number], code):
                            end = self._ends.get(number, -1)
                            parts[index] = (number, 0, end, end, -1, None, -1, stand_in)
                    elif not code:
                        self._ends[number] = rest[0]
                        if request._isolation_level and not rest[-1] and 0 <= rest[1] < rest[0]:
                            self._waits(number, asked[number])
                        if self._stuck:
                            self._stuck.pop(number, None)
            named.append((self._topic, parts))
        answer.topics = named
        for number in diverging:
            gone = True
            if self._on_diverged is not None:
                self._on_diverged(number, asked[number])
        if gone:
            await asyncio.sleep(_GONE_WAIT_S)
        return answer

    def _waits(self, partition: int, offset: int) -> None:
        """Say that records wait behind an open transaction, when they have for some time."""
        now = time.monotonic()
        began, say_at = self._waiting.get(partition, {}).get(offset, (now, now + _SAY_OPEN_S))
        if now >= say_at:
            say_at = now + _LOOK_AGAIN_S
            log.warning(
                "Records of %s, partition %d, have waited for %.0f s behind a transaction that is open at "
                "offset %d: look at its producer, or set TOCSIN_ISOLATION_LEVEL=read_uncommitted.",
                self._topic,
                partition,
                now - began,
                offset,
                extra=BOUNDED,
            )
        self._waiting[partition] = {offset: (began, say_at)}

    def _resting(self) -> set[int]:
        """Partitions that are not to be asked for just now."""
        now = time.monotonic()
        return {number for number, stuck in self._stuck.items() if stuck.rests_until > now}

    async def _hole(
        self, node_id: Any, request: FetchRequest, partition: int, offset: int, code: int
    ) -> bytes | None:
        """What stands for the offsets that the broker does not find; None when it is not known to be so."""
        now = time.monotonic()
        stuck = self._stuck.get(partition)
        if stuck is None or stuck.offset != offset:
            stuck = self._stuck[partition] = _Stuck(offset, now + _STUCK_S)
        if code:
            stuck.rests_until = now + _GONE_WAIT_S
        if now < stuck.look_at:
            return None
        stuck.look_at = now + _LOOK_AGAIN_S
        probe = partial(self._finds, node_id, request, partition)
        if partition not in self._ends:
            self._ends[partition] = await self._end_of_log(node_id, partition)
        end = await next_found(probe, offset, self._ends[partition])
        if end == offset:
            del self._stuck[partition]  # others took all the room in the answers
        elif end is not None:
            del self._stuck[partition]
            return hole(offset, end)
        else:
            log.error(
                "The broker finds nothing from offset %d of %s, partition %d, on, though there must be more "
                "(error code %d): look at the disks of the brokers that hold it.",
                offset,
                self._topic,
                partition,
                code,
                extra=BOUNDED,
            )
        return None

    async def _end_of_log(self, node_id: Any, partition: int) -> int:
        """The offset after the last one, which an error does not tell; -1 when it cannot be had."""
        latest = OffsetRequest(-1, 0, [(self._topic, [(partition, _LATEST)])])
        answer = await self._send(node_id, latest)
        for _, parts in answer.topics:
            for _, code, *rest in parts:
                return -1 if code else int(rest[1])  # behind a time
        return -1

    async def _finds(self, node_id: Any, request: FetchRequest, partition: int, offset: int) -> int | None:
        """The first offset that the broker finds when it is asked for ``offset``; None when it finds none."""
        one = [(self._topic, [(partition, offset, 1)])]
        asked = FetchRequest(0, 0, _PROBE_BYTES, request._isolation_level, one, request._rack_id)
        answer = await self._send(node_id, FetchById(asked, self._topic, self._id, {}))
        for _, parts in answer.topics:
            for _, code, *rest in parts:
                batch = None if code or not rest[-1] else LenientRecords(rest[-1]).next_batch()
                if batch is not None:
                    # What is wrong with the batch itself is not to be judged here.
                    base = batch.base_offset
                    return base if batch.validate_crc() and base > offset else offset
        return None

    def _was_reset(self, partition: int, offset: int) -> None:
        before = self._out_of_range.pop(partition)
        if self._on_reset is not None and before != offset:
            self._on_reset(partition, before, offset)


def _end(request: FetchRequest, rest: Sequence[Any]) -> int:
    """The offset up to which a consumer gets records, as an answer says."""
    highwater, last_stable = rest[0], rest[1]
    return int(last_stable if request._isolation_level and last_stable >= 0 else highwater)
