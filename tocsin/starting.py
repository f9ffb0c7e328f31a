"""A worker that starts: what there is from the beginning, and the web views answer from until it works."""

from __future__ import annotations

from collections.abc import Mapping

from faust.types import TP

from agents.again import AskedAgain, OutdatedRows
from agents.deliveries.hub_pings import HubPings
from agents.flush_pace import FlushPace
from streams.broker.client_options import client_options
from streams.broker.clock_check import ClockCheck
from streams.broker.outage import BrokerWatch
from streams.broker.topic_watch import TopicWatch
from streams.dead_letters.latest import LatestDeadLetters
from streams.quantities import quantity
from streams.settings import Settings
from streams.upstream.recovery_progress import RecoveryProgress
from tables.alerts_reader import AlertsReader
from tables.feeds import pinged_feeds
from tables.fleet.reader import FleetReader
from tables.totals_reader import TotalsReader
from tables.views.server import ViewServer
from tocsin.health import WorkerHealth
from tocsin.nothing_yet import NothingYet
from tocsin.stalls import StallWatch


class Starting:
    """The stage before the brokers were asked: nothing is fetched, counted or committed.

    What it holds needs no answer of theirs, and goes on to be used by the ``Worker``.
    """

    def __init__(self, settings: Settings, recovery: RecoveryProgress) -> None:
        self.settings = settings
        self.recovery = recovery
        self.options = client_options(settings)
        self.pace = FlushPace(settings.flush_interval_s)
        self.outdated = OutdatedRows()
        self.asked = AskedAgain()
        self.clock = ClockCheck()
        self.reader = TotalsReader(
            settings.event_counts_topic,
            self.options,
            app=settings.app_id,
            on_outdated=self.outdated.add,
            on_question=self.asked.add,
            on_busy=self.pace.spent,
            clock=self.clock.now_s,
        )
        self.alerts = AlertsReader.of(settings, self.options)
        self.dead_letters = LatestDeadLetters(settings)
        self.pings = HubPings(settings.feed_hub, settings.feed_url, pinged_feeds(settings), self.alerts)
        self.fleet = FleetReader(settings.status_topic, settings.app_id, self.options, clock=self.clock.now_s)
        self.brokers = BrokerWatch(settings.brokers, self.options, settings.event_counts_topic)
        self.topics = TopicWatch(self.options)
        self.health = WorkerHealth(recovery, self.brokers, self.topics, self.reader, self.clock)
        nothing = NothingYet()
        self.stalls = StallWatch()
        self.web = ViewServer(
            settings,
            counts=self.reader,
            scheduler=nothing,
            health=self.health,
            stats=nothing,
            stalls=self.stalls.log,
            alerts=self.alerts,
            hub=self.pings,
            fleet=self.fleet,
            dead_letters=self.dead_letters,
        )

    async def stop(self) -> None:
        """Stop what this stage has started."""
        await self.dead_letters.stop()
        await self.web.stop()
        self.stalls.stop()

    def halt(self) -> None:
        """Dispatch no further batch: there is none."""

    # ---------------------------------------------------------------- Coordinator: there is no assignment yet

    def fetches(self, topic: str) -> bool:  # noqa: ARG002
        """No lane fetches anything."""
        return False

    def manages(self, topic: str) -> bool:  # noqa: ARG002
        """No offsets are managed."""
        return False

    def committable(self) -> Mapping[TP, int]:
        """Nothing may be committed."""
        return {}

    def commit_note(self, tp: TP, offset: int) -> str:  # noqa: ARG002
        """Nothing is committed."""
        return ""

    async def drain(self) -> None:
        """Nothing is in flight."""

    async def on_revoked(self) -> None:
        """There is nothing to forget."""

    async def on_ready(
        self,
        assigned: set[TP],
        committed: Mapping[TP, int | None],
        topic_ids: Mapping[str, str],  # noqa: ARG002
    ) -> None:
        """Cannot be: the group is joined by a worker that has been made."""
        partitions = quantity(len(assigned), "partition")
        raise RuntimeError(f"{partitions}, {len(committed)} committed, came before the worker was made")
