"""A pause after a broker has refused to send a partition. Uses private parts of aiokafka, each with a test.

Where a broker does not understand what lies on its disk it answers "corrupt message" at once. aiokafka 0.14
knows what to do about a few errors, and asks again at once after any other: hundreds of times a second, for
as long as the disk is as it is. `fetch_by_id` rests such partitions for the consumers that read by topic id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import (
    NoError,
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v11

from streams.log_lines import LimitedLog

#: What aiokafka acts upon.
_KNOWN: Final = frozenset(
    error.errno
    for error in (
        NoError,
        OffsetOutOfRangeError,
        UnknownTopicOrPartitionError,
        NotLeaderForPartitionError,
        TopicAuthorizationFailedError,
    )
)
#: Seconds until a partition is asked for again.
REST_S: Final = 0.5

_log = LimitedLog(__name__, interval_s=60.0)


def rest_after_refusals(consumer: Any) -> None:
    """Let a consumer that has started ask again after a pause for a partition that a broker refused.

    Args:
        consumer: of aiokafka.
    """
    client = consumer._client
    client.send = _RestingSend(client.send)


class _RestingSend:
    """Stands in for ``AIOKafkaClient.send``: partitions that were refused are left out for a time."""

    def __init__(self, send: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        #: Topic and partition -> when to ask again.
        self._rests: dict[tuple[str, int], float] = {}

    async def __call__(self, node_id: Any, request: Any, **options: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, **options)
        asked = request
        if self._rests:
            now = self._clock()
            self._rests = {place: until for place, until in self._rests.items() if until > now}
            if self._rests and (asked := self._without_resting(request)) is None:
                await asyncio.sleep(max(0.0, min(self._rests.values()) - now))
                return FetchResponse_v11(0, 0, 0, [])
        answer = await self._send(node_id, asked, **options)
        for topic, parts in answer.topics:
            for partition, code, *_ in parts:
                if code not in _KNOWN:
                    self._refused(topic, partition, code, request)
        return answer

    def _without_resting(self, request: FetchRequest) -> FetchRequest | None:
        left = [
            (topic, [each for each in wanted if (topic, each[0]) not in self._rests])
            for topic, wanted in request.topics
        ]
        left = [(topic, wanted) for topic, wanted in left if wanted]
        if not left:
            return None
        return FetchRequest(
            request._max_wait_ms,
            request._min_bytes,
            request._max_bytes,
            request._isolation_level,
            left,
            request._rack_id,
        )

    def _refused(self, topic: str, partition: int, code: int, request: FetchRequest) -> None:
        self._rests[topic, partition] = self._clock() + REST_S
        offset = next(
            (
                each[1]
                for name, wanted in request.topics
                if name == topic
                for each in wanted
                if each[0] == partition
            ),
            -1,
        )
        _log.warning(
            "A broker does not send %s, partition %d, from offset %d on (%s): look at its log and its disks. "
            "It is asked again until it does.",
            topic,
            partition,
            offset,
            for_code(code).message,
        )
