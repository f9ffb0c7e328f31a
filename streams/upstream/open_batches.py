"""Adding to a batch that aiokafka's producer has open already. Uses private parts, each with a test.

``AIOKafkaProducer.send`` (0.14) waits for the topic's metadata, chooses a partition, and asks for the running
loop, all of which took five times as long as what is done here. A record that finds no open batch with room
for it must go through ``send``, which opens one; records that are packed have batches opened for them here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import aiokafka
from aiokafka import TopicPartition

from streams.packed_records import PackedRecords
from streams.upstream.packed_batches import PackedBatch

#: Keys whose partition is remembered.
_MOST_REMEMBERED: Final = 10_000


class OpenBatches:
    """The batches that a started producer has open."""

    def __init__(self, producer: aiokafka.AIOKafkaProducer) -> None:
        self._producer = producer
        self._make_future = asyncio.get_running_loop().create_future
        #: What the partitions were chosen from; aiokafka has another dictionary when it looks again.
        self._known: Any = None
        #: Topic -> key -> partition, and how many keys that are.
        self._partitions: defaultdict[str, dict[bytes, int]] = defaultdict(dict)
        self._remembered = 0
        #: Batch -> the future of what was put into it.
        self._shared: dict[Any, asyncio.Future[Any]] = {}

    def put(
        self, topic: str, value: bytes, key: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> asyncio.Future[Any] | None:
        """Add a record to the open batch of its key's partition.

        Returns:
            The future of the batch, the same for all records put into it (one for each record would cost
            three times as much); None when nothing was done.
            It is not the client's own, whose end the client has more to do with: whoever gives the client up
            may end it.
        """
        batch = self._batch(topic, key)
        if batch is None:
            return None
        if batch._builder.append(timestamp=None, key=key, value=value, headers=_listed(headers)) is None:
            return None
        return self._shared.get(batch) or self._share(batch)

    def put_packed(
        self, records: PackedRecords, first: int, end: int
    ) -> list[tuple[asyncio.Future[Any], list[int]]]:
        """Put packed records from index ``first`` to before ``end`` into batches, and open those that miss.

        Several batches may then wait for a partition; the client sends them one after the other.

        Returns:
            The future of each batch, as `put` returns it, and the indexes of its records, which are in order;
            nothing when nothing was done: the client is closed, compresses, or does not know the topic.
        """
        topic = records.topic
        if self._batches() is None or topic not in self._known:
            return []
        if self._producer._message_accumulator._compression_type:
            return []
        keys = records.keys[first:end]
        found: list[Any] = list(map(self._partitions[topic].get, keys))
        if None in found:
            found = [self._partition(topic, key) for key in keys]
        by_partition: dict[int, list[int]] = {partition: [] for partition in dict.fromkeys(found)}
        for index, partition in enumerate(found, first):
            by_partition[partition].append(index)
        put = []
        for partition, indexes in by_partition.items():
            place = TopicPartition(topic, partition)
            packed = list(map(records.records.__getitem__, indexes))
            done = 0
            while done < len(packed):
                batch = self._packed_batch(place)
                if added := batch._builder.add(packed, done):
                    future = self._shared.get(batch) or self._share(batch)
                    put.append((future, indexes[done : done + added]))
                    done += added
        return put

    def _packed_batch(self, place: TopicPartition) -> Any:
        """The last batch of a partition that takes packed records; another is opened when there is none."""
        accumulator = self._producer._message_accumulator
        open_ = accumulator._batches.get(place)
        if open_:
            builder = open_[-1]._builder
            if isinstance(builder, PackedBatch) and not builder.closed():
                return open_[-1]
            builder.close()
        return accumulator._append_batch(PackedBatch(accumulator._batch_size), place)

    def _share(self, batch: Any) -> asyncio.Future[Any]:
        future = self._shared[batch] = self._make_future()
        batch.future.add_done_callback(partial(self._settle, batch))
        return future

    def _settle(self, batch: Any, told: asyncio.Future[Any]) -> None:
        future = self._shared.pop(batch)
        if told.cancelled():
            future.cancel()
        elif (error := told.exception()) is None:
            if not future.done():
                future.set_result(told.result())
        elif not future.done():
            future.set_exception(error)

    def _batches(self) -> Any:
        """Partition -> the batches that wait for it, the open one last; None when nothing may be added."""
        producer = self._producer
        accumulator = producer._message_accumulator
        if accumulator._closed or accumulator._exception is not None:
            return None
        if producer._metadata._partitions is not self._known or self._remembered > _MOST_REMEMBERED:
            self._known = producer._metadata._partitions
            self._partitions.clear()
            self._remembered = 0
        return accumulator._batches

    def _batch(self, topic: str, key: bytes) -> Any:
        """The batch that is open for a key; None when there is none."""
        batches = self._batches()
        if batches is None or topic not in self._known:
            return None
        open_ = batches.get(TopicPartition(topic, self._partition(topic, key)))
        return open_[-1] if open_ else None

    def _partition(self, topic: str, key: bytes) -> int:
        """The partition of a key of a topic that is known, as ``send`` chooses it."""
        partition = self._partitions[topic].get(key)
        if partition is None:
            chosen = self._producer._partition(topic, None, None, None, key, None)
            partition = self._partitions[topic][key] = int(chosen)
            self._remembered += 1
        return partition


def _listed(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """What the client's compiled parts take."""
    return headers if isinstance(headers, list) else list(headers)
