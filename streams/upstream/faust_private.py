"""Everything that touches private parts of Faust. Each use has a test that fails when Faust changes.

What is changed, and why:

- Notification topics are fetched by lanes of our own, not by the group's consumer, which only keeps
  membership, commits, and reads changelogs and internal topics. So the group's consumer pauses them.
- Offsets of managed topics are committed from what is durable, never from what agents acked.
- Waiting for agents at a rebalance or stop has a deadline, and ends with a flush.
- Consumer and producer wait for brokers that are away when they start.
- Tables keep their rows in stores of our own (``faust_stores``).
- Recovery tells where it began and how far it is; changelogs are fetched only while it lasts, and no call of
  an earlier assignment takes records out of its sight.
- A worker whose instance id another one took over is told so, and takes it back no more (``instance_watch``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, cast

import aiokafka
import faust
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

from streams.upstream.connections import connect, disconnect
from streams.upstream.instance_watch import InstanceWatch
from streams.upstream.recovery import TableProgress
from streams.upstream.stores import CheckedStore

log = logging.getLogger(__name__)


class Coordinator(Protocol):
    """What the app's transport asks of Tocsin."""

    def fetches(self, topic: str) -> bool:
        """Whether a lane fetches ``topic``, so that the group's consumer must not."""

    def manages(self, topic: str) -> bool:
        """Whether offsets of ``topic`` are committed from what is durable."""

    def committable(self) -> Mapping[TP, int]:
        """Offsets that may be committed now: the next ones to read."""

    async def drain(self) -> None:
        """Finish what is in flight and make it durable, within the deadline."""

    async def on_revoked(self) -> None:
        """The assignment is gone; forget all state of it."""

    async def on_ready(self, assigned: set[TP], committed: Mapping[TP, int | None]) -> None:
        """Recovery is done: work may begin on the assigned partitions of notification topics."""


class BatchSchema(faust.Schema):
    """Passes values through as they are: bytes, or a batch of records."""

    def loads_value(self, app: Any, message: Any, **_options: Any) -> Any:  # noqa: ARG002
        """Return the message's value untouched."""
        return message.value


class SharedTable(faust.Table):
    """A table whose changelog is named after ``app.changelog_prefix``, and so shared by several groups.

    Faust names it after the group. What another group writes there while this one runs is not read until the
    next recovery; so each group must write rows of its own.
    """

    def _new_store_by_url(self, url: Any) -> CheckedStore:
        return CheckedStore(
            url, self.app, self, table_name=self.name, driver="rocksdict", options=self.options
        )

    def _changelog_topic_name(self) -> str:
        return f"{self.app.changelog_prefix}-{self.name}-changelog"


class _RebalanceListener(driver.ConsumerRebalanceListener):
    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        assigned = set(assigned)
        thread = self._thread
        await thread.give_up_fetches()
        coordinator = thread.app.coordinator
        lanes = [tp for tp in assigned if coordinator.fetches(tp.topic)]
        if lanes:
            thread._ensure_consumer().pause(*lanes)
        await super().on_partitions_assigned(assigned)


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    logger = driver.logger
    instance_watch: InstanceWatch | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._fetches: set[asyncio.Future[Any]] = set()
        #: Counts the changes of where fetching goes on.
        self._moves = 0
        #: As aiokafka has it, and as Faust does; set together, for two threads ask.
        self._assignment: tuple[Any, frozenset[TP]] = None, frozenset()

    async def on_start(self) -> None:
        """Connect; watch over the instance id from the first request on: nothing is subscribed to yet."""
        connected = await connect(self._connect, lambda: not self.app.should_stop)
        if connected and self._consumer._group_instance_id is not None:
            self.instance_watch = InstanceWatch(self._consumer._coordinator, self._fenced)

    async def _connect(self) -> None:
        try:
            await super().on_start()  # with a client of its own each time
        except BaseException:
            await disconnect(self._consumer)
            raise

    async def on_thread_stop(self) -> None:
        """Disconnect so that the thread ends, also while no broker answers."""
        await super(driver.AIOKafkaConsumerThread, self).on_thread_stop()
        if self._consumer is not None:
            await disconnect(self._consumer)

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
        records = fetch.result()
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

    def _fenced(self) -> None:
        self.app.loop.call_soon_threadsafe(self.app.instance_taken)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        if self.instance_watch is not None and self.instance_watch.fenced:
            return False
        return bool(await super()._commit(offsets))

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust hard-codes 1.5 s, for which a drained partition waits when others are idle.
        consumer._fetch_max_wait_ms = 200
        return consumer

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Skip: Faust's detector compares two clocks, and paused partitions look stalled to it."""


class Consumer(driver.Consumer):
    """Group member: assignment, changelogs, internal topics, and commits of what is durable."""

    logger = driver.logger
    RebalanceListener = _RebalanceListener

    @property
    def _coordinator(self) -> Coordinator:
        return cast(Coordinator, self.app.coordinator)

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def rest(self, tps: set[TP], generation: int) -> None:
        """Fetch ``tps`` no more until the next assignment, unless it has come already."""
        await self._thread.rest(tps, generation)

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
                offsets[tp] = offset
        return offsets

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._coordinator.manages(tp.topic):
            await super()._add_gap(tp, offset_from, offset_to)

    async def wait_empty(self) -> None:
        """Wait for work in flight, with a deadline; then flush and commit."""
        await self._coordinator.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self.commit(start_new_transaction=False)
        self._unacked_messages.clear()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Skip, as in the thread."""


class Producer(driver.Producer):
    """Faust's producer, which waits for brokers that are away when it starts."""

    logger = driver.logger

    async def on_start(self) -> None:
        """Connect."""
        await connect(self._connect, lambda: not self.app.should_stop)

    async def _connect(self) -> None:
        try:
            await super().on_start()
        except BaseException:
            if self._producer is not None:  # else a stop has taken it meanwhile, and closes it
                await self._producer.client.close()
            raise


class Transport(driver.Transport):
    """Faust's aiokafka transport with our consumer and producer."""

    Consumer = Consumer
    Producer = Producer


class App(faust.App):
    """A Faust app that tells the coordinator when work may begin and when it must end."""

    #: Faust's own lines about services are told apart from ours by their logger.
    logger = logging.getLogger("faust.app")
    coordinator: Coordinator

    def on_rebalance_end(self) -> None:
        """Recovery and seeks are done, and flow has been resumed."""
        super().on_rebalance_end()
        consumer = self.consumer
        assigned = {tp for tp in consumer.assignment() if self.coordinator.manages(tp.topic)}
        committed = {tp: consumer._committed_offset.get(tp) for tp in assigned}
        self.add_future(self.coordinator.on_ready(assigned, committed))

    def on_crash(self, error: BaseException) -> None:
        """Something cannot go on, and the worker ends; may be called for several errors."""

    def _crash(self, reason: BaseException) -> None:
        self.on_crash(reason)
        super()._crash(reason)

    def fail(self, error: BaseException) -> None:
        """End the worker, because it cannot go on."""
        self.add_future(self.crash(error))

    def instance_taken(self) -> None:
        """Another process has taken over the instance id: end the worker."""
        self.fail(RuntimeError("another process has the instance id"))

    async def _on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super()._on_partitions_revoked(revoked)
        await self.coordinator.on_revoked()


def batch_message(
    app: App, value: Any, topic: str, partition: int, offset: int, timestamp_ms: int
) -> Message:
    """A message whose value is a batch and whose offset is that of the batch's last record."""
    return driver.ConsumerMessage(
        topic,
        partition,
        offset,
        timestamp_ms / 1000,
        0,
        (),
        None,
        value,
        None,
        0,
        0,
        TP(topic, partition),
        generation_id=app.consumer_generation_id,
    )


async def deliver(app: App, message: Message) -> bool:
    """Hand a message to the agent of its topic; False when no agent may get one now."""
    if not app.flow_control.is_active() or message.tp not in app.topics._tp_index:
        return False
    await app.topics.on_message(message)
    return True


def member_alive(app: App) -> bool:
    """Whether the tasks that keep up the group membership run; true before they were started."""
    if app._consumer is None:
        return True
    consumer = app.consumer._thread._consumer
    coordinator = getattr(consumer, "_coordinator", None)
    task = getattr(coordinator, "_coordination_task", None)
    return task is None or not task.done()


class ToldRecovery(Recovery):
    """Faust's recovery, which also keeps where each table partition began.

    Attributes:
        on_begin: called when an assignment has come, before anything is read.
        on_known: called when it is known how much there is to read.
    """

    def __init__(self, app: Any, tables: Any, **options: Any) -> None:
        super().__init__(app, tables, **options)
        self._kept: dict[TP, int | None] = {}
        self._begins: dict[TP, int] = {}
        self.on_begin: Callable[[], None] = lambda: None
        self.on_known: Callable[[], None] = lambda: None

    async def on_rebalance(self, *args: Any, **options: Any) -> None:
        """Note what the local copies hold: what is read begins with the greater of this and the oldest."""
        self._begins = {}
        self.on_begin()
        await super().on_rebalance(*args, **options)
        self._kept = {tp: self.active_offsets[tp] for tp in self.active_tps}

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let changelogs rest: what comes to them from here on, this worker writes itself.

        Faust leaves that to its own fetching, which passes over them. aiokafka would fetch them all the same.
        """
        await self.app.consumer.rest(self.active_tps - self.standby_tps, generation_id)
        await super().on_recovery_completed(generation_id)

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:
        await super()._build_offsets(consumer, tps, destination, title)
        if title == "active":
            self._begins = {tp: destination[tp] for tp in tps}
            self.on_known()

    def progress(self) -> list[TableProgress]:
        """How far each table partition is; empty before their offsets are known."""
        return [
            TableProgress(
                table=self.tp_to_table[tp].name,
                changelog=tp.topic,
                partition=tp.partition,
                kept=self._kept.get(tp),
                begin=begin,
                at=self.active_offsets.get(tp, begin),
                end=self.active_highwaters.get(tp, begin),
            )
            for tp, begin in sorted(self._begins.items())
        ]


def tell_recovery(app: App) -> ToldRecovery:
    """Make the app's recovery tell when it begins, and how far it is."""
    tables = app.tables
    recovery = tables._recovery = ToldRecovery(app, tables, beacon=tables.beacon, loop=tables.loop)
    return recovery
