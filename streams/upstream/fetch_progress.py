"""Up to when a consumer has seen all that lies in its partitions. Uses private parts of aiokafka.

A consumer that gets nothing may have nothing to get, or a broker that does not answer. Only an answer tells:
each says where its partitions end, and holds for the moment at which it was asked for, or later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka.protocol.fetch import FetchRequest


class FetchProgress:
    """Watches the fetches of one topic; to be made once the consumer has started.

    Args:
        consumer: of aiokafka.
        seen: partition -> when it had been seen to its end, by ``clock``; filled here, and kept by the caller
            when the consumer is replaced.
        clock: seconds, only for differences.
        topic: which one, where the consumer reads several; each then has an object of its own.
    """

    def __init__(
        self, consumer: Any, seen: dict[int, float], clock: Callable[[], float], topic: str | None = None
    ) -> None:
        self._seen = seen
        self._clock = clock
        self._topic = topic
        #: Partition -> its end, and when that was asked for; until the records before it are taken in.
        self._ends: dict[int, tuple[int, float]] = {}
        client = consumer._client
        self._send = client.send
        client.send = self._watched_send

    async def _watched_send(self, node_id: Any, request: Any, **options: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, **options)
        asked_at = self._clock()
        answer = await self._send(node_id, request, **options)
        asked = {
            number: offset
            for topic, wanted in request.topics
            if self._topic in (None, topic)
            for number, offset, *_ in wanted
        }
        for topic, parts in answer.topics:
            if self._topic not in (None, topic):
                continue
            for number, error, end, *_ in parts:
                if error:
                    continue
                if asked[number] >= end:
                    self._ends.pop(number, None)
                    self._saw(number, asked_at)
                else:
                    self._ends[number] = end, asked_at
        return answer

    def taken(self, partition: int, next_offset: int) -> None:
        """All records of ``partition`` before ``next_offset`` are taken in."""
        end, asked_at = self._ends.get(partition, (None, 0.0))
        if end is not None and next_offset >= end:
            del self._ends[partition]
            self._saw(partition, asked_at)

    def _saw(self, partition: int, asked_at: float) -> None:
        self._seen[partition] = max(asked_at, self._seen.get(partition, asked_at))
