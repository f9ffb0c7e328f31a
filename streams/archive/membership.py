"""Membership in the group of the archivers: which partitions are this one's, and what it has committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalStateError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import OffsetAndMetadata

from streams.archive.writing import Position
from streams.broker.client_options import client_options
from streams.log_lines import LimitedLog
from streams.settings import ConfigurationError, Settings
from streams.upstream.committed import Committed, committed_by_id
from streams.upstream.connections import connect, disconnect
from streams.upstream.instance_watch import watch_instance
from streams.upstream.topic_ids import commit_note

log = logging.getLogger(__name__)

#: Seconds for a commit; while the brokers are away the next one takes its offsets along.
_COMMIT_S: Final = 10.0
_POLL_MS: Final = 1000
#: Milliseconds that a member may take to give its partitions away: what was read is written before.
_LET_GO_MS: Final = 30_000
#: Milliseconds after which topics that were made again, or given more partitions, are shared out.
_METADATA_MS: Final = 10_000


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of the group of the archivers. It fetches nothing: lanes do.

    Args:
        settings: brokers, credentials, session and instance id.
        group: its name.
        topics: that are archived.
        on_assigned: called with the partitions of a new assignment; must return at once.
        on_revoked: awaited before partitions are given away.
        on_fenced: called when another process has taken over the instance id.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        topics: Iterable[str],
        *,
        on_assigned: Callable[[set[TopicPartition]], None],
        on_revoked: Callable[[], Awaitable[None]],
        on_fenced: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = list(topics)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._on_fenced = on_fenced
        self._consumer: AIOKafkaConsumer | None = None
        self._log = LimitedLog(__name__)
        #: Positions that are durable, and that no commit was confirmed of yet.
        self._uncommitted: dict[TopicPartition, OffsetAndMetadata] = {}

    async def start(self) -> None:
        """Connect, and join; tries again while no broker is there."""
        await connect(self._start, lambda: True)

    async def _start(self) -> None:
        settings = self._settings
        session_ms = int(settings.session_timeout_s * 1000)
        consumer = AIOKafkaConsumer(
            **client_options(settings),
            client_id=self._group,
            group_id=self._group,
            group_instance_id=settings.instance_id,
            enable_auto_commit=False,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=max(session_ms, _LET_GO_MS),
            heartbeat_interval_ms=max(1, session_ms // 4),
            metadata_max_age_ms=_METADATA_MS,
            # It pauses all that it is assigned; what a fetch brings before that is thrown away.
            max_partition_fetch_bytes=1,
            fetch_max_bytes=1,
        )
        try:
            await consumer.start()
        except BaseException:
            await disconnect(consumer)
            raise
        self._consumer = consumer
        if settings.instance_id is not None:
            watch_instance(consumer, self._on_fenced)
        # Not before: starting would wait for the others of the group, for longer than an attempt may take.
        consumer.subscribe(self._topics, listener=self)

    async def keep_up(self) -> None:
        """Stay a member, until it is cancelled.

        Raises:
            ConfigurationError: the group or its topics may not be read.
            KafkaError: the group cannot be used.
        """
        while True:
            try:
                # aiokafka takes a member that does not ask for records for one that hangs.
                await self._member.getmany(timeout_ms=_POLL_MS)
            except (TopicAuthorizationFailedError, GroupAuthorizationFailedError) as error:
                raise ConfigurationError(
                    f"Kafka refuses the archiver ({error!r}): grant Read on the notification topics and on "
                    f"the group {self._group}."
                ) from None
            except KafkaError as error:
                if not error.retriable:
                    raise
                self._log.warning("The group %s cannot be used (%r); trying again.", self._group, error)
                await asyncio.sleep(_POLL_MS / 1000)

    async def stop(self) -> None:
        """Leave the group, and disconnect."""
        if self._consumer is not None:
            await disconnect(self._consumer)

    @property
    def _member(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise RuntimeError("it was not started")
        return self._consumer

    # ---------------------------------------------------------------- the listener of aiokafka

    async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:  # noqa: ARG002 - aiokafka's signature
        """Have what was read of them written and committed."""
        await self._on_revoked()
        self.forget()

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Tell of them."""
        self.forget()
        tps = {TopicPartition(*tp) for tp in assigned}
        if tps:
            self._member.pause(*tps)
        self._on_assigned(tps)

    # ---------------------------------------------------------------- offsets

    async def committed(self, tps: Iterable[TopicPartition]) -> Committed:
        """What the group has committed of partitions, and the ids of all topics that are there.

        Raises:
            KafkaError: the brokers do not answer.
        """
        return await committed_by_id(self._member, list(tps), self._topics)

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit positions that are durable, and earlier ones that could not be.

        One that the group does not take is no loss: whoever has the records now archives them once more.
        """
        for tp, each in positions.items():
            note = commit_note(each.topic_id, 0, leader_epoch=each.leader_epoch)
            self._uncommitted[tp] = OffsetAndMetadata(each.offset, note)
        sent = dict(self._uncommitted)
        if not sent:
            return
        try:
            async with asyncio.timeout(_COMMIT_S):
                await self._member.commit(sent)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("The group has changed before a commit (%r): what it was of is archived again.", error)
            self.forget()
        except (KafkaError, TimeoutError) as error:
            self._log.warning(
                "The brokers did not take a commit (%r); the next one has its offsets too.", error
            )
        else:
            for tp, sent_one in sent.items():
                if self._uncommitted.get(tp) == sent_one:
                    del self._uncommitted[tp]

    def forget(self) -> None:
        """Commit nothing of what was not confirmed yet: the partitions are no longer these."""
        self._uncommitted.clear()
