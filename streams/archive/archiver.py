"""An archiver: reads its share of the notification topics as a member of a group, and writes it to files.

Lines are durable, file and folder, before their offsets are committed. What a crash leaves between the two
is read and written once more; a replay leaves it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.archive.files import ArchiveWriter
from streams.archive.lane import ArchiveLane, Missing, Taken
from streams.archive.lines import archive_line, missing_line
from streams.archive.membership import Membership
from streams.archive.writing import DurableThenCommit, Position
from streams.broker.client_options import client_options
from streams.broker.outage import BrokerWatch
from streams.broker.topic_plan import TopicSpec
from streams.broker.topic_watch import TopicStates, TopicWatch
from streams.cancellation import end
from streams.log_lines import BOUNDED
from streams.notifications.priority import Priority
from streams.quantities import either, quantity
from streams.retries import Backoff, Retries
from streams.settings import ConfigurationError, Settings
from streams.upstream.committed import Committed

log = logging.getLogger(__name__)

#: Records after which the event loop gets a turn.
_TURN: Final = 200
#: Seconds between two tries to begin.
_AGAIN_S: Final = 1.0
#: Seconds to write and commit what was read, before partitions go, or at the end.
_DRAIN_S: Final = 10.0
#: Seconds between two looks whether it works, and between two lines on how much was archived.
_LOOK_S: Final = 0.5
_REPORT_S: Final = 60.0


def group_of(settings: Settings) -> str:
    """The group of the archivers of an app, unless they are given another."""
    return f"{settings.app_id}-archive"


class Archiver:
    """One archiver; `run` it once.

    Args:
        settings: which topics, and how to reach them; they are there.
        writer: of its files.
        group: consumer group, shared by all archivers of one archive.
        on_ready: called with True when it works on its share, and with False when it does not.
    """

    def __init__(
        self,
        settings: Settings,
        writer: ArchiveWriter,
        group: str,
        on_ready: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._group = group
        self._on_ready = on_ready
        self._ready = False
        self._topics = {settings.notification_topic(each): each for each in settings.priorities}
        options = client_options(settings) | {
            "client_id": group,
            "isolation_level": settings.isolation_level,
        }
        self._lanes = {
            topic: ArchiveLane(topic, options, partial(self._take, topic), on_failed=self._failed)
            for topic in self._topics
        }
        self._member = Membership(
            settings,
            group,
            self._topics,
            on_assigned=self._assigned,
            on_revoked=self._revoked,
            on_fenced=self._fenced,
        )
        self._out = DurableThenCommit(writer, self._member.commit, on_fault=self._look)
        self._brokers = BrokerWatch(settings.brokers, client_options(settings), next(iter(self._topics)))
        self._topic_watch = TopicWatch(client_options(settings), how="reading begins again")
        self._tps: set[TopicPartition] = set()
        self._begin: asyncio.Task[None] | None = None
        self._begun = False
        #: Id of each topic that is there, as of the last assignment.
        self._topic_ids: Mapping[str, str] = {}
        #: Counts the times that partitions were given away.
        self._given_away = 0
        self._letting_go = asyncio.Lock()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reported = 0, 0, time.monotonic()
        #: Records that have a mark in their place, as of what was taken.
        self.missing = 0

    @property
    def records(self) -> int:
        """Records that are durable."""
        return self._out.records

    @property
    def held_bytes(self) -> int:
        """Bytes of lines that are not durable yet."""
        return self._out.held_bytes

    @property
    def partitions(self) -> int:
        """Partitions of its share."""
        return len(self._tps) if self._begun else 0

    def waiting(self) -> dict[Priority, int]:
        """Records of its share that were not read yet, as far as is known."""
        return {self._topics[topic]: lane.behind() for topic, lane in self._lanes.items()}

    async def run(self, stop: asyncio.Event) -> None:
        """Archive until ``stop`` is set; then write, commit and finish what was read, and leave the group.

        Raises:
            ConfigurationError: the brokers refuse, or another process has its instance id.
            Exception: it cannot go on.
        """
        self._brokers.start(1)
        plan = [
            TopicSpec(topic, 0, 0, {}, "notifications", reads=True, notifications=True)
            for topic in self._topics
        ]
        self._topic_watch.start(TopicStates(plan, {}), self, {})
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(stop.wait()),
            asyncio.create_task(self._membership(), name="archive-member"),
            asyncio.create_task(self._out.write_on(), name="archive-write"),
            asyncio.create_task(self._roll_on(), name="archive-roll"),
            asyncio.create_task(self._report_on(), name="archive-report"),
        ]
        ended: list[asyncio.Future[Any]] = [*tasks, self._failure]
        try:
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._set_ready(ready=False)
            await self._topic_watch.stop()
            await end(*tasks)
            await self._revoked()
            await asyncio.to_thread(self._writer.finish)
            await self._member.stop()
            await self._brokers.stop()
            self._report()
        for task in ended:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    # ---------------------------------------------------------------- the group

    async def _membership(self) -> None:
        await self._member.start()
        await self._member.keep_up()

    def _assigned(self, tps: set[TopicPartition]) -> None:
        self._tps = tps
        self._begin = asyncio.create_task(self._begin_lanes(tps), name="archive-begin")
        self._begin.add_done_callback(self._looked_at)

    def _looked_at(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def _begin_lanes(self, tps: set[TopicPartition]) -> None:
        retries = Retries(Backoff(_AGAIN_S))
        while True:
            try:
                found = await self._member.committed(tps)
                self._topic_ids = found.topic_ids
                for topic, lane in self._lanes.items():
                    mine = {tp.partition: tp for tp in tps if tp.topic == topic}
                    if topic in found.topic_ids:
                        offsets = {number: found.offsets.get(tp) for number, tp in mine.items()}
                        epochs = {
                            number: found.last_epochs[tp]
                            for number, tp in mine.items()
                            if tp in found.last_epochs
                        }
                        await lane.assign(offsets, found.topic_ids[topic], epochs)
            except KafkaError as error:
                log.debug("Reading cannot begin: %r", error)
                await retries.pause()
            else:
                break
        self._say_former(found)
        log.info(
            "Archiving %s of %s.",
            quantity(len(tps), "partition"),
            quantity(len({tp.topic for tp in tps}), "topic"),
        )
        self._begun = True
        self._look()

    def _say_former(self, found: Committed) -> None:
        for topic in sorted({tp.topic for tp in found.of_former}):
            log.warning(
                "The topic %s was deleted and made again: it is archived from its first record on. What had "
                "not been archived of the former one is on no broker any more.",
                topic,
                extra=BOUNDED,
            )

    async def _revoked(self) -> None:
        """Write and commit what was read, as far as that can be done in time, and forget the rest."""
        self._given_away += 1
        async with self._letting_go:
            self._begun = False
            self._look()
            await end(self._begin)
            await asyncio.gather(*(lane.revoke() for lane in self._lanes.values()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    await self._out.write(wanted=lambda: False)
                    # Nothing new, but what an earlier commit could not.
                    await self._member.commit({})
            if left := self._out.forget():
                log.error(
                    "%s read could not be written: %s not committed, so %s archived when an archiver has the "
                    "partitions again.",
                    quantity(left, "record that was", "records that were"),
                    either(left, "it is", "they are"),
                    either(left, "it is", "they are"),
                    extra=BOUNDED,
                )

    def _fenced(self) -> None:
        self._failed(
            ConfigurationError(
                f"Another archiver of the group {self._group} has taken over the instance id "
                f"{self._settings.instance_id}, so this one ends: give each a TOCSIN_INSTANCE_ID of its own."
            )
        )

    def _failed(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    # ---------------------------------------------------------------- for the watch of the topics

    def working_ids(self) -> Mapping[str, str] | None:
        """Id by name, of the topics that are archived; None while there is no assignment."""
        return self._topic_ids if self._begun else None

    def unassigned(self) -> Collection[str]:
        """None: the group shares out by itself what was added."""
        return ()

    async def take_up(self, *, anew: bool) -> None:  # noqa: ARG002 - of the watch's protocol
        """Begin again with the topics as they are now.

        Raises:
            KafkaError: the brokers do not answer.
        """
        given_away = self._given_away
        now = (await self._member.committed(())).topic_ids
        async with self._letting_go:
            for topic, lane in self._lanes.items():
                if lane.positions and now.get(topic) != lane.topic_id:
                    await self._let_former_go(topic, lane)
        if self._given_away != given_away:
            return  # the group has shared out anew meanwhile
        await self._revoked()
        self._member.forget()
        if self._given_away == given_away + 1:
            self._assigned(self._tps)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self._failed(error)

    async def _let_former_go(self, topic: str, lane: ArchiveLane) -> None:
        """Read no more of a topic that is gone, and mark what is known to be lost with it."""
        for partition, offsets in (await lane.revoke()).items():
            if not offsets:
                continue
            log.error(
                "The topic %s was deleted with %s of partition %d not archived yet (offsets %d to %d). The "
                "archive has a mark in their place.",
                topic,
                quantity(len(offsets), "record"),
                partition,
                offsets.start,
                offsets.stop - 1,
                extra=BOUNDED,
            )
            why = "deleted with its topic before it was archived"
            missing = Taken(partition, Missing(offsets, why), offsets.stop, -1)
            await self._take(topic, missing)

    # ---------------------------------------------------------------- from records to files

    async def _take(self, topic: str, taken: Taken) -> None:
        priority, topic_id = self._topics[topic], self._lanes[topic].topic_id
        tp = TopicPartition(topic, taken.partition)
        if isinstance(taken.records, Missing):
            self.missing += len(taken.records.offsets)
            line = missing_line(
                topic, priority, tp.partition, taken.records.offsets, taken.records.why, topic_id
            )
            self._out.take(tp, line, 0, Position(taken.position, topic_id, taken.leader_epoch))
            return
        if not taken.records:
            self._out.take(tp, b"", 0, Position(taken.position, topic_id, taken.leader_epoch))
        for start in range(0, len(taken.records), _TURN):
            await self._out.room()
            some = taken.records[start : start + _TURN]
            lines = bytearray()
            for record in some:
                lines += archive_line(topic, priority, tp.partition, record, topic_id)
            after = Position(some[-1].offset + 1, topic_id, taken.leader_epoch)
            self._out.take(tp, lines, len(some), after)
            await asyncio.sleep(0)

    async def _roll_on(self) -> None:
        """Finish a file whose time is over, also when nothing comes."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._writer.due():
                await asyncio.to_thread(self._writer.finish)

    # ---------------------------------------------------------------- how it is

    def reasons(self) -> list[str]:
        """Why it is not ready; nothing when it is."""
        reasons = [] if self._begun else ["Partitions are being assigned."]
        if self._out.fault is not None:
            reasons.append(f"The archive cannot be written: {self._out.fault}.")
        reasons += self._topic_watch.troubles.values()
        away = self._brokers.reason()
        return reasons if away is None else [*reasons, away]

    def _look(self) -> None:
        self._set_ready(ready=not self.reasons())

    def _set_ready(self, *, ready: bool) -> None:
        if ready != self._ready:
            self._ready = ready
            self._on_ready(ready)

    async def _report_on(self) -> None:
        while True:
            for _ in range(int(_REPORT_S / _LOOK_S)):
                await asyncio.sleep(_LOOK_S)
                self._look()
            self._report()

    def _report(self) -> None:
        records, written, at = self._reported
        now = time.monotonic()
        self._reported = self.records, self._writer.written, now
        log.info(
            "Archived %s in %.0f s, %.0f/s, as %.1f MiB; waiting in the topics: %d.",
            quantity(self.records - records, "record"),
            now - at,
            (self.records - records) / max(now - at, 0.001),
            (self._writer.written - written) / 2**20,
            sum(self.waiting().values()),
        )
