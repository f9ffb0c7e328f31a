"""The composition root: builds the Faust app and wires streams, tables and agents together.

This is the one module that looks upward from ``streams``. ``faust -A tocsin.app worker`` finds the
app as the attribute ``app``, which is made on first use; importing the module does nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import faust
from faust.types import TP

from agents.combine import run_combine
from agents.counting import Counting, Topics
from agents.effects import Effects
from agents.flush_pace import FlushPace
from agents.ingest import Ingest, run_ingest
from streams.broker.client_options import client_options, ssl_context
from streams.broker.outage import BrokerWatch
from streams.broker.pools import inherited_offsets
from streams.broker.self_check import ClusterView, self_check
from streams.notifications import Priority
from streams.scheduling.age_guard import AgeGuard
from streams.settings import EXIT_CONFIG, ConfigurationError, Settings, load_settings
from streams.transport.delivery import ConfirmedProducer
from streams.transport.traffic import Traffic
from streams.upstream.faust_app import App, member_alive
from streams.upstream.faust_messages import BatchSchema
from streams.upstream.faust_recovery import install_observed_recovery
from streams.upstream.faust_tables import SharedTable
from streams.upstream.faust_transport import Transport
from streams.upstream.recovery_progress import RecoveryProgress
from streams.upstream.store_faults import (
    LocalStateError,
    check_data_dir,
    quarantine_damaged,
    wait_for_locks,
)
from streams.upstream.stores import DamagedStoreError, store_folders
from tables.durable_table import DurableTable
from tables.public_rows import PublicKey
from tables.store_memory import store_options
from tables.totals_reader import TotalsReader
from tables.views.server import ViewServer
from tocsin.health import WorkerHealth
from tocsin.live_profile import LiveProfile

log = logging.getLogger(__name__)

#: Seconds for which a worker that ends may keep its local state open after its drain deadline.
_AFTER_DRAIN_S = 5.0
#: Seconds between looks at how far recovery is.
_LOOK_INTERVAL_S = 0.5


class TocsinApp(App):
    """A Faust app that consumes notifications by priority and counts them exactly."""

    settings: Settings
    view: ClusterView | None = None

    def wire(self, settings: Settings, view: ClusterView | None = None) -> None:
        """Declare topics, tables and agents; connect nothing."""
        self.settings = settings
        self.view = view
        self.coordinator = self
        self._options = client_options(settings)
        writer = secrets.token_hex(6)
        self.alert_producer = ConfirmedProducer("alerts", self._options, linger_ms=0)
        # Not lz4: aiokafka takes its slowest level, 13 ms of the event loop for a full batch instead of 1 ms.
        self.count_producer = ConfirmedProducer("counts", self._options, linger_ms=2, compression="snappy")
        self.effects = Effects(self.alert_producer)
        self.ingest = Ingest(settings, self.effects)
        self.partial_counts = DurableTable(self._table("partial-counts"), self.count_producer, writer)
        # Nobody but the main pool combines, and has this table.
        self.combined_counts = (
            DurableTable(self._table("combined-counts"), self.count_producer, writer)
            if settings.combines
            else None
        )
        self.pace = FlushPace(settings.flush_interval_s)
        self.reader = TotalsReader(
            settings.event_counts_topic,
            self._options,
            on_outdated=self._on_outdated_counts,
            on_busy=self.pace.spent,
        )
        told = install_observed_recovery(self)
        self.recovery = RecoveryProgress(told.progress)
        told.on_begin, told.on_known = self.recovery.begin, self.recovery.look
        self.brokers = BrokerWatch(settings.brokers, self._options, settings.event_counts_topic)
        self.health = WorkerHealth(self, self.ingest.stats)
        self.counting: Counting | None = None
        self.traffic: Traffic | None = None
        self.profile: LiveProfile | None = None
        self._inherited: dict[TP, int] = {}
        self.views: ViewServer | None = None
        self.rebalances = 0
        schema = BatchSchema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        for priority in settings.priorities:
            topic = self.topic(settings.notification_topic(priority), schema=schema)
            self.agent(topic, name=f"ingest-{priority.lower()}")(self._ingest_agent)
        if settings.combines:
            partials = self.topic(settings.internal_topic("partials"), schema=schema)
            self.agent(partials, name="combine")(self._combine_agent)

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

    async def _ingest_agent(self, stream: Any) -> None:
        counting, traffic = self._running()
        await run_ingest(stream, self.ingest, counting.source, traffic.done, self.fail)

    async def _combine_agent(self, stream: Any) -> None:
        counting, _ = self._running()
        await run_combine(stream, counting.combiner, time.time, self.pace, self.fail)

    def _on_outdated_counts(self, key: PublicKey) -> None:
        if self.counting is not None:
            self.counting.outdated(key)

    def _running(self) -> tuple[Counting, Traffic]:
        if self.counting is None or self.traffic is None:
            raise RuntimeError("the app has not been started")
        return self.counting, self.traffic

    def fail(self, error: BaseException) -> None:
        """Stop working at once, and end the worker: nothing more may be committed."""
        self.on_crash(error)
        super().fail(error)

    def on_crash(self, error: BaseException) -> None:
        """Work no more; say in one sentence what to do about the disk, set aside what is damaged."""
        if self.traffic is not None:
            self.traffic.halt()
        if self.health.error is not None:
            return
        self.health.failed(error)
        if isinstance(error, DamagedStoreError):
            try:
                error.damaged.quarantine(error)
            except OSError:
                log.exception("A damaged local table could not be set aside.")
        elif isinstance(error, LocalStateError):
            log.critical("%s", error)

    def instance_taken(self) -> None:
        """Another worker runs with our instance id: say so, and stop in good order, without a commit."""
        settings = self.settings
        error = ConfigurationError(
            f"Another worker of the group {settings.group_id} has taken over the instance id "
            f"{settings.instance_id}, so this one ends: give each worker a TOCSIN_INSTANCE_ID of its own."
        )
        log.critical("%s", error)
        if self.traffic is not None:
            self.traffic.halt()
        self.health.failed(error)
        os.kill(os.getpid(), signal.SIGTERM)

    # ---------------------------------------------------------------- life cycle

    async def on_start(self) -> None:
        """Start what must run before the group is joined: web views, self-check, producers, lanes."""
        await super().on_start()
        settings = self.settings
        health = self.health
        views = ViewServer(settings, counts=self.reader, scheduler=self, health=health, stats=health)
        try:
            await views.start()
            self.views = views
            stores = store_folders(self)
            await asyncio.to_thread(wait_for_locks, stores, settings.drain_deadline_s + _AFTER_DRAIN_S)
            quarantine_damaged(stores)
            view = self.view = self.view or await self_check(settings)
        except ConfigurationError as error:
            sys.stderr.write(f"tocsin: {error}\n")
            sys.stderr.flush()
            os._exit(EXIT_CONFIG)
        topics = Topics(
            partials=settings.internal_topic("partials"),
            event_counts=settings.event_counts_topic,
            ids=view.topic_ids,
            partitions=view.partitions,
        )
        self.counting = Counting(
            settings,
            topics,
            self.partial_counts,
            self.combined_counts,
            self.count_producer,
            self.effects,
            self.pace,
        )
        followed = [topics.partials] if settings.combines else []
        mine = [settings.notification_topic(priority) for priority in settings.priorities] + followed
        offsets = await inherited_offsets(settings, mine)
        self._inherited = {TP(*place): offset for place, offset in offsets.items()}
        self.traffic = Traffic(self, settings, self.counting, self._options, followed=followed)
        self.profile = LiveProfile(settings, self.traffic.set_profile)
        # From here on brokers that go are waited for, and somebody says so.
        self.brokers.start(view.writes_need)
        producers = (self.alert_producer, self.count_producer)
        if not all(await asyncio.gather(*(each.start(lambda: not self.should_stop) for each in producers))):
            return
        await self.traffic.start()
        await self.reader.start(view.partitions)
        self.counting.start(self.fail, self._commit)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.profile.reload)
        self.add_future(self._watch_recovery())
        log.info("Joining the group %s.", settings.group_id)
        self.health.reached_brokers()
        self.recovery.joining()

    async def _watch_recovery(self) -> None:
        while not self.should_stop:
            self.recovery.look()
            await asyncio.sleep(_LOOK_INTERVAL_S)

    async def on_stop(self) -> None:
        """Drain and commit first, while the producers still run."""
        self.health.draining()
        await super().on_stop()
        if self.counting is not None:
            await self.counting.stop()
        if self.traffic is not None:
            await self.traffic.stop()
        await self.brokers.stop()
        await self.reader.stop()
        await self.alert_producer.stop()
        await self.count_producer.stop()
        if self.views is not None:
            await self.views.stop()

    # ---------------------------------------------------------------- Coordinator, for the transport

    def fetches(self, topic: str) -> bool:
        """Whether a lane fetches ``topic``."""
        return self._running()[1].fetches(topic)

    def manages(self, topic: str) -> bool:
        """Whether offsets of ``topic`` are committed from what is durable."""
        return self.traffic is not None and self.traffic.manages(topic)

    def committable(self) -> Mapping[TP, int]:
        """Offsets that may be committed."""
        return self._running()[1].committable()

    async def drain(self) -> None:
        """Finish what is in flight."""
        if self.traffic is not None:
            await self.traffic.drain()

    async def on_revoked(self) -> None:
        """Forget the assignment that ended."""
        self.rebalances += 1
        if self.traffic is not None:
            await self.traffic.on_revoked()

    async def on_ready(self, assigned: set[TP], committed: Mapping[TP, int | None]) -> None:
        """Begin with the new assignment."""
        self.recovery.recovered()
        try:
            traffic = self._running()[1]
            committed = self._with_inherited(assigned, committed)
            await traffic.on_ready(assigned, committed)
            if traffic.ready.is_set():
                self.recovery.ready()
        except Exception as error:
            log.exception("Taking up the assigned partitions failed.")
            self.fail(error)

    def _with_inherited(
        self, assigned: set[TP], committed: Mapping[TP, int | None]
    ) -> Mapping[TP, int | None]:
        """``committed``, and what a pool that served a partition before had, where that is further."""
        further = {
            tp: offset
            for tp, offset in self._inherited.items()
            if tp in assigned and offset > (committed.get(tp) or 0)
        }
        if further:
            log.info("Going on from where another pool was, in %d partitions.", len(further))
        return {**committed, **further}

    async def _commit(self) -> None:
        if self.traffic is not None and self.traffic.ready.is_set():
            await self.consumer.commit()

    def member_alive(self) -> bool:
        """Whether the group membership is being kept up."""
        return member_alive(self)

    # ---------------------------------------------------------------- SchedulerSource, for the views

    def snapshot(self) -> Mapping[Any, Any]:
        """What every class has and gets; empty before the start."""
        return {} if self.traffic is None else self.traffic.snapshot()

    @property
    def virtual_time(self) -> float:
        """Virtual time of the fair queue."""
        return 0.0 if self.traffic is None else self.traffic.scheduler.virtual_time

    @property
    def guard(self) -> AgeGuard[Priority, int] | None:
        """The age guard."""
        return None if self.traffic is None else self.traffic.scheduler.guard


def make_app(settings: Settings | None = None, view: ClusterView | None = None) -> TocsinApp:
    """Build the app.

    Args:
        settings: read from environment and file when None.
        view: result of a self-check that was made already.

    Raises:
        ConfigurationError: the settings are wrong, or the data folder is not writable.
        LocalStateError: there is no room in the data folder.
    """
    settings = settings or load_settings()
    instance = settings.instance_id
    data_dir = settings.data_dir.absolute()
    check_data_dir(data_dir)
    app = TocsinApp(
        settings.group_id,
        broker=[f"kafka://{address}" for address in settings.broker_list],
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=min(3.0, settings.session_timeout_s / 3),
        broker_request_timeout=max(30.0, settings.session_timeout_s + 5),
        broker_rebalance_timeout=max(30.0, settings.drain_deadline_s + 10),
        broker_commit_interval=1.0,
        broker_commit_every=1_000_000,
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        # Faust compares it with the address it had before, so it must not change over a restart.
        canonical_url=f"http://{instance or f'{socket.gethostname()}-{os.getpid()}'}:1",
        datadir=str(data_dir),
        store="rocksdb://?driver=rocksdict",
        Table=SharedTable,
        processing_guarantee="at_least_once",
        producer_acks=-1,
        stream_wait_empty=True,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication_factor,
        stream_recovery_delay=0.0,
        web_enabled=False,
        worker_redirect_stdouts=False,
        autodiscover=False,
        loghandlers=[],
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    app.wire(settings, view)
    return app


def _credentials(settings: Settings) -> Any:
    context = ssl_context(settings) if settings.security_protocol.endswith("SSL") else None
    if settings.security_protocol.startswith("SASL"):
        password = settings.sasl_password
        return faust.SASLCredentials(
            username=settings.sasl_username,
            password=password.get_secret_value() if password else None,
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None


def __getattr__(name: str) -> Any:
    """Make ``app`` on first use, for ``faust -A tocsin.app``."""
    if name == "app":
        app = make_app()
        globals()["app"] = app
        return app
    raise AttributeError(name)
