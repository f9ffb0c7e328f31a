"""Messages of a fetch by topic id: requests and answers of version 13. Uses private parts of aiokafka.

aiokafka 0.14 has none later than version 11, which names topics by their name alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from io import BytesIO
from struct import Struct, error
from typing import Any, ClassVar, Final

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.types import CompactArray, CompactString, Int8, Int32, Schema, TaggedFields

from streams.upstream.answer_bytes import AnswerBytes

ID_BYTES: Final = 16
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
        answer = _Answer(data)
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


class FetchById(Request[_FetchByIdStruct]):
    """A request of aiokafka for one topic, which names its id instead."""

    API_KEY: ClassVar[int] = FetchRequest_v11.API_KEY

    def __init__(self, request: FetchRequest, topic: str, topic_id: bytes, epochs: Mapping[int, int]) -> None:
        self._request = request
        self._wanted = [
            (topic_id, [(number, at, most, epochs.get(number, -1)) for number, at, most in wanted])
            for name, wanted in request.topics
            if name == topic
        ]

    def leave_out(self, partitions: Collection[int]) -> bool:
        """Do not ask for some partitions; returns whether there are others."""
        left = [
            (topic_id, [each for each in wanted if each[0] not in partitions])
            for topic_id, wanted in self._wanted
        ]
        self._wanted = [(topic_id, wanted) for topic_id, wanted in left if wanted]
        return bool(self._wanted)

    def build(self, request_struct_class: type[_FetchByIdStruct]) -> _FetchByIdStruct:
        """As aiokafka asks for it, for the version that it has chosen."""
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


class _Answer(AnswerBytes):
    def __init__(self, data: BytesIO | bytes) -> None:
        super().__init__(data)
        self.diverging: list[int] = []

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

    def skip_tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self.cut(self.varint())

    def topic(self) -> tuple[bytes, list[Any]]:
        topic_id = self.cut(ID_BYTES)
        parts = [self._partition() for _ in range(self.varint() - 1)]
        self.skip_tags()
        return topic_id, parts

    def _partition(self) -> tuple[Any, ...]:
        part = self.read(_PART)
        transactions = self.varint() - 1
        aborted = None if transactions < 0 else list(self._aborted(range(transactions)))
        (replica,) = self.read(_REPLICA)
        length = self.varint() - 1
        records = self.cut(max(length, 0))
        for _ in range(self.varint()):
            tag, content = self.varint(), self.cut(self.varint())
            if tag == _DIVERGING_TAG and _DIVERGING.unpack_from(content)[1] >= 0:
                self.diverging.append(part[0])
        return *part, aborted, replica, records

    def _aborted(self, numbers: Iterable[int]) -> Iterable[tuple[Any, ...]]:
        for _ in numbers:
            yield self.read(_ABORTED)
            self.skip_tags()
