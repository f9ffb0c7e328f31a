"""The process of ``tocsin web``: reads the public counts into memory, and serves them.

It needs the topic of counts and the right to read it, no group, no folder and no other topic, so any number
of them can run behind one address. It is all in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from streams.broker.admin import admin_client
from streams.broker.client_options import client_options
from streams.broker.outage import BrokerWatch
from streams.broker.self_check import wait_for_brokers
from streams.dead_letters.latest import LatestDeadLetters
from streams.quantities import quantity
from streams.settings import BrokersAwayError, ConfigurationError, Settings
from streams.upstream.no_topic_creation import install_no_topic_creation
from streams.upstream.rebootstrap import install_rebootstrap
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, fetch_topics
from tables.alerts_reader import AlertsReader
from tables.fleet.reader import FleetReader
from tables.totals_reader import TotalsReader
from tables.views.server import ViewServer
from tocsin.nothing_yet import NothingYet
from tocsin.stalls import StallWatch
from tocsin.web.health import WebHealth

log = logging.getLogger(__name__)

#: Seconds for the brokers to answer a question.
_ANSWER_S: Final = 5.0


async def partitions_of_counts(settings: Settings) -> int:
    """Ask how many partitions the topic of counts has.

    Raises:
        BrokersAwayError: no broker answers, or there is no such topic yet.
        ConfigurationError: it may not be read, or no broker can be used.
    """
    name = settings.event_counts_topic
    async with admin_client(settings, timeout_s=_ANSWER_S) as admin:
        topic = (await fetch_topics(admin, [name]))[name]
    if topic.error == UNKNOWN_TOPIC:
        raise BrokersAwayError(
            f"There is no topic {name} yet: start a worker, which makes it, or set TOCSIN_EVENT_COUNTS_TOPIC."
        )
    if topic.error == NOT_AUTHORISED or not topic.may_read:
        raise ConfigurationError(f"The topic {name} may not be read by this user: grant Read on it.")
    if topic.error is not None or not topic.partitions:
        raise BrokersAwayError(f"The topic {name} cannot be used ({topic.error}): look at the brokers.")
    return topic.partitions


class WebProcess:
    """Everything that runs in it.

    Args:
        settings: of the brokers, the topic of counts and the web views.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        options = client_options(settings)
        self._reader = TotalsReader(settings.event_counts_topic, options, app=settings.app_id)
        self._alerts = AlertsReader.of(settings, options)
        self._fleet = FleetReader(settings.status_topic, settings.app_id, options)
        self._dead_letters = LatestDeadLetters(settings)
        self._brokers = BrokerWatch(settings.brokers, options, settings.event_counts_topic)
        self._stalls = StallWatch()
        self.health = WebHealth(self._brokers, self._reader)
        nothing = NothingYet()
        self.web = ViewServer(
            settings,
            counts=self._reader,
            scheduler=nothing,
            health=self.health,
            stats=nothing,
            stalls=self._stalls.log,
            alerts=self._alerts,
            hub=nothing,
            dead_letters=self._dead_letters,
            fleet=self._fleet,
            of_worker=False,
        )

    async def run(self, stop: asyncio.Event, patience_s: float) -> None:
        """Serve until ``stop`` is set.

        Args:
            stop: ends it, in whatever it does.
            patience_s: seconds for which brokers, and the topic, are waited for.

        Raises:
            BrokersAwayError: they were away for that long.
            ConfigurationError: something else is wrong, with one sentence that says what to change.
        """
        install_no_topic_creation()
        install_rebootstrap()
        self._stalls.start()
        try:
            await self.web.start()
            partitions = await wait_for_brokers(
                lambda: partitions_of_counts(self._settings), patience_s, lambda: not stop.is_set()
            )
            if partitions is None:
                return
            self.health.waits = None
            self._brokers.start(1)
            await self._reader.start(partitions)
            self._alerts.start()
            self._fleet.start()
            log.info(
                "Reading %s of %s.", quantity(partitions, "partition"), self._settings.event_counts_topic
            )
            await stop.wait()
        finally:
            self.health.stopping()
            await self._reader.stop()
            await self._alerts.stop()
            await self._fleet.stop()
            await self._dead_letters.stop()
            await self._brokers.stop()
            await self.web.stop()
            self._stalls.stop()
        log.info("The web views have stopped.")
