"""The thread of the group's member: what is asked of aiokafka's consumer there, and when it must not answer.

Lanes of our own fetch the notifications, so it pauses their partitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import aiokafka
from aiokafka.errors import (
    CorruptRecordException,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.cancellation import end
from streams.upstream.committed import Committed, committed_of
from streams.upstream.connections import connect, disconnect
from streams.upstream.corrupt_batches import CorruptChangelogError
from streams.upstream.instance_watch import InstanceWatch
from streams.upstream.refused_fetches import rest_after_refusals
from streams.upstream.topic_ids import fetch_topics
from streams.upstream.whole_assignment import WholeAssignment, leave

#: Seconds between two tries to ask for topics.
_AGAIN_S = 0.5


class TopicGoneError(KafkaError):
    """An offset cannot be committed, because its topic is not there; aiokafka would try again for ever."""


async def _do_commit_offsets(commit: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    try:
        await commit(*arguments)
    except UnknownTopicOrPartitionError as error:
        raise TopicGoneError(*error.args) from error


class PausingListener(driver.ConsumerRebalanceListener):
    """Pauses what lanes fetch, before Faust sees a new assignment."""

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Give up calls for records of the assignment before, and pause."""
        assigned = set(assigned)
        thread = self._thread
        await thread.give_up_fetches()
        coordinator = thread.app.coordinator
        lanes = [tp for tp in assigned if coordinator.fetches(tp.topic)]
        if lanes:
            thread._ensure_consumer().pause(*lanes)
        await super().on_partitions_assigned(assigned)


def _check_that_brokers_are_known(consumer: Any) -> None:
    """Raise when the broker that answered knows of none, not even of itself: it has only just come back.

    aiokafka takes that for an answer, and its task that would join the group ends at once: the worker would
    wait for ever.
    """
    if not consumer._client.cluster.brokers():
        raise KafkaConnectionError("the broker that answered knows of no broker")


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka's consumer of the group runs."""

    instance_watch: InstanceWatch | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._fetches: set[asyncio.Future[Any]] = set()
        #: Counts the changes of where fetching goes on.
        self._moves = 0
        #: As aiokafka has it, and as Faust does; set together, for two threads ask.
        self._assignment: tuple[Any, frozenset[TP]] = None, frozenset()
        #: Requests to commit that are under way.
        self._commits: set[asyncio.Task[None]] = set()
        #: Whether the commit under way was refused for some of its topics.
        self._refused = False

    async def on_start(self) -> None:
        """Connect; watch over the instance id from the first request on: nothing is subscribed to yet."""
        connected = await connect(self._connect, lambda: not self.app.should_stop)
        if not connected:
            return
        rest_after_refusals(self._consumer)
        coordinator = self._consumer._coordinator
        WholeAssignment(self.app, coordinator)
        coordinator._do_commit_offsets = partial(self._committing, coordinator._do_commit_offsets)
        if self._consumer._group_instance_id is not None:
            self.instance_watch = InstanceWatch(self._consumer._coordinator, self._fenced)

    async def _connect(self) -> None:
        try:
            await super().on_start()  # with a client of its own each time
            _check_that_brokers_are_known(self._consumer)
        except BaseException:
            await disconnect(self._consumer)
            raise

    async def on_thread_stop(self) -> None:
        """Disconnect so that the thread ends, also while no broker answers."""
        await super(driver.AIOKafkaConsumerThread, self).on_thread_stop()
        # aiokafka shields them: whoever waits for one may have been cancelled, while it goes on until its
        # connection is closed. asyncio would log that nobody heard of that.
        await end(*self._commits)
        if self._consumer is not None:
            await disconnect(self._consumer)

    def close(self) -> None:
        """Leave it to `on_thread_stop`.

        Faust calls this where an assignment comes while it stops. Its own closes the connections from another
        thread than theirs and marks the consumer as closed, so that nobody left the group: for the session
        timeout nobody worked on the partitions that this member had just got, and a process crashed.
        """

    def _stopped_set(self) -> None:
        # Where the thread has failed, its loop may be closed before somebody stops it: then nobody waits.
        if not self.thread_loop.is_closed():
            super()._stopped_set()

    def assignment(self) -> frozenset[TP]:
        """The current assignment.

        Faust makes the set anew at each call, and a commit calls it for each partition: with 64 partitions a
        topic that held all threads for 40 ms.
        """
        assigned = self._ensure_consumer().assignment()
        known, assignment = self._assignment
        if assigned is not known:  # aiokafka has the same one until it changes
            assignment = frozenset(driver.ensure_TPset(assigned))
            self._assignment = assigned, assignment
        return assignment

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP] | None, *args: Any, **options: Any
    ) -> Any:
        """Take records of what was asked for, unless meanwhile fetching has moved elsewhere.

        At a rebalance Faust cancels only who waits for them. The call itself goes on in this thread for up to
        a second, on a set that by then names the partitions of the next assignment: what it took of a
        changelog, out of sight of the recovery that had just begun to read it, nobody got. That recovery then
        waited for ever, or went on with whatever was written later.
        """
        asked = None if active_partitions is None else frozenset(active_partitions)
        if asked is not None and not asked:
            return {}  # to aiokafka it would mean all
        moves = self._moves
        fetch = asyncio.ensure_future(super()._fetch_records(consumer, asked, *args, **options))
        self._fetches.add(fetch)
        try:
            await asyncio.wait([fetch])
        finally:
            self._fetches.discard(fetch)
            fetch.cancel()
        if fetch.cancelled():
            return {}
        try:
            records = fetch.result()
        except CorruptRecordException as error:
            self.app.loop.call_soon_threadsafe(self.app.fail, CorruptChangelogError(error))
            await asyncio.sleep(_AGAIN_S)  # it would be raised again at once, until the worker has ended
            return {}
        return records if moves == self._moves else {}

    async def give_up_fetches(self) -> None:
        """End the calls that wait for records: where to read is about to change. Call it in the thread."""
        self._moves += 1
        fetches = list(self._fetches)
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        await self.give_up_fetches()
        await super()._seek_wait(consumer, partitions)

    async def rest(self, tps: set[TP], generation: int) -> None:
        """Fetch ``tps`` no more while the assignment is that of ``generation``; a later one begins anew."""
        await self.call_thread(self._rest, tps, generation)

    async def _rest(self, tps: set[TP], generation: int) -> None:
        consumer = self._ensure_consumer()
        if consumer._coordinator.generation == generation:
            consumer.pause(*(tp for tp in consumer.assignment() if tp in tps))

    async def committed_by_id(self, tps: Collection[TP]) -> Committed:
        """What the group has committed of topics that are there now, not of earlier ones of their names."""
        committed: Committed = await self.call_thread(self._committed_by_id, tps)
        return committed

    async def _committed_by_id(self, tps: Collection[TP]) -> Committed:
        consumer = self._ensure_consumer()
        while True:
            try:
                described = await fetch_topics(consumer, {tp.topic for tp in tps})
                break
            except KafkaError:
                if self.app.should_stop:
                    raise
            await asyncio.sleep(_AGAIN_S)
        found = await consumer._coordinator.fetch_committed_offsets(list(tps))
        return committed_of(described, {TP(*tp): each for tp, each in found.items()})

    async def asked(self, question: Callable[[Any, Any], Awaitable[Any]], about: Any) -> Any:
        """What the leaders of partitions that are assigned answer; asked again while they cannot be.

        Args:
            question: gets the client and ``about``; raises ``KafkaError`` when there is no answer just now.
            about: partitions, and what is asked of each.

        Returns:
            The answer; nothing by partition when the assignment ended, or the worker is to stop, before.
        """
        return await self.call_thread(self._asked, question, about)

    async def _asked(self, question: Callable[[Any, Any], Awaitable[Any]], about: Any) -> Any:
        consumer = self._ensure_consumer()
        generation = consumer._coordinator.generation
        while True:
            try:
                return await question(consumer._client, about)
            except KafkaError:
                if self.app.should_stop or consumer._coordinator.generation != generation:
                    return {}
            await asyncio.sleep(_AGAIN_S)
            await consumer._client.force_metadata_update()

    async def ends(self, tps: Collection[TP]) -> dict[TP, int]:
        """Ends of partitions that are assigned; nothing when the assignment ended before they were told."""
        ends = await self.asked(self._ends, tps)
        return {TP(*tp): end for tp, end in ends.items()}

    async def _ends(self, _: Any, tps: Collection[TP]) -> Any:
        return await self._ensure_consumer().end_offsets(list(tps))

    async def rejoin(self, *, anew: bool) -> None:
        """Join the group again.

        Args:
            anew: as a new member, so that the whole group gets a new assignment. A member with an instance
                id would be handed its old one else.
        """
        await self.call_thread(self._rejoin, anew)

    async def _rejoin(self, anew: bool) -> None:
        coordinator = self._ensure_consumer()._coordinator
        # The leader assigns by the metadata that it has, which may be five minutes old.
        await coordinator._client.force_metadata_update()
        if anew:
            await leave(coordinator)
        coordinator.request_rejoin()

    def _committing(self, commit: Callable[..., Awaitable[None]], *arguments: Any) -> asyncio.Task[None]:
        task = asyncio.ensure_future(_do_commit_offsets(commit, *arguments))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return task

    def _fenced(self) -> None:
        self.app.loop.call_soon_threadsafe(self.app.instance_taken)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        if self.instance_watch is not None and self.instance_watch.fenced:
            return False
        self._refused = False
        return bool(await super()._commit(offsets)) and not self._refused

    async def _commit_with_ids(
        self, commit: Callable[[Any], Awaitable[None]], offsets: Mapping[Any, Any]
    ) -> None:
        """Commit each offset with the id of its topic, where it knows it; all that can be is committed."""
        try:
            await commit(
                {
                    tp: OffsetAndMetadata(int(each.offset), getattr(each.offset, "note", each.metadata))
                    for tp, each in offsets.items()
                }
            )
        except (TopicGoneError, TopicAuthorizationFailedError):
            # Whoever watches the topics says so. Faust would end the worker.
            self._refused = True

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes 1.5 s, for which a drained partition waits when others are idle.
        consumer._fetch_max_wait_ms = 200
        # And 0.2 s, after which it looks at each partition although nothing has happened to any.
        consumer._consumer_timeout = 5.0
        consumer.commit = partial(self._commit_with_ids, consumer.commit)
        return consumer

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Skip: Faust's detector compares two clocks, and paused partitions look stalled to it."""
