"""A Faust table that is written by partition, and whose writes are durable when they return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.broker.producers.confirmed import ConfirmedProducer
from streams.outgoing import Outgoing
from streams.upstream.stores import TablePartition
from tables.rows import Change, VersionedRows


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
        self.changelog_topic: str = table.changelog_topic.get_topic_name()

    def rows(self, partition: int) -> VersionedRows:
        """The rows of one partition, to be asked for once in each assignment."""
        self._opened += 1
        return VersionedRows(TablePartition(self._table, partition), f"{self._writer}-{self._opened}")

    async def write(self, partition: int, changes: Sequence[Change]) -> None:
        """Make ``changes`` durable, in order.

        Raises:
            PartitionGoneError: the partition was revoked meanwhile; the changelog may hold the changes.
        """
        if not changes:
            return
        store = TablePartition(self._table, partition)
        sent = await self._producer.send(
            [Outgoing(self.changelog_topic, value, key, partition) for key, value in changes]
        )
        store.apply(changes, [metadata.offset for metadata in sent])
