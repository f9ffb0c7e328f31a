"""An archiver: reads its share of the notification topics as a member of a group, and writes it to files.

Lines are durable, file and folder, before their offsets are committed. What a crash leaves between the two
is read and written once more; a replay leaves it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from streams.archive.files import ArchiveWriter
from streams.archive.lines import archive_line
from streams.archive.writing import DurableThenCommit
from streams.broker.client_options import client_options
from streams.log_lines import LimitedLog
from streams.retries import Backoff, Retries
from streams.settings import ConfigurationError, Settings
from streams.transport.step_over import step_over
from streams.upstream.connections import disconnect
from streams.upstream.lenient_records import install_lenient_records

log = logging.getLogger(__name__)

#: Bytes of lines that are written at once, if so many come within the time that lines wait at most.
_WRITE_BYTES: Final = 4 * 2**20
_WRITE_S: Final = 1.0
#: Bytes that a batch may unpack to: records of a larger one would come without what they hold.
_MOST_UNPACKED: Final = 2**30
_MOST_RECORDS: Final = 2000
_POLL_MS: Final = 200
#: Seconds in which brokers must have answered at the start.
_CONNECT_S: Final = 10.0
#: Seconds to write and commit what was read before its partitions go.
_DRAIN_S: Final = 10.0
_AGAIN: Final = Backoff(0.2, factor=2, most_s=5.0)

_Records = list[tuple[TopicPartition, Sequence[Any]]]


def group_of(settings: Settings) -> str:
    """The group of the archivers of an app, unless they are given another."""
    return f"{settings.app_id}-archive"


class Archiver(ConsumerRebalanceListener):  # type: ignore[misc]
    """One archiver; `run` it once.

    Args:
        settings: which topics, and how to reach them; they are there.
        writer: of its files.
        group: consumer group, shared by all archivers of one archive.
    """

    def __init__(self, settings: Settings, writer: ArchiveWriter, group: str) -> None:
        install_lenient_records(_MOST_UNPACKED)
        self._settings = settings
        self._writer = writer
        self._group = group
        self._topics = {settings.notification_topic(each): each for each in settings.priorities}
        self._consumer = AIOKafkaConsumer(
            **client_options(settings),
            client_id=group,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=settings.isolation_level,
            session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=max(100, int(settings.session_timeout_s * 250)),
        )
        self._out = DurableThenCommit(writer, self._commit)
        #: Offset after the last record that was taken, of each partition it has.
        self._positions: dict[TopicPartition, int] = {}
        self._assignment = 0
        self._log = LimitedLog(__name__)

    @property
    def records(self) -> int:
        """Records that are durable."""
        return self._out.records

    async def run(self, stop: asyncio.Event) -> None:
        """Archive until ``stop`` is set; then write, commit and finish what was read, and leave the group.

        Raises:
            ConfigurationError: no broker answers, or the brokers refuse.
        """
        try:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await self._consumer.start()
            except (KafkaError, TimeoutError) as error:
                raise ConfigurationError(
                    f"Kafka at {self._settings.brokers} does not answer "
                    f"({str(error) or type(error).__name__}): look at the brokers, or set TOCSIN_BROKERS."
                ) from None
            self._consumer.subscribe(topics=list(self._topics), listener=self)
            await self._read_on(stop)
            if not await self._out.write(wanted=lambda: False):
                log.error(
                    "%d records that were read could not be written: they are not committed, so they are "
                    "archived when an archiver runs again.",
                    self._out.pending.records,
                )
                self._out.forget()
        finally:
            await disconnect(self._consumer)
            await asyncio.to_thread(self._writer.finish)

    async def _read_on(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        retries, written_at = Retries(_AGAIN, wanted=lambda: not stop.is_set()), loop.time()
        while not stop.is_set():
            assignment = self._assignment
            try:
                async for some in self._fetched():
                    if assignment != self._assignment:
                        # Of which assignment these are nobody knows: read again from what is committed.
                        for tp, at in (await self._taken()).items():
                            self._consumer.seek(tp, at)
                        break
                    self._take(some)
                retries = Retries(_AGAIN, wanted=lambda: not stop.is_set())
            except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
                raise ConfigurationError(
                    f"Kafka refuses the archiver ({error!r}): grant Read on the notification topics "
                    f"and on the group {self._group}."
                ) from None
            except KafkaError as error:
                self._log.warning("Reading failed (%r); trying again.", error)
                await retries.pause()
            if len(self._out.pending.lines) >= _WRITE_BYTES or loop.time() - written_at >= _WRITE_S:
                await self._out.write(wanted=lambda: not stop.is_set())
                if self._writer.due():
                    await asyncio.to_thread(self._writer.finish)
                written_at = loop.time()

    async def _fetched(self) -> AsyncIterator[_Records]:
        try:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
        except KafkaError:
            raise
        except Exception as error:  # noqa: BLE001 - hostile records raise anything
            log.debug("A record cannot be taken apart: %r", error)
            positions = await self._taken()
            async for tp, records, _ in step_over(self._consumer, positions):
                yield [(tp, records)]
        else:
            yield list(found.items())

    async def _taken(self) -> dict[TopicPartition, int]:
        """Where each partition goes on, whatever the client has dropped."""
        positions = {}
        for tp in self._consumer.assignment():
            at = self._positions.get(tp)
            if at is None:
                at = await self._consumer.committed(tp)
            if at is None:
                at = (await self._consumer.beginning_offsets([tp]))[tp]
            positions[tp] = at
        return positions

    def _take(self, found: _Records) -> None:
        for tp, records in found:
            priority = self._topics[tp.topic]
            for record in records:
                self._out.take(tp, archive_line(tp.topic, priority, tp.partition, record), record.offset + 1)
            if records:
                self._positions[tp] = records[-1].offset + 1

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        mine = self._consumer.assignment()
        held = {tp: offset for tp, offset in offsets.items() if tp in mine}
        if not held:
            return
        try:
            await self._consumer.commit(held)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("The group has changed before a commit (%r): what it was of is archived again.", error)
        except KafkaError as error:
            self._log.warning("The brokers did not take a commit (%r); a later one includes it.", error)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Write and commit what was read, as far as that can be done in time, and forget the rest."""
        self._assignment += 1
        if revoked:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    await self._out.write(wanted=lambda: False)
        self._out.forget()
        self._positions.clear()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Say what there is to do."""
        self._assignment += 1
        log.info("Archiving %d partitions of %d topics.", len(assigned), len({tp.topic for tp in assigned}))
