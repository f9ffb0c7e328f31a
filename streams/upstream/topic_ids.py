"""What the brokers say of topics, their ids included.

A deleted and recreated topic starts at offset 0 again, so whoever remembers offsets needs the topic's
id beside them. aiokafka 0.14 stops at version 5 of the Metadata request and knows no ids; this module
speaks version 12 (Kafka 3.1 and newer) on aiokafka's own connections.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, ClassVar

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    for_code,
)
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from streams.upstream.clients import ask, client_of

_METADATA = 3
_ID_LENGTH = 22
_NO_ID = bytes(16)
_READ, _WRITE = 3, 4  # bits of the set of authorised operations, after Kafka's AclOperation

#: Error of a topic that is not there.
UNKNOWN_TOPIC = "UNKNOWN_TOPIC_OR_PARTITION"
#: Error of a topic that may not be seen.
NOT_AUTHORISED = "TOPIC_AUTHORIZATION_FAILED"


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """One topic as a broker describes it.

    Attributes:
        name: the topic.
        topic_id: 22 characters of base64url, as Kafka prints it; empty when ``error`` is set.
        partitions: number of partitions.
        replication: replicas of the partition that has fewest.
        error: Kafka's name of the error, such as ``UNKNOWN_TOPIC_OR_PARTITION``, or None.
        leaderless: partitions that have no leader just now.
        may_read: whether this user may read the topic.
        may_write: whether this user may write to it.
        leader_epochs: of each partition, the number of its present leader among all it had.
    """

    name: str
    topic_id: str
    partitions: int
    replication: int
    error: str | None = None
    leaderless: int = 0
    may_read: bool = True
    may_write: bool = True
    leader_epochs: Mapping[int, int] = field(default_factory=dict)


class _Uuid(AbstractType):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        if len(value) != len(_NO_ID):
            raise ValueError(f"a topic id has 16 bytes, not {len(value)}")
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        value = data.read(len(_NO_ID))
        if len(value) != len(_NO_ID):
            raise ValueError("Buffer underrun decoding a topic id")
        return value


class _MetadataResponse(Response):
    API_KEY = _METADATA
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = _METADATA
    API_VERSION = 12
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):
    API_KEY: ClassVar[int] = _METADATA

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        topics: list[tuple[bytes, str, dict[int, bytes]]] = [(_NO_ID, name, {}) for name in self._names]
        # Never let a broker create a topic with its defaults because somebody asked for it.
        return request_struct_class(topics, False, True, {})


async def fetch_topics(client_or_admin: Any, names: Iterable[str]) -> dict[str, TopicDescription]:
    """Ask a broker for topics; no topic is created by asking.

    Args:
        client_or_admin: a started ``AIOKafkaClient``, or a consumer, producer or admin client.
        names: topics to ask for.

    Returns:
        One description for each name; one that is not there, or may not be seen, has ``error`` set.

    Raises:
        aiokafka.errors.KafkaError: no known broker answers.
        NotImplementedError: the brokers are older than Kafka 3.1.
    """
    wanted = tuple(dict.fromkeys(names))
    client = client_of(client_or_admin)
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    random.shuffle(nodes)
    failure: KafkaError = NodeNotReadyError("no broker is known yet")
    for node in nodes:
        try:
            return _described(await ask(client, node, _MetadataRequest(wanted)), wanted)
        except (NodeNotReadyError, KafkaConnectionError, RequestTimedOutError) as error:
            failure = error
    raise failure


def commit_note(
    topic_id: str, never_read: int, life: str = "", written: int = -1, leader_epoch: int = -1
) -> str:
    """What is committed with an offset; earlier versions read the first two of it.

    Args:
        topic_id: of its topic.
        never_read: how many records below it nobody read.
        life: name of the source's life, where it is not the first.
        written: changelog offset of the last row that was written before; -1 where it is not known.
        leader_epoch: of the record before the offset; -1 where it is not known.
    """
    numbers = ["" if number < 0 else f"{number}" for number in (written, leader_epoch)]
    return "+".join([topic_id, f"{never_read or ''}", life, *numbers]).rstrip("+")


def life_of(note: str | None) -> str:
    """Name of the source's life that a committed offset is of; empty for the first, or where none is said."""
    return _parts(note)[2]


def written_of(note: str | None) -> int:
    """Changelog offset up to which rows were there when an offset was committed; -1 where none is said."""
    written = _parts(note)[3]
    return int(written) if written.isdecimal() else -1


def epoch_of(note: str | None) -> int:
    """Leader epoch of the record before a committed offset; -1 where none is said."""
    epoch = _parts(note)[4]
    return int(epoch) if epoch.isdecimal() else -1


def _parts(note: str | None) -> list[str]:
    return [*(note or "").split("+"), "", "", "", ""][:5]


def is_committed_of(note: str | None, topic_id: str) -> bool:
    """Whether a committed offset is one of the topic with this id, by what was committed with it.

    What was committed without an id, by an earlier version or a tool, is taken for one of the present topic.
    """
    found = (note or "").partition("+")[0]
    return len(found) != _ID_LENGTH or found == topic_id


def never_read_of(note: str | None) -> int:
    """How many records below a committed offset nobody read, by what was committed with it."""
    found, number, *_ = _parts(note)
    return int(number) if len(found) == _ID_LENGTH and number.isdecimal() else 0


def error_name(code: int) -> str | None:
    """Kafka's name for an error code; None for 0."""
    if code == 0:
        return None
    found = for_code(code)
    return str(found.message) if found.errno == code else f"error {code}"


def _described(response: Any, wanted: tuple[str, ...]) -> dict[str, TopicDescription]:
    found = {name: TopicDescription(name, "", 0, 0, UNKNOWN_TOPIC) for name in wanted}
    for code, name, topic_id, _, partitions, operations, _ in response.topics:
        # Without an authorizer a broker sets every operation; where it does not tell, the sign bit.
        known = operations >= 0
        found[name] = TopicDescription(
            name=name,
            topic_id="" if topic_id == _NO_ID else base64.urlsafe_b64encode(topic_id)[:22].decode("ascii"),
            partitions=len(partitions),
            replication=min((len(replicas) for _, _, _, _, replicas, *_ in partitions), default=0),
            error=error_name(code),
            leaderless=sum(leader < 0 for _, _, leader, *_ in partitions),
            may_read=not known or bool(operations >> _READ & 1),
            may_write=not known or bool(operations >> _WRITE & 1),
            leader_epochs={number: epoch for _, number, _, epoch, *_ in partitions},
        )
    return found
