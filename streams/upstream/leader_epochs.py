"""Where leader epochs of a partition end, as its leader tells (KIP-320). Uses private parts of aiokafka.

Each leader of a partition has a number of its own, its epoch, which Kafka keeps with every batch. When a log
loses its end, the records that come later at the same offsets are of a later epoch. So whoever remembers the
epoch of what was read last can ask the leader where that epoch ends, and sees whether it read more.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, NodeNotReadyError, TopicAuthorizationFailedError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Int64, Schema, String
from faust.types import TP

from streams.upstream.clients import ask

_KEY: Final = 23
#: Who asks: a consumer.
_CONSUMER: Final = -1

#: The largest epoch that the leader knows up to the one that was asked for, and the offset at which it ends;
#: -1 and -1 where it knows none, or was asked for one that is still to come.
EpochEnd = tuple[int, int]


class _EpochEndsResponse(Response):
    API_KEY = _KEY
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_epoch", Int32),
                        ("end_offset", Int64),
                    ),
                ),
            ),
        ),
    )


class _EpochEndsStruct(RequestStruct):
    API_KEY = _KEY
    API_VERSION = 3
    RESPONSE_TYPE = _EpochEndsResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(("partition", Int32), ("current_leader_epoch", Int32), ("leader_epoch", Int32)),
                ),
            ),
        ),
    )


class _EpochEndsRequest(Request[_EpochEndsStruct]):
    API_KEY: ClassVar[int] = _KEY

    def __init__(self, epochs: Mapping[TP, int]) -> None:
        self._epochs = epochs

    def build(self, request_struct_class: type[_EpochEndsStruct]) -> _EpochEndsStruct:
        topics = defaultdict(list)
        for tp, epoch in self._epochs.items():
            topics[tp.topic].append((tp.partition, -1, epoch))
        return request_struct_class(_CONSUMER, list(topics.items()))


async def epoch_ends(client: Any, epochs: Mapping[TP, int]) -> dict[TP, EpochEnd]:
    """Ask the leaders of partitions where an epoch of each ends.

    Args:
        client: the ``AIOKafkaClient`` of a consumer of these topics.
        epochs: one for each partition.

    Returns:
        The answers; none for a topic that may not be read.

    Raises:
        KafkaError: some leader cannot be asked just now.
    """
    by_leader: dict[int, dict[TP, int]] = defaultdict(dict)
    for tp, epoch in epochs.items():
        leader = client.cluster.leader_for_partition(TopicPartition(*tp))
        if leader is None or leader < 0:
            raise NodeNotReadyError(f"no leader of {tp.topic}, partition {tp.partition}, is known")
        by_leader[leader][tp] = epoch
    answers = await asyncio.gather(
        *(ask(client, node, _EpochEndsRequest(some)) for node, some in by_leader.items())
    )
    found: dict[TP, EpochEnd] = {}
    for answer in answers:
        for topic, parts in answer.topics:
            for code, partition, epoch, end in parts:
                if code == TopicAuthorizationFailedError.errno:
                    continue
                if code:
                    raise cast("type[KafkaError]", for_code(code))(f"{topic}, partition {partition}")
                found[TP(topic, partition)] = epoch, end
    return found
