"""The traffic of notifications through a worker: lanes → scheduler → agents.

What is done with the records (counting, forwarding) is handed in as ``Work``, so that this package knows
nothing of tables or agents. What of it may be committed is the matter of ``committable``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

from faust.types import TP

from streams.cancellation import end
from streams.notifications.priority import Priority
from streams.quantities import quantity
from streams.records import PlacedRecord, Record
from streams.scheduling.minute_shares import MinuteShares
from streams.scheduling.scheduler import ClassSpec, Dispatch, Scheduler
from streams.settings import Settings
from streams.transport.batch import RecordBatch
from streams.transport.class_traffic import ClassTraffic, class_traffic, lag_of
from streams.transport.fetch_lane import FetchLane, MetEpoch
from streams.transport.follow_lane import FollowLane, OnMissed
from streams.transport.interruptions import Interruptions
from streams.transport.never_read import NeverRead
from streams.transport.turns import YieldBudget
from streams.upstream.connections import connect
from streams.upstream.faust_app import App
from streams.upstream.faust_messages import batch_message, deliver

log = logging.getLogger(__name__)

#: How much urgent records may be served before other tasks get all their turns again, in full batches.
_MOST_URGENT_BATCHES = 5.0
#: The same for records that are only as urgent as those before them, which come in short batches when
#: partitions have few records each.
_MOST_SHORT_BATCHES = 0.5


class Work(Protocol):
    """What is done with records."""

    def open(
        self, assigned: set[TP], committed: Mapping[TP, int | None], topic_ids: Mapping[str, str]
    ) -> None:
        """Begin with an assignment: load state from the tables."""

    async def finish(self, deadline_s: float) -> None:
        """Make everything durable that can be within the deadline."""

    def close(self) -> None:
        """Forget the state of the assignment."""


class Traffic:
    """Moves batches from the lanes to the agents in the order that the scheduler decides.

    Args:
        app: whose agents get the batches.
        settings: priorities, weights, sizes.
        work: what is done with the records.
        options: of the Kafka clients.
        followed: internal topics whose records go to their agents as they come, in lists.
        on_missed: called when records of those were deleted before they were read.
        on_epochs: awaited with topic and the leader epochs that were met, before a record of theirs is
            taken over; returns partitions of which other records were read before.
        on_diverged: called with topic and partition when a log has other records than those that were read.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        work: Work,
        options: dict[str, Any],
        *,
        followed: Sequence[str] = (),
        on_missed: OnMissed = lambda *_: None,
        on_epochs: Callable[[str, Sequence[MetEpoch]], Awaitable[Collection[int]]] | None = None,
        on_diverged: Callable[[str, int], None] = lambda *_: None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._work = work
        weights = settings.effective_weights
        self._topics = {settings.notification_topic(priority): priority for priority in settings.priorities}
        self.scheduler: Scheduler[Priority, int, Record] = Scheduler(
            [ClassSpec(p, weights[p], p.rank, settings.buffer_bytes) for p in settings.priorities],
            mode=settings.effective_mode,
            batch_seconds=settings.batch_ms / 1000,
            max_in_flight=settings.max_in_flight,
            age_limits={p: s for p, s in settings.age_limits.items() if p in settings.priorities},
            guard_share=settings.age_guard_share,
            clock=time.monotonic,
        )
        self._minute: MinuteShares[Priority] = MinuteShares()
        self._yields = YieldBudget(settings.batch_ms / 1000)
        self._top = min(settings.priorities, key=lambda priority: priority.rank)
        self._lanes = {
            priority: FetchLane(
                priority,
                topic,
                self.scheduler,
                options,
                fetch_bytes=settings.fetch_bytes,
                largest=settings.max_notification_bytes,
                isolation_level=settings.isolation_level,
                on_records=self._wake,
                on_failed=self._failed,
                on_never_read=partial(self._skipped, priority, topic),
                on_epochs=None if on_epochs is None else partial(on_epochs, topic),
                on_diverged=partial(on_diverged, topic),
            )
            for topic, priority in self._topics.items()
        }
        self._followed = {
            topic: FollowLane(topic, options, self._follow, on_failed=self._failed, on_missed=on_missed)
            for topic in followed
        }
        #: Records that were deleted before they were read: where, and how many in the life of this process.
        self.never_read = NeverRead()
        self.never_read_by: Counter[Priority] = Counter()
        self._interruptions = Interruptions(
            self.scheduler, self._top, self._lanes[self._top].has_arrivals, self._serve_between
        )
        #: Batches that are served in the middle of others, and what these wait for.
        self._between: dict[RecordBatch, asyncio.Future[None]] = {}
        self._in_flight: set[RecordBatch] = set()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = False
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        #: Whether the worker has an assignment and works on it.
        self.ready = asyncio.Event()
        self.assigned: set[TP] = set()
        #: Event-loop time of the last batch that was finished, for the watchdog.
        self.last_done = time.monotonic()

    async def start(self) -> None:
        """Start dispatching."""
        self._task = asyncio.create_task(self._dispatch(), name="dispatch")
        self._task.add_done_callback(self._dispatch_ended)

    async def stop(self) -> None:
        """Disconnect the lanes."""
        await end(self._task)
        await self._revoke_lanes()

    # ---------------------------------------------------------------- assignments

    @property
    def topics(self) -> list[str]:
        """The topics that lanes fetch."""
        return [*self._topics, *self._followed]

    def fetches(self, topic: str) -> bool:
        """Whether a lane fetches ``topic``; then its offsets are committed from what is durable."""
        return topic in self._topics or topic in self._followed

    async def drain(self) -> None:
        """Stop dispatching, wait for batches in flight, and make their effects durable."""
        self._open = False
        self.ready.clear()
        deadline = self._settings.drain_deadline_s
        started = time.monotonic()
        # Faust has emptied the agents' queues: what no agent has taken yet, none will take.
        self._drop(batch for batch in self._in_flight if not batch.taken)
        if self._in_flight:
            self._idle.clear()
            try:
                async with asyncio.timeout(deadline):
                    await self._idle.wait()
            except TimeoutError:
                log.warning(
                    "An agent did not finish within %.0f s; what it holds will be read again.", deadline
                )
        await self._work.finish(max(1.0, deadline - (time.monotonic() - started)))

    async def on_revoked(self) -> None:
        """Forget everything of the assignment that ended."""
        self._open = False
        self.ready.clear()
        async with self._lock:
            await self._let_go()
            self._work.close()
            self.assigned = set()

    async def on_ready(
        self,
        assigned: set[TP],
        committed: Mapping[TP, int | None],
        topic_ids: Mapping[str, str],
        epochs: Mapping[TP, int] = MappingProxyType({}),
    ) -> None:
        """Load state and start fetching the assigned partitions.

        Args:
            assigned: partitions of topics that are there.
            committed: where to begin; None means at the first record.
            topic_ids: id by name: of another topic of the same name nothing is fetched.
            epochs: leader epoch of the notification before where reading begins, where it is known.
        """
        generation = self._app.consumer_generation_id
        async with self._lock:
            await self._let_go()
            if not self._holds(generation):
                return
            self.assigned = assigned
            self._work.open(assigned, committed, topic_ids)
            assign: dict[str, Callable[[], Awaitable[None]]] = {}
            for topic, lane in self._followed.items():
                begin = _offsets(topic, assigned, committed)
                assign[topic] = partial(lane.assign, begin, topic_ids.get(topic))
            for topic, priority in self._topics.items():
                begin = _offsets(topic, assigned, committed)
                last = {tp.partition: epoch for tp, epoch in epochs.items() if tp.topic == topic}
                assign[topic] = partial(self._lanes[priority].assign, begin, topic_ids.get(topic), last)
            holds = partial(self._holds, generation)
            # The brokers may go in just this moment.
            await asyncio.gather(*(connect(each, holds) for each in assign.values()))
            # Another rebalance, or the stop, may have begun while the lanes connected.
            if not self._holds(generation):
                await self._let_go()
                return
            self._open = True
            self.ready.set()
        self._wake()
        log.info(
            "Working on %s of notification topics.",
            quantity(sum(tp.topic in self._topics for tp in assigned), "partition"),
        )

    def _holds(self, generation: int) -> bool:
        app = self._app
        return generation == app.consumer_generation_id and not app.rebalancing and not app.should_stop

    async def _let_go(self) -> None:
        await self._revoke_lanes()
        self._drop(self._in_flight)

    async def _revoke_lanes(self) -> None:
        await asyncio.gather(
            *(lane.revoke() for lane in self._lanes.values()),
            *(lane.revoke() for lane in self._followed.values()),
        )

    def _drop(self, batches: Iterable[RecordBatch]) -> None:
        for batch in list(batches):
            batch.dropped = True
            self.done(batch, 0.0)

    # ---------------------------------------------------------------- dispatch

    async def _follow(self, topic: str, partition: int, records: Sequence[PlacedRecord]) -> bool:
        last = records[-1]
        return await deliver(
            self._app, batch_message(self._app, records, topic, partition, last.offset, last.timestamp or 0)
        )

    def _skipped(self, priority: Priority, topic: str, partition: int, offset: int, number: int) -> None:
        self.never_read.skipped(TP(topic, partition), offset, number)
        self.never_read_by[priority] += number

    def _wake(self) -> None:
        self._news.set()

    def _dispatch_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        log.error("Records can no longer be fetched or dispatched.", exc_info=error)
        self._app.fail(error)

    async def _dispatch(self) -> None:
        scheduler = self.scheduler
        while True:
            dispatch = scheduler.next() if self._open else None
            if dispatch is None:
                self._news.clear()
                await self._news.wait()
                continue
            priority = dispatch.priority_class
            before = scheduler.first()
            await self._deliver(self._batch(dispatch))
            while scheduler.in_flight >= self._settings.max_in_flight:
                self._news.clear()
                await self._news.wait()
            await self._yields.give(unless=partial(self._too_urgent, priority, before))

    def _batch(self, dispatch: Dispatch[Priority, int, Record]) -> RecordBatch:
        priority = dispatch.priority_class
        topic = self._lanes[priority].topic
        batch = RecordBatch(priority, topic, dispatch.partition, dispatch.records, dispatch)
        self._in_flight.add(batch)
        self._interruptions.note(batch)
        return batch

    async def _deliver(self, batch: RecordBatch) -> None:
        last = batch.records[-1]
        message = batch_message(
            self._app, batch, batch.topic, batch.partition, last.offset, last.timestamp or 0
        )
        if not await deliver(self._app, message):
            self._drop([batch])  # a rebalance has begun: what is buffered will be dropped, too
            self._open = False

    def interruption(self, batch: RecordBatch) -> Awaitable[None] | None:
        """What an agent is to await in the middle of a batch, when something most urgent has come.

        Args:
            batch: in service; once that was awaited, it may have been dropped.
        """
        return self._interruptions.due(batch) if self._may_serve_between() else None

    def _may_serve_between(self) -> bool:
        # An agent serves its batches in turn: behind one that waits for confirmations, another would hold up
        # the batch that it interrupts, and with it all others.
        return self._open and all(batch.priority is not self._top for batch in self._in_flight)

    async def _serve_between(self) -> bool:
        """Have a batch served in the middle of another one, until it is done or waits for something.

        Returns:
            Whether there was one.
        """
        dispatch = self.scheduler.interrupting() if self._may_serve_between() else None
        if dispatch is None:
            return False
        batch = self._batch(dispatch)
        served = self._between[batch] = asyncio.get_running_loop().create_future()
        await self._deliver(batch)
        await served
        return True

    def _go_on(self, batch: RecordBatch) -> None:
        """Let the batch go on that this one has interrupted, if there is one."""
        served = self._between.pop(batch, None)
        if served is not None and not served.done():
            served.set_result(None)

    def _too_urgent(self, served: Priority, before: Priority | None, batches: float) -> bool:
        """Whether the next batch should be dispatched now, although other tasks have not had all their turns.

        It should when the next batch is of the most urgent class; or of a class that is more urgent than the
        batch that was served and than all that waited beside it, so that it must have come since; or, for a
        little while, of a class as urgent as the one that was served.

        Args:
            served: class of the batch that was served.
            before: the most urgent class that waited when that batch was chosen.
            batches: service since other tasks last had all their turns, in full batches.
        """
        first = self.scheduler.first()
        if first is None or batches >= _MOST_URGENT_BATCHES:
            return False
        came_since = first.rank < served.rank and (before is None or first.rank < before.rank)
        short = first.rank <= served.rank and batches < _MOST_SHORT_BATCHES
        return came_since or first is self._top or short

    def done(self, batch: RecordBatch, service_seconds: float) -> None:
        """Free the slot of a batch and charge its class."""
        if batch not in self._in_flight:
            return  # revoked meanwhile
        self._in_flight.discard(batch)
        self._go_on(batch)
        self.scheduler.done(batch.dispatch, service_seconds)
        self._yields.served(service_seconds)
        self.last_done = time.monotonic()
        self._minute.add(self.last_done, batch.priority, service_seconds)
        self._lanes[batch.priority].has_room()
        if not self._in_flight:
            self._idle.set()
        self._news.set()

    def waiting(self, tp: TP, waits: bool) -> None:
        """A batch waits for confirmations, or does no longer: others are served meanwhile.

        Args:
            tp: partition of the batch; at most one of each is in service.
            waits: whether it waits.
        """
        batch = next((each for each in self._in_flight if each.taken and each.tp == tp), None)
        if batch is None or waits is (batch.parked_since is not None):
            return  # revoked meanwhile, or it did not wait for long
        now = time.monotonic()
        if waits:
            batch.parked_since = now
            self.scheduler.park(batch.dispatch)
            self._go_on(batch)
        elif batch.parked_since is not None:
            batch.parked_s += now - batch.parked_since
            batch.parked_since = None
            self.scheduler.resume(batch.dispatch)
        self._news.set()

    def past_markers(self, offsets: Mapping[TP, int]) -> Mapping[TP, int]:
        """Offsets to commit, moved past what transactions have left behind the last record.

        Args:
            offsets: to commit, of partitions that have one.
        """
        moved: dict[TP, int] = {}
        for topic, priority in self._topics.items():
            lane = self._lanes[priority]
            for partition in lane.with_markers():
                tp = TP(topic, partition)
                offset = offsets.get(tp, lane.started_at(partition))
                if offset is not None and (further := lane.past_markers(partition, offset)) > offset:
                    moved[tp] = further
        return {**offsets, **moved} if moved else offsets

    def halt(self) -> None:
        """Dispatch no further batch, because the worker has failed."""
        self._open = False
        self.ready.clear()

    # ---------------------------------------------------------------- views

    def set_profile(self, settings: Settings) -> None:
        """Take over the weights and the mode of other settings while the worker runs."""
        self.scheduler.set_weights(settings.effective_weights)
        self.scheduler.set_mode(settings.effective_mode)

    def lag(self, priority: Priority) -> tuple[int, float]:
        """Records not yet handed to agents, and the age in seconds of the oldest buffered one."""
        return lag_of(self._lanes[priority], self.scheduler.buffer(priority), time.time())

    def snapshot(self) -> dict[Priority, ClassTraffic]:
        """What every class has and gets now."""
        shares = self._minute.shares(time.monotonic())
        return class_traffic(self.scheduler, self._lanes, shares, time.time())


def _offsets(topic: str, assigned: set[TP], committed: Mapping[TP, int | None]) -> dict[int, int | None]:
    """Partition -> offset to begin with, of the assigned partitions of a topic."""
    return {tp.partition: committed.get(tp) for tp in assigned if tp.topic == topic}
