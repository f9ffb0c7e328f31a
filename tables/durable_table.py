"""A Faust table that is written by partition, and whose writes are durable when they return."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from streams.broker.producers.confirmed import ConfirmedProducer
from streams.log_lines import BOUNDED
from streams.outgoing import Outgoing
from streams.upstream.stores import TablePartition
from tables.rows import Change, VersionedRows

log = logging.getLogger(__name__)

#: Rows that are written together.
_TOGETHER: Final = 200


class DurableTable:
    """Writes go to the changelog first, and reach the local store only when the brokers have them.

    So the local store is never ahead of the changelog, and what is lost with a machine was never counted.
    Faust recovers the table from the same changelog.

    Args:
        table: the Faust table.
        producer: sends to the changelog.
        writer: name of this process among all that ever wrote; part of every key it writes.
            Each time that a partition's rows are opened they get a name of their own, for between two
            times another worker may have owned the partition, and may yet delete what it superseded.
    """

    def __init__(self, table: Any, producer: ConfirmedProducer, writer: str) -> None:
        self._table = table
        self._producer = producer
        self._writer = writer
        self._opened = 0
        #: A partition's writes reach the local store in the order of the changelog.
        self._locks: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Partition -> the last offset that was written to in this assignment. A log that goes on before it
        #: has lost its end.
        self._written: dict[int, int] = {}
        self.changelog_topic: str = table.changelog_topic.get_topic_name()

    def written(self, partition: int) -> int:
        """Changelog offset of the last row that was written in this assignment; -1 before the first."""
        return self._written.get(partition, -1)

    def rows(self, partition: int) -> VersionedRows:
        """The rows of one partition, to be asked for once in each assignment."""
        self._opened += 1
        self._written.pop(partition, None)
        return VersionedRows(TablePartition(self._table, partition), f"{self._writer}-{self._opened}")

    async def write(self, partition: int, changes: Sequence[Change]) -> None:
        """Make ``changes`` durable, in order.

        Raises:
            PartitionGoneError: the partition was revoked meanwhile; the changelog may hold the changes.
        """
        if not changes:
            return
        store = TablePartition(self._table, partition)
        async with self._locks[partition]:
            before = self._written.get(partition, -1)
            offsets = await self._send(partition, changes)
            store.apply(changes, offsets)
            if min(offsets) <= before:
                await self._write_all_again(partition, store)

    async def _send(self, partition: int, changes: Sequence[Change]) -> list[int]:
        sent = await self._producer.send(
            [Outgoing(self.changelog_topic, value, key, partition) for key, value in changes]
        )
        offsets = [metadata.offset for metadata in sent]
        self._written[partition] = max(offsets)
        return offsets

    async def _write_all_again(self, partition: int, store: TablePartition) -> None:
        """The changelog lost its end under this worker, whose local copy has all rows: write them again."""
        log.warning(
            "%s, partition %d, lost its end: all its rows are written again.",
            self.changelog_topic,
            partition,
            extra=BOUNDED,  # one a partition
        )
        rows = list(store.rows())
        for start in range(0, len(rows), _TOGETHER):
            some = rows[start : start + _TOGETHER]
            offsets = await self._send(partition, some)
        if rows:
            store.holds(some[-1], offsets[-1])
