"""A lane: a consumer outside any group that follows one assignment of one topic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.cancellation import end
from streams.log_lines import LimitedLog
from streams.upstream.connections import disconnect
from streams.upstream.fetch_by_id import OnDiverged, OnReset, fetch_by_id
from streams.upstream.fetch_packing import install_fetch_packing
from streams.upstream.lenient_records import install_lenient_records

#: Milliseconds that a broker may wait for records; it answers at once when there are some.
FETCH_WAIT_MS = 1000
#: Milliseconds after which the client looks at each partition although nothing has happened to any.
LOOK_MS = 5000


class Lane:
    """Connects for an assignment, fetches in a task of its own, and disconnects.

    Args:
        topic: Kafka topic.
        options: of the Kafka client.
        on_failed: called when fetching has ended by an error, after which the worker must not go on:
            it would say that it works while nothing arrives.
    """

    def __init__(
        self, topic: str, options: dict[str, Any], on_failed: Callable[[BaseException], None]
    ) -> None:
        self.topic = topic
        self._on_failed = on_failed
        self._options = options | {
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            "consumer_timeout_ms": LOOK_MS,
        }
        self._log = LimitedLog(type(self).__module__)
        self._consumer: aiokafka.AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def _connect(
        self,
        offsets: Mapping[int, int | None],
        topic_id: str | None,
        on_reset: OnReset | None = None,
        *,
        epochs: Mapping[int, int] = MappingProxyType({}),
        on_diverged: OnDiverged | None = None,
    ) -> aiokafka.AIOKafkaConsumer:
        """Connect, to read each partition from its offset; None means from its first record.

        Args:
            offsets: by partition.
            topic_id: nothing of another topic of this name is fetched; None to fetch by name.
            on_reset: called when an offset was out of range, once it is known where reading goes on.
            epochs: partition -> leader epoch of what was read last, asked at each fetch.
            on_diverged: called when the broker has other records than those that were read.
        """
        install_lenient_records()
        install_fetch_packing()
        # A consumer for each assignment: one that is unsubscribed cannot be stopped (aiokafka 0.14).
        consumer = self._consumer = aiokafka.AIOKafkaConsumer(**self._options)
        await consumer.start()
        if topic_id is not None:
            fetch_by_id(consumer, self.topic, topic_id, on_reset, epochs=epochs, on_diverged=on_diverged)
        consumer.assign([TopicPartition(self.topic, partition) for partition in offsets])
        for partition, offset in offsets.items():
            if offset is not None:
                consumer.seek(TopicPartition(self.topic, partition), offset)
        return consumer

    def _start(self, fetching: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.create_task(fetching, name=f"fetch-{self.topic}")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failed(error)

    def _warn(self, error: KafkaError) -> None:
        self._log.warning("Fetching %s failed (%r); trying again.", self.topic, error)

    async def _disconnect(self) -> None:
        # Both are kept until they have ended: a call beside this one, or after it was cancelled, waits too.
        task, consumer = self._task, self._consumer
        await end(task)
        if self._task is task:
            self._task = None
        if consumer is not None:
            await disconnect(consumer)
            if self._consumer is consumer:
                self._consumer = None
