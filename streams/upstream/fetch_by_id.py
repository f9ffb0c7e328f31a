"""Fetching a topic by its id, so that no record of another topic of the same name can come. Private parts.

A topic that was deleted and made again has the same name, and offsets that begin at 0 again. aiokafka 0.14
fetches by name (version 11 of the request), so a consumer goes on in the new topic as if it were the old one.
Version 13 (Kafka 3.1 and newer) names the id: the broker that has another topic of that name refuses.

Each answer also tells where reading really went on after an offset was out of range. And each request says of
which leader epoch the last record was: a broker whose log lost its end, and went on with others, says so.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from struct import Struct, error
from types import MappingProxyType
from typing import Any, ClassVar, Final

from aiokafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.types import CompactArray, CompactString, Int8, Int32, Schema, TaggedFields

#: Kafka's error codes: no topic has this id; the broker has the id under another name.
UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID = 100, 103
#: Seconds to wait when the topic is not there: aiokafka would ask again at once, and again.
_GONE_WAIT_S = 0.5

_ID_BYTES: Final = 16
#: Of a request: partition, leader epoch, offset, last fetched epoch, log start, most bytes, no tagged fields.
_WANTED: Final = Struct(">iiqiqib")
#: Of an answer: time throttled, error, session.
_HEAD: Final = Struct(">ihi")
#: Partition, error, highwater, last stable offset, log start.
_PART: Final = Struct(">ihqqq")
#: Producer, first offset.
_ABORTED: Final = Struct(">qq")
_REPLICA: Final = Struct(">i")

#: In a tagged field of a partition: epoch, and the offset at which what was read and the log part.
_DIVERGING: Final = Struct(">iq")
_DIVERGING_TAG: Final = 0

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
    if len(found) != _ID_BYTES:
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

    async def __call__(self, node_id: Any, request: Any, **options: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, **options)
        by_id = _FetchById(request, self._topic, self._id, self._epochs)
        answer = await self._send(node_id, by_id, **options)
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
                elif not code and number in self._out_of_range:
                    self._was_reset(number, asked[number])
            named.append((self._topic, parts))
        answer.topics = named
        for number in diverging:
            gone = True
            if self._on_diverged is not None:
                self._on_diverged(number, asked[number])
        if gone:
            await asyncio.sleep(_GONE_WAIT_S)
        return answer

    def _was_reset(self, partition: int, offset: int) -> None:
        before = self._out_of_range.pop(partition)
        if self._on_reset is not None and before != offset:
            self._on_reset(partition, before, offset)


def _varint(value: int) -> bytes:
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


class _WantedTopics(AbstractType[Any]):
    """Topic ids and partitions in a request, packed a partition at a time."""

    @classmethod
    def encode(cls, value: Sequence[tuple[bytes, Sequence[tuple[int, int, int, int]]]]) -> bytes:
        packed = [_varint(len(value) + 1)]
        for topic_id, partitions in value:
            packed += topic_id, _varint(len(partitions) + 1)
            packed += [
                _WANTED.pack(number, -1, at, last, -1, most, 0) for number, at, most, last in partitions
            ]
            packed.append(b"\0")
        return b"".join(packed)

    @classmethod
    def decode(cls, data: BytesIO) -> Any:
        raise NotImplementedError("requests are not read")


class FetchByIdResponse(FetchResponse_v11):
    """An answer of version 13; its topics have the bytes of their id for a name."""

    API_VERSION = 13
    #: Partitions of which something else was read than the broker has.
    diverging: Sequence[int] = ()

    @classmethod
    def decode(cls, data: BytesIO | bytes) -> FetchByIdResponse:
        """Take an answer apart.

        Raises:
            ValueError: it ends too soon.
        """
        answer = _Answer(data, 0) if isinstance(data, bytes) else _Answer(data.getvalue(), data.tell())
        try:
            head = answer.read(_HEAD)
            topics = [answer.topic() for _ in range(answer.varint() - 1)]
            answer.skip_tags()
        except (error, IndexError) as short:
            raise ValueError(f"a fetch answer of {len(answer.whole)} bytes ends too soon") from short
        made = cls(*head, topics)
        made.diverging = answer.diverging
        return made


class _FetchByIdStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = FetchRequest_v11.API_KEY
    API_VERSION = 13
    RESPONSE_TYPE = FetchByIdResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_time", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        ("topics", _WantedTopics),
        ("forgotten_topics_data", CompactArray(Int32)),  # always empty
        ("rack_id", CompactString()),
        ("tags", TaggedFields),
    )


class _FetchById(Request[_FetchByIdStruct]):
    """A request of aiokafka for one topic, which names its id instead."""

    API_KEY: ClassVar[int] = FetchRequest_v11.API_KEY

    def __init__(self, request: FetchRequest, topic: str, topic_id: bytes, epochs: Mapping[int, int]) -> None:
        self._request = request
        self._wanted = [
            (topic_id, [(number, at, most, epochs.get(number, -1)) for number, at, most in wanted])
            for name, wanted in request.topics
            if name == topic
        ]

    def build(self, request_struct_class: type[_FetchByIdStruct]) -> _FetchByIdStruct:
        request = self._request
        return request_struct_class(
            -1,
            request._max_wait_ms,
            request._min_bytes,
            request._max_bytes,
            request._isolation_level,
            0,
            -1,
            self._wanted,
            [],
            request._rack_id,
            {},
        )


class _Answer:
    """Bytes of an answer, and how far they are read."""

    def __init__(self, whole: bytes, at: int) -> None:
        self.whole = whole
        self._at = at
        self.diverging: list[int] = []

    def read(self, fields: Struct) -> tuple[Any, ...]:
        found = fields.unpack_from(self.whole, self._at)
        self._at += fields.size
        return found

    def varint(self) -> int:
        byte = self.whole[self._at]
        self._at += 1
        value, shift = byte & 0x7F, 7
        while byte & 0x80:
            byte = self.whole[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
        return value

    def _cut(self, length: int) -> bytes:
        cut = self.whole[self._at : self._at + length]
        if len(cut) != length:
            raise error
        self._at += length
        return cut

    def skip_tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self._cut(self.varint())

    def topic(self) -> tuple[bytes, list[Any]]:
        topic_id = self._cut(_ID_BYTES)
        parts = [self._partition() for _ in range(self.varint() - 1)]
        self.skip_tags()
        return topic_id, parts

    def _partition(self) -> tuple[Any, ...]:
        part = self.read(_PART)
        transactions = self.varint() - 1
        aborted = None if transactions < 0 else list(self._aborted(range(transactions)))
        (replica,) = self.read(_REPLICA)
        length = self.varint() - 1
        records = self._cut(max(length, 0))
        for _ in range(self.varint()):
            tag, content = self.varint(), self._cut(self.varint())
            if tag == _DIVERGING_TAG and _DIVERGING.unpack_from(content)[1] >= 0:
                self.diverging.append(part[0])
        return *part, aborted, replica, records

    def _aborted(self, numbers: Iterable[int]) -> Iterable[tuple[Any, ...]]:
        for _ in numbers:
            yield self.read(_ABORTED)
            self.skip_tags()
