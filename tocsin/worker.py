"""A worker that works: made whole once the brokers were asked, it holds everything that runs.

It goes on to use what there was before (`tocsin.starting`). Either is the ``Coordinator`` that Faust's
transport asks.

A record's way: a lane (``streams.transport.fetch_lane``) puts it into the scheduler's buffer; ``Traffic``
takes batches from the scheduler and hands them to the Faust agent of their topic; ``run_ingest`` finds the
counter of the batch's partition, and ``Ingest.handle`` counts.

An offset's way: ``Counting`` and ``Effects`` note in one ``CommittableOffsets`` what is durable and what is
under way, and Faust's consumer asks ``Worker.committable``, which asks that.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from agents.counting import Counting, Topics
from agents.effects import Effects
from agents.effects_by_priority import EffectsByPriority
from agents.ingest import Ingest
from agents.latencies import ClassLatencies
from agents.source_lives import SourceLives
from streams.broker.pools import PoolWatch
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.broker.self_check import CheckedCluster
from streams.broker.topic_plan import planned_topics
from streams.broker.topic_watch import TopicStates
from streams.log_lines import BOUNDED
from streams.quantities import quantity
from streams.transport.batch import RecordBatch
from streams.transport.committable import CommittableOffsets
from streams.transport.traffic import Traffic
from streams.upstream.faust_app import App, member_alive
from streams.upstream.store_faults import LocalStateError
from streams.upstream.stores import DamagedStoreError
from streams.upstream.topic_ids import commit_note
from tables.durable_table import DurableTable
from tables.fleet.state import worker_id
from tables.fleet.writer import StatusWriter
from tocsin.figures import SchedulerFigures, WorkerFigures
from tocsin.live_profile import LiveProfile
from tocsin.own_state import OwnState
from tocsin.starting import Starting

log = logging.getLogger(__name__)

#: Seconds between looks at how far recovery is.
_LOOK_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class FaustTables:
    """The tables as Faust knows them.

    Attributes:
        partial_counts: rows of the sources.
        combined_counts: rows of the combiners; None where nothing is combined.
    """

    partial_counts: Any
    combined_counts: Any | None


class Worker:
    """What runs in a worker. Made whole, then started and stopped as one.

    Args:
        app: the Faust app whose agents get the records.
        starting: the stage before, whose parts go on to be used.
        tables: as Faust knows them.
        cluster: what the self-check found.
        inherited: offsets that another pool had committed of partitions that are this one's now.
    """

    def __init__(
        self,
        app: App,
        starting: Starting,
        tables: FaustTables,
        cluster: CheckedCluster,
        inherited: Mapping[TP, int],
    ) -> None:
        settings, options = starting.settings, starting.options
        self._app = app
        self.tables = tables
        self._settings = settings
        self._inherited = inherited
        self.cluster = cluster
        self.recovery = starting.recovery
        self.brokers = starting.brokers
        self.topics = starting.topics
        self.pools = PoolWatch(settings)
        self.reader = starting.reader
        self.alerts = starting.alerts
        self.pings = starting.pings
        self.fleet = starting.fleet
        self.dead_letters = starting.dead_letters
        self.health = starting.health
        self.web = starting.web
        self.stalls = starting.stalls
        self.clock = starting.clock
        most_urgent = min(settings.priorities, key=attrgetter("rank"))
        urgent_producer, alert_producer = (
            ConfirmedProducer(name, options, on_failed=self.clock.failed)
            for name in (f"alerts of {most_urgent.value}", "alerts")
        )
        # Not lz4: aiokafka takes its slowest level, 13 ms of the event loop for a full batch instead of 1 ms.
        count_producer = ConfirmedProducer(
            "counts",
            options,
            compression="snappy",
            on_failed=self.clock.failed,
            waits_for_size=True,
        )
        self.producers = (urgent_producer, alert_producer, count_producer)
        self.offsets = CommittableOffsets()
        #: Ids of the topics that the present assignment is worked on under, by name.
        self.topic_ids: Mapping[str, str] = {}
        priorities = {settings.notification_topic(each): each for each in settings.priorities}
        self.latencies = ClassLatencies(priorities, settings.forward_priorities, self.clock.now_s)
        self.effects = EffectsByPriority(
            settings.notification_topic(most_urgent),
            *(
                Effects(producer, self.offsets, self.latencies.note_alerted, self._waiting)
                for producer in (urgent_producer, alert_producer)
            ),
        )
        self.ingest = Ingest(settings, self.effects, self.latencies, self._interruption)
        self.pace = starting.pace
        topics = Topics(
            partials=settings.internal_topic("partials"),
            event_counts=settings.event_counts_topic,
            slices=cluster.slices,
        )
        writer = secrets.token_hex(6)
        combined = tables.combined_counts
        partial_counts = DurableTable(tables.partial_counts, count_producer, writer)
        combined_counts = None if combined is None else DurableTable(combined, count_producer, writer)
        self.lives = SourceLives(partial_counts, priorities, topics.partials, topics.slices, combined_counts)
        self.counting = Counting(
            settings,
            topics,
            partial_counts,
            combined_counts,
            count_producer,
            self.effects,
            self.offsets,
            self.pace,
            starting.outdated,
            self.lives,
            starting.asked,
            starting.clock,
        )
        self._plan = planned_topics(settings, cluster.partitions, cluster.slices)
        app.assignor.fix(cluster.slices, [spec.name for spec in self._plan if spec.state])
        followed = [topics.partials] if settings.combines else []
        self.traffic = Traffic(
            app,
            settings,
            self.counting,
            options,
            followed=followed,
            on_missed=self.counting.missed,
            on_epochs=self.lives.met,
            on_diverged=self._diverged,
        )
        self.profile = LiveProfile(settings, self.traffic.set_profile)
        self._figures = SchedulerFigures(self.traffic, self.profile), WorkerFigures(self)
        self.status = StatusWriter(
            settings.status_topic,
            worker_id(settings),
            OwnState(
                settings,
                self.health.ready,
                *self._figures,
                assigned=self._given,
                working=self._worked_on,
                unassigned=self.unassigned,
                stalls=self.stalls.log,
                clock=self.clock.now_s,
            ),
            options,
            self.fleet.own,
        )
        #: Assignments that ended.
        self.rebalances = 0
        #: Commits that were confirmed, and the seconds that the last one took.
        self.commits = 0
        self.last_commit_s = 0.0

    def _interruption(self, batch: RecordBatch) -> Awaitable[None] | None:
        return self.traffic.interruption(batch)

    def _waiting(self, tp: TP, waits: bool) -> None:
        self.traffic.waiting(tp, waits)

    async def start(self) -> None:
        """Start what must run before the group is joined; ends early when the app is told to stop."""
        self.web.show(*self._figures)
        # From here on brokers that go are waited for, and somebody says so.
        self.brokers.start(self.cluster.writes_need)
        self.topics.start(
            TopicStates(self._plan, self.cluster.topic_ids), self, self.cluster.partition_counts
        )
        if not all(await asyncio.gather(*(producer.start(self._is_wanted) for producer in self.producers))):
            return
        await self.traffic.start()
        await self.reader.start(self.cluster.slices)
        self.alerts.start()
        self.pings.start(self._has_first_slice)
        self.fleet.start()
        self.status.start()
        self.counting.start(self._app.fail, self._commit)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.profile.reload)
        self._app.add_future(self._watch_recovery())
        log.info("Joining the group %s.", self._app.conf.id)
        self.health.working(self)
        self.recovery.joining()

    async def stop(self) -> None:
        """Stop everything; by now Faust has drained what was in flight and committed what is durable."""
        await self.counting.stop()
        await self.status.stop(in_order=self.health.error is None)
        await self.traffic.stop()
        await self.pools.stop()
        await self.topics.stop()
        await self.brokers.stop()
        await self.reader.stop()
        await self.pings.stop()
        await self.fleet.stop()
        await self.alerts.stop()
        await self.dead_letters.stop()
        await asyncio.gather(*(producer.stop() for producer in self.producers))
        await self.web.stop()
        self.stalls.stop()
        log.info("The worker has stopped.")

    def halt(self) -> None:
        """Dispatch no further batch, because the worker has failed."""
        self.traffic.halt()

    def member_alive(self) -> bool:
        """Whether the group membership is being kept up."""
        return member_alive(self._app)

    # ---------------------------------------------------------------- Watched

    def working_ids(self) -> Mapping[str, str] | None:
        """Id by name, of the topics that are worked on; None while there is no assignment."""
        return self.topic_ids if self.traffic.ready.is_set() else None

    def unassigned(self) -> dict[str, list[int]]:
        """Topic -> its partitions that are nobody's in the group; empty while there is no assignment."""
        if not self.traffic.ready.is_set():
            return {}
        given, counts, assignor = (
            self._app.consumer.assigned_in_group(),
            self.topics.counts,
            self._app.assignor,
        )
        return {
            topic: sorted(missing)
            for topic in self.traffic.topics
            if (missing := assignor.wanted(topic, counts.get(topic, 0)) - given.get(topic, set()))
        }

    def _worked_on(self) -> set[TP]:
        return self.traffic.assigned if self.traffic.ready.is_set() else set()

    def _given(self) -> frozenset[TP]:
        given: frozenset[TP] = self._app.consumer.given()
        return given

    def _has_first_slice(self) -> bool:
        return self.traffic.ready.is_set() and self.counting.combiner(0) is not None

    async def take_up(self, *, anew: bool) -> None:
        """Get another assignment; ``anew`` as a new member of the group, so that all members get one."""
        await self._app.consumer.rejoin(anew=anew)

    def fail(self, error: BaseException) -> None:
        """End the worker, because it cannot go on."""
        log.critical("%s", error)
        self._app.fail(error)

    def _is_wanted(self) -> bool:
        return not self._app.should_stop

    async def _watch_recovery(self) -> None:
        while not self._app.should_stop:
            self.recovery.look()
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def _commit(self) -> None:
        if self.traffic.ready.is_set():
            began = time.monotonic()
            if await self._app.consumer.commit():
                self.commits += 1
                self.last_commit_s = time.monotonic() - began

    # ---------------------------------------------------------------- Coordinator

    def fetches(self, topic: str) -> bool:
        """Whether a lane fetches ``topic``."""
        return self.traffic.fetches(topic)

    def manages(self, topic: str) -> bool:
        """Whether offsets of ``topic`` are committed from what is durable: of all that lanes fetch."""
        return self.traffic.fetches(topic)

    def committable(self) -> Mapping[TP, int]:
        """Offsets that may be committed."""
        return self.traffic.past_markers(self.offsets.committable())

    def commit_note(self, tp: TP, offset: int) -> str:
        """What is to be committed with this offset: the id under which its topic is worked on, and more."""
        never_read = self.traffic.never_read.up_to(tp, offset)
        topic_id, lives = self.topic_ids.get(tp.topic, ""), self.lives
        epoch = lives.epoch_before(tp, offset)
        return commit_note(topic_id, never_read, lives.life_of(tp), lives.written(tp), epoch)

    async def drain(self) -> None:
        """Finish what is in flight, and make it durable."""
        await self.traffic.drain()

    async def on_revoked(self) -> None:
        """Forget the assignment that ended."""
        self.rebalances += 1
        await self.traffic.on_revoked()

    async def on_ready(
        self, assigned: set[TP], committed: Mapping[TP, int | None], topic_ids: Mapping[str, str]
    ) -> None:
        """Begin with the new assignment."""
        self.recovery.recovered()
        # What is gone just now is not worked on; it is taken up by another assignment once it is back.
        there = {tp for tp in assigned if tp.topic in topic_ids}
        self.topic_ids = topic_ids
        self.traffic.never_read.begin(self._app.consumer.never_read)
        generation = self._app.consumer_generation_id
        try:
            begin = await self.lives.settle(
                self._app.consumer,
                there,
                committed,
                self._inherited_further(there, committed),
                topic_ids,
                lambda: self._holds(generation),
            )
            if begin is None or not self._holds(generation):
                return
            await self.traffic.on_ready(there, begin, topic_ids, self.lives.epochs())
            if self.traffic.ready.is_set():
                self.recovery.ready()
        except Exception as error:
            # What is wrong with the disk or a table is said in one sentence by whoever is told.
            if not isinstance(error, LocalStateError | DamagedStoreError):
                log.exception("Taking up the assigned partitions failed.")
            self._app.fail(error)

    def _holds(self, generation: int) -> bool:
        app = self._app
        return generation == app.consumer_generation_id and not app.rebalancing and not app.should_stop

    def _diverged(self, topic: str, partition: int) -> None:
        """A log is not what was read of it any more: look at it anew, as at each assignment."""
        log.warning(
            "%s, partition %d, has other records than those that were read: the group is joined again.",
            topic,
            partition,
            extra=BOUNDED,  # one a partition and assignment
        )
        self._app.add_future(self._settle_again(self._app.consumer_generation_id))

    async def _settle_again(self, generation: int) -> None:
        while self._holds(generation):
            try:
                await self.take_up(anew=False)
            except (KafkaError, TimeoutError):
                await asyncio.sleep(_LOOK_INTERVAL_S)
            else:
                return

    def _inherited_further(self, assigned: set[TP], committed: Mapping[TP, int | None]) -> Mapping[TP, int]:
        """What a pool that served a partition before had committed, where that is further."""
        further = {
            tp: offset
            for tp, offset in self._inherited.items()
            if tp in assigned
            and self.topic_ids[tp.topic] == self.cluster.topic_ids[tp.topic]
            and offset > (committed.get(tp) or 0)
        }
        if further:
            log.info("Going on from where another pool was, in %s.", quantity(len(further), "partition"))
        return further
