"""The process of ``tocsin bridge http``: takes what is posted, and puts it on Kafka.

It needs the right to write to the notification topics, no group and no folder, so any number of them can run
behind one address. It is all in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from streams.bridges.publishers import Publishers, read_publishers
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.admin import admin_client
from streams.broker.client_options import client_options
from streams.broker.outage import BrokerWatch
from streams.broker.self_check import wait_for_brokers
from streams.quantities import quantity
from streams.settings import BrokersAwayError, ConfigurationError, Settings
from streams.settings.addresses import is_loopback
from streams.settings.files import CONFIG_BYTES, read_text
from streams.upstream.no_topic_creation import install_no_topic_creation
from streams.upstream.rebootstrap import install_rebootstrap
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, fetch_topics
from tocsin.bridge_http.figures import BridgeFigures
from tocsin.bridge_http.health import BridgeHealth
from tocsin.bridge_http.server import BridgeServer
from tocsin.bridge_http.tls import server_context

log = logging.getLogger(__name__)

#: Seconds for the brokers to answer a question.
_ANSWER_S: Final = 5.0
#: Seconds at the end for Kafka to confirm what nobody waits for any more.
_LAST_S: Final = 2.0


async def check_topics(settings: Settings) -> bool:
    """Make sure that the notification topics can be written to; always true.

    Raises:
        BrokersAwayError: no broker answers, or a topic is not there yet.
        ConfigurationError: one may not be written to, or no broker can be used.
    """
    names = [settings.notification_topic(priority) for priority in settings.priorities]
    async with admin_client(settings, timeout_s=_ANSWER_S) as admin:
        topics = await fetch_topics(admin, names)
    for name in names:
        topic = topics[name]
        if topic.error == UNKNOWN_TOPIC:
            raise BrokersAwayError(
                f"There is no topic {name} yet: create the topics with `tocsin topics apply`, "
                "or start a worker, which makes them."
            )
        if topic.error == NOT_AUTHORISED or not topic.may_write:
            raise ConfigurationError(
                f"The topic {name} may not be written to by this user: grant Write on it."
            )
        if topic.error is not None or not topic.partitions:
            raise BrokersAwayError(f"The topic {name} cannot be used ({topic.error}): look at the brokers.")
    return True


class BridgeProcess:
    """Everything that runs in it.

    Args:
        settings: of the brokers, the topics and the bridge.

    Raises:
        ConfigurationError: tokens or certificate cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        publishers = _publishers(settings)
        tls = server_context(settings)
        if publishers is not None and tls is None and not is_loopback(settings.http_bridge_host):
            log.warning(
                "Tokens come in without encryption: set TOCSIN_HTTP_BRIDGE_TLS_CERT_FILE, "
                "or let a proxy before this speak HTTPS."
            )
        self._brokers = BrokerWatch(
            settings.brokers, client_options(settings), settings.notification_topic(settings.priorities[0])
        )
        self._writer = KafkaWriter(settings)
        self.health = BridgeHealth(self._brokers, self._writer)
        self.figures = BridgeFigures()
        self._server = BridgeServer(settings, publishers, tls, self._writer, self.health, self.figures)

    async def run(self, stop: asyncio.Event, patience_s: float) -> None:
        """Serve until ``stop`` is set; then answer what is under way, within a bound.

        Args:
            stop: ends it, in whatever it does.
            patience_s: seconds for which brokers, and topics, are waited for at the start.

        Raises:
            BrokersAwayError: they were away for that long.
            ConfigurationError: something else is wrong, with one sentence that says what to change.
        """
        install_no_topic_creation()
        install_rebootstrap()
        try:
            log.info("The bridge for HTTP is at %s", await self._server.start())
            if await wait_for_brokers(
                lambda: check_topics(self._settings), patience_s, lambda: not stop.is_set()
            ):
                self._brokers.start(1)
                if await self._writer.start(lambda: not stop.is_set()):
                    self.health.waits = None
                    await stop.wait()
        finally:
            self.health.stopping = True
            if not await self._server.drain():
                log.warning("Kafka had not confirmed all of what was under way; its senders were told so.")
            # Who still waits is answered by this, and so before the connections are closed.
            await self._writer.stop(_LAST_S)
            await self._server.stop()
            await self._brokers.stop()
        log.info(
            "The bridge has stopped: Kafka confirmed %s.",
            quantity(self.figures.confirmed.total(), "notification"),
        )


def _publishers(settings: Settings) -> Publishers | None:
    setting = "TOCSIN_HTTP_BRIDGE_TOKENS_FILE"
    path = settings.http_bridge_tokens_file
    if path is None:
        return None
    return read_publishers(read_text(setting, path, limit=CONFIG_BYTES, what="tokens"), setting)
