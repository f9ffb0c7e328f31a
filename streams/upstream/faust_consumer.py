"""The member of the consumer group: assignment, changelogs, internal topics, and commits of what is durable.

It fetches no notifications: lanes of our own do, so it pauses their partitions.

An offset is committed with the id of its topic, since a topic that was deleted and made again has the same
name: what was committed of the one says nothing of the other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast

from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.upstream.committed import NotedOffset
from streams.upstream.coordinator import Coordinator
from streams.upstream.faust_consumer_thread import ConsumerThread, PausingListener
from streams.upstream.leader_epochs import EpochEnd, epoch_ends
from streams.upstream.store_check import PlacedKeyAndValue, records_at
from streams.upstream.whole_assignment import Partitions, assigned_in_group


class Consumer(driver.Consumer):
    """Group member: assignment, changelogs, internal topics, and commits of what is durable."""

    RebalanceListener = PausingListener

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Ids of the managed topics when their committed offsets were last asked for.
        self.topic_ids: Mapping[str, str] = {}
        #: How many records below these offsets nobody read.
        self.never_read: Mapping[TP, int] = {}
        #: Names of the lives of sources that these offsets are of, where it is not the first.
        self.lives: Mapping[TP, str] = {}
        self.leader_epochs: Mapping[TP, int] = {}
        #: Changelog offsets up to which rows were there when these offsets were committed.
        self.written: Mapping[TP, int] = {}
        #: Leader epochs of the records before these offsets.
        self.last_epochs: Mapping[TP, int] = {}

    @property
    def _coordinator(self) -> Coordinator:
        return cast(Coordinator, self.app.coordinator)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def rest(self, tps: set[TP], generation: int) -> None:
        """Fetch ``tps`` no more until the next assignment, unless it has come already."""
        await self._thread.rest(tps, generation)

    async def rejoin(self, *, anew: bool) -> None:
        """Join the group again; ``anew`` as a new member, so that the whole group gets a new assignment."""
        await self._thread.rejoin(anew=anew)

    async def records_at(self, places: Mapping[TP, int]) -> dict[TP, PlacedKeyAndValue | None]:
        """The first record at or behind each of these offsets; None where there is none."""
        found: dict[TP, PlacedKeyAndValue | None] = await self._thread.asked(records_at, places)
        return found

    async def epoch_ends(self, epochs: Mapping[TP, int]) -> dict[TP, EpochEnd]:
        """Where a leader epoch of each of these partitions ends; none of topics that may not be read."""
        found: dict[TP, EpochEnd] = await self._thread.asked(epoch_ends, epochs)
        return found

    async def ends(self, tps: Collection[TP]) -> dict[TP, int]:
        """Ends of partitions that are assigned."""
        ends: dict[TP, int] = await self._thread.ends(tps)
        return ends

    async def begin_again(self, offsets: Mapping[TP, int]) -> None:
        """Commit offsets that lie before those that are committed, so that records are read again."""
        notes = self._coordinator.commit_note
        await self._thread.commit({tp: NotedOffset(at, notes(tp, at)) for tp, at in offsets.items()})
        self._committed_offset.update(offsets)

    def forget_committed(self, tps: Iterable[TP]) -> None:
        """What is committed of these is of an earlier life of theirs: any offset may be committed next."""
        for tp in tps:
            self._committed_offset[tp] = None

    def given(self) -> frozenset[TP]:
        """The partitions that this worker was given; none before it has joined the group."""
        try:
            return frozenset(self.assignment())
        except ConsumerNotStarted:
            return frozenset()

    def assigned_in_group(self) -> Partitions:
        """What the present assignment gives to any member of the group, by topic."""
        return assigned_in_group(self.app.assignor)

    async def perform_seek(self) -> None:
        """Learn what is committed; of managed topics, only what is of the topics that are there now."""
        await super().perform_seek()
        managed = [tp for tp in self.assignment() if self._coordinator.manages(tp.topic)]
        if not managed:
            return
        committed = await self._thread.committed_by_id(managed)
        self.topic_ids, self.never_read = committed.topic_ids, committed.never_read
        self.lives, self.leader_epochs = committed.lives, committed.leader_epochs
        self.written, self.last_epochs = committed.written, committed.last_epochs
        for tp in managed:
            offset = committed.offsets.get(tp)
            self._read_offset[tp] = offset
            self._committed_offset[tp] = offset or None

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit; what could not be is offered again, which Faust would take for committed."""
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed = await super()._commit_offsets(offsets, start_new_transaction=start_new_transaction)
        if not committed:
            self._committed_offset.update(before)
        return bool(committed)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        manages = self._coordinator.manages
        return (tp for tp in super()._filter_tps_with_pending_acks(topics) if not manages(tp.topic))

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        offsets = dict(super()._filter_committable_offsets(tps))
        manages = self._coordinator.manages
        for tp in [tp for tp in self._acked if manages(tp.topic)]:
            self._acked[tp].clear()
            self._acked_index[tp].clear()
        for tp, offset in self._coordinator.committable().items():
            committed = self._committed_offset[tp]
            if offset > (committed or 0):
                offsets[tp] = NotedOffset(offset, self._coordinator.commit_note(tp, offset))
        return offsets

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._coordinator.manages(tp.topic):
            await super()._add_gap(tp, offset_from, offset_to)

    async def maybe_wait_for_commit_to_finish(self) -> bool:
        """Wait for a commit that is under way; whether there was one, and it has ended.

        Faust takes a cancellation of whoever waits here for one of that commit, and begins another commit. A
        worker that stopped while its broker was away then waited for that one for ever: the limit in
        ``wait_empty`` had been spent.
        """
        under_way = self._commit_fut
        if under_way is None:
            return False
        await asyncio.wait([under_way])
        return not under_way.cancelled()

    async def wait_empty(self) -> None:
        """Wait for work in flight, with a deadline; then flush and commit."""
        await self._coordinator.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                # Faust's does nothing beside another one, which may have begun before all was durable.
                await self.maybe_wait_for_commit_to_finish()
                await self.commit(start_new_transaction=False)
        self._unacked_messages.clear()

    async def verify_all_partitions_active(self) -> None:
        """Skip: the thread's check of a partition does nothing, and Faust waits for a timer before each."""
