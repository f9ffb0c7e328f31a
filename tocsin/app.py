"""The composition root: builds the Faust app, and declares to it the topics, tables and agents of a worker.

``faust -A tocsin.app worker`` finds the app as the attribute ``app``, which is made on first use; importing
the module does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Any

from faust.types import TP

from agents.combine import run_combine
from agents.ingest import run_ingest
from streams.broker.pools import inherited_offsets
from streams.broker.self_check import CheckedCluster, check_once_there, patience_with_brokers_s
from streams.settings import ConfigurationError, Settings, load_settings
from streams.upstream.corrupt_batches import CorruptChangelogError
from streams.upstream.faust_app import App
from streams.upstream.faust_messages import BatchSchema
from streams.upstream.faust_recovery import install_observed_recovery
from streams.upstream.faust_transport import Transport
from streams.upstream.no_topic_creation import install_no_topic_creation
from streams.upstream.rebootstrap import install_rebootstrap
from streams.upstream.recovery_progress import RecoveryProgress
from streams.upstream.store_faults import (
    LocalStateError,
    check_data_dir,
    quarantine_damaged,
    wait_for_locks,
)
from streams.upstream.stores import DamagedStoreError, store_folders
from tables.foreign_rows import refuse_foreign_topic
from tables.store_memory import store_options
from tocsin.faust_config import faust_options
from tocsin.starting import Starting
from tocsin.worker import FaustTables, Worker

log = logging.getLogger(__name__)

#: Seconds for which a worker that ends may keep its local state open after its drain deadline.
_AFTER_DRAIN_S = 5.0


class TocsinApp(App):
    """Faust's side of a worker: what is declared to Faust, and what Faust tells of its own life.

    Args:
        settings: of the worker.
        cluster: result of a self-check that was made already; None to make it at start.

    Attributes:
        stage: ``Starting`` until the brokers were asked, then the ``Worker``; also Faust's ``coordinator``.
        health: what the probes ask, in both stages.
    """

    def __init__(self, settings: Settings, cluster: CheckedCluster | None = None) -> None:
        install_no_topic_creation()
        install_rebootstrap()
        super().__init__(settings.group_id, **faust_options(settings))
        self.transport = Transport(self.conf.broker_consumer, self)
        self.settings = settings
        self._checked = cluster
        told = install_observed_recovery(self)
        recovery = RecoveryProgress(told.progress)
        told.on_begin, told.on_known = recovery.begin, recovery.look
        starting = Starting(settings, recovery)
        self.health = starting.health
        self.stage: Starting | Worker = starting
        self.coordinator = starting
        # Nobody but the main pool combines, and has this table.
        self.faust_tables = FaustTables(
            self._table("partial-counts"), self._table("combined-counts") if settings.combines else None
        )
        schema = BatchSchema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        for priority in settings.priorities:
            topic = self.topic(settings.notification_topic(priority), schema=schema)
            self.agent(topic, name=f"ingest-{priority.lower()}")(self._ingest)
        if settings.combines:
            partials = self.topic(settings.internal_topic("partials"), schema=schema)
            self.agent(partials, name="combine")(self._combine)

    @property
    def changelog_prefix(self) -> str:
        """What the names of changelogs begin with: all pools share them."""
        return self.settings.app_id

    def _table(self, name: str) -> Any:
        return self.Table(
            name,
            partitions=self.settings.partitions,
            key_type=bytes,
            value_type=bytes,
            options=store_options(self.settings.partitions),
            recovery_buffer_size=1000,
        )

    # ---------------------------------------------------------------- agents

    async def _ingest(self, stream: Any) -> None:
        worker = self._worker()
        await run_ingest(stream, worker.ingest, worker.counting.source, worker.traffic.done, self.fail)

    async def _combine(self, stream: Any) -> None:
        worker = self._worker()
        await run_combine(stream, worker.counting.combiner, worker.clock.now_s, worker.pace, self.fail)

    def _worker(self) -> Worker:
        if isinstance(self.stage, Worker):
            return self.stage
        raise RuntimeError("the app has not been started")

    # ---------------------------------------------------------------- life cycle

    async def on_start(self) -> None:
        """Start what must run before the group is joined: web views, self-check, producers, lanes."""
        await super().on_start()
        starting = self.stage
        if not isinstance(starting, Starting):
            raise RuntimeError("the app has been started before")  # noqa: TRY004 - it is a matter of when
        try:
            starting.stalls.start()
            await starting.web.start()
            stores = store_folders(self)
            await asyncio.to_thread(wait_for_locks, stores, self.settings.drain_deadline_s + _AFTER_DRAIN_S)
            await asyncio.to_thread(quarantine_damaged, stores)
            cluster = self._checked or await self._check_once_there()
            if cluster is None:
                return  # told to stop while it waited for brokers
            await refuse_foreign_topic(
                self.settings.event_counts_topic, self.settings.app_id, cluster.slices, starting.options
            )
        except ConfigurationError as error:
            sys.stderr.write(f"tocsin: {error}\n")
            sys.stderr.flush()
            os._exit(error.exit_code)
        mine = {topic: cluster.topic_ids[topic] for topic in self._topics_of_lanes()}
        offsets = await inherited_offsets(self.settings, mine)
        if self.should_stop:
            return
        inherited = {TP(*place): offset for place, offset in offsets.items()}
        worker = Worker(self, starting, self.faust_tables, cluster, inherited)
        self.stage = self.coordinator = worker
        worker.pools.start(self.refused)
        await worker.start()

    async def _check_once_there(self) -> CheckedCluster | None:
        patience_s = patience_with_brokers_s(self.settings, terminal=sys.stderr.isatty())
        return await check_once_there(self.settings, patience_s, lambda: not self.should_stop)

    def _topics_of_lanes(self) -> list[str]:
        settings = self.settings
        followed = [settings.internal_topic("partials")] if settings.combines else []
        return [settings.notification_topic(priority) for priority in settings.priorities] + followed

    async def on_stop(self) -> None:
        """Drain and commit first, while the producers still run."""
        self.health.draining()
        await super().on_stop()
        await self.stage.stop()

    def fail(self, error: BaseException) -> None:
        """Stop working at once, and end the worker: nothing more may be committed."""
        self.on_crash(error)
        super().fail(error)

    def on_crash(self, error: BaseException) -> None:
        """Work no more; say in one sentence what to do about the disk, set aside what is damaged."""
        self.stage.halt()
        if self.health.error is not None:
            return
        self.health.failed(error)
        if isinstance(error, DamagedStoreError):
            try:
                error.damaged.quarantine(error)
            except OSError:
                log.exception("A damaged local table could not be set aside.")
        elif isinstance(error, LocalStateError | CorruptChangelogError):
            log.critical("%s", error)

    def instance_taken(self) -> None:
        """Another worker runs with our instance id: say so, and stop in good order, without a commit."""
        settings = self.settings
        error = ConfigurationError(
            f"Another worker of the group {settings.group_id} has taken over the instance id "
            f"{settings.instance_id}, so this one ends: give each worker a TOCSIN_INSTANCE_ID of its own."
        )
        self.refused(error)

    def refused(self, error: ConfigurationError) -> None:
        """This worker must not go on beside others: say so, and stop in good order."""
        log.critical("%s", error)
        self.stage.halt()
        self.health.failed(error)
        os.kill(os.getpid(), signal.SIGTERM)


def make_app(settings: Settings | None = None, cluster: CheckedCluster | None = None) -> TocsinApp:
    """Build the app; connects nothing.

    Args:
        settings: read from environment and file when None.
        cluster: result of a self-check that was made already.

    Raises:
        ConfigurationError: the settings are wrong, or the data folder is not writable.
        LocalStateError: there is no room in the data folder.
    """
    settings = settings or load_settings()
    check_data_dir(settings.data_dir.absolute())
    return TocsinApp(settings, cluster)


def __getattr__(name: str) -> Any:
    """Make ``app`` on first use, for ``faust -A tocsin.app``."""
    if name == "app":
        app = make_app()
        globals()["app"] = app
        return app
    raise AttributeError(name)
