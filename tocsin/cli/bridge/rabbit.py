"""``tocsin bridge rabbit``: put on Kafka what the services of a cloud publish to RabbitMQ."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from streams.bridges.rabbit import RabbitBridge, RabbitSource
from streams.bridges.rabbit_queues import Declared
from streams.bridges.to_kafka import KafkaWriter
from streams.broker.admin import admin_client
from streams.broker.client_options import client_options
from streams.broker.outage import BrokerWatch
from streams.broker.self_check import patience_with_brokers_s, wait_for_brokers
from streams.publishing.rabbit_urls import rabbit_urls
from streams.quantities import quantity
from streams.settings import ConfigurationError, Settings
from streams.upstream.no_topic_creation import install_no_topic_creation
from streams.upstream.rebootstrap import install_rebootstrap
from tocsin.bridge_rabbit.probes import BridgeHealth, make_app
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.options import brokers_option, examples
from tocsin.cli.common.running import begin_log, exit_code_of_errors, on_signals, silence_client
from tocsin.cli.worker import install_event_loop
from tocsin.small_server import listening

log = logging.getLogger(__name__)

#: Seconds that an administrative request to Kafka may take, and that Kafka has at the end to confirm.
_KAFKA_S = 10.0
#: Bytes under way to Kafka: enough for full batches, and little to wait behind.
_AHEAD_BYTES = 4 * 2**20


@click.command(
    short_help="Put on Kafka what a cloud publishes to RabbitMQ.",
    epilog=examples(
        "tocsin bridge rabbit --url rabbit://openstack:secret@controller:5672/",
        "tocsin bridge rabbit --topic notifications --topic versioned_notifications",
        "tocsin bridge rabbit --declare --transient --exchange nova --exchange neutron",
    ),
)
@click.option(
    "--url",
    metavar="URL",
    show_default="TOCSIN_RABBIT_URL",
    help="Where RabbitMQ is: nova's transport_url, or amqp://user:password@host:5672/vhost. "
    "Others on this machine can read it here; the environment is better.",
)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    default=("notifications",),
    metavar="TOPIC",
    help="Consume the queues <topic>.<priority>; may be given several times.",
)
@click.option(
    "--declare", is_flag=True, help="Make queues that are missing, and bind them to each --exchange."
)
@click.option(
    "--exchange",
    "exchanges",
    multiple=True,
    metavar="EXCHANGE",
    help="With --declare: the control_exchange of a service, such as nova; may be given several times.",
)
@click.option(
    "--durable/--transient",
    default=None,
    help="With --declare: whether what is made survives a restart; amqp_durable_queues of the services.",
)
@click.option(
    "--queue-type",
    type=click.Choice(["classic", "quorum"]),
    default="classic",
    help="With --declare: quorum where the services have rabbit_quorum_queue.",
)
@click.option(
    "--prefetch",
    type=click.IntRange(1, 65535),
    default=500,
    help="Messages of each queue that are under way at most.",
)
@brokers_option
@config_option
def rabbit(
    url: str | None,
    topics: tuple[str, ...],
    declare: bool,
    exchanges: tuple[str, ...],
    durable: bool | None,
    queue_type: str,
    prefetch: int,
    brokers: str | None,
) -> None:
    """Consume the notification queues of a cloud and put every message on Kafka, the more urgent first.

    A message is acknowledged once Kafka has confirmed it: nothing is lost, and what comes twice after a fault
    has the same header message-id. Priorities are those of TOCSIN_PRIORITIES. Several may run at once, each
    with its own TOCSIN_RABBIT_BRIDGE_PORT for /livez, /readyz and /metrics.

    SIGTERM ends it in good order. Exit codes: 0 ended by a signal, 2 wrong usage, 75 RabbitMQ or Kafka away
    at the start, 78 wrong configuration.
    """
    if declare and (not exchanges or durable is None):
        raise click.UsageError(
            "--declare needs --exchange, such as nova, and --durable or --transient, "
            "as amqp_durable_queues of the services says (false unless it is set)."
        )
    if not declare and (durable is not None or queue_type != "classic"):
        raise click.UsageError("--durable, --transient and --queue-type need --declare.")
    if queue_type == "quorum" and durable is False:
        raise click.UsageError("--queue-type quorum needs --durable: RabbitMQ has no other.")
    if any(not topic or topic.startswith("amq.") for topic in topics):
        raise click.UsageError("--topic must be a name such as notifications, and may not begin with amq.")
    settings = command_settings(brokers=brokers)
    begin_log(settings)
    with exit_code_of_errors():
        patience_s = patience_with_brokers_s(settings, terminal=sys.stderr.isatty())
        source = RabbitSource(
            urls=rabbit_urls(url if url is not None else _url(settings)),
            topics=list(dict.fromkeys(topics)),
            weights=settings.effective_weights,
            mode=settings.effective_mode,
            declared=Declared(exchanges, bool(durable), queue_type == "quorum") if declare else None,
            prefetch=prefetch,
            patience_s=patience_s,
        )
        install_event_loop()
        asyncio.run(_bridge(settings, source, patience_s))


def _url(settings: Settings) -> str:
    if settings.rabbit_url is None:
        raise ConfigurationError(
            "Nothing says where RabbitMQ is: set TOCSIN_RABBIT_URL or TOCSIN_RABBIT_URL_FILE, or give "
            "--url, as in amqp://user:password@host:5672/vhost."
        )
    return settings.rabbit_url.get_secret_value()


async def _bridge(settings: Settings, source: RabbitSource, patience_s: float) -> None:
    stop = asyncio.Event()
    install_no_topic_creation()
    install_rebootstrap()
    silence_client()
    # What this client says on its way to a failure the bridge says itself, at a limited rate.
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    writer = KafkaWriter(settings, ahead_bytes=_AHEAD_BYTES)
    bridge = RabbitBridge(writer, source)
    brokers = BrokerWatch(
        settings.brokers, client_options(settings), settings.notification_topic(next(iter(source.weights)))
    )
    health = BridgeHealth(bridge, writer, brokers, stop.is_set)
    web = listening(
        make_app(health),
        settings.rabbit_bridge_host,
        settings.rabbit_bridge_port,
        setting="TOCSIN_RABBIT_BRIDGE",
    )
    with on_signals(stop.set):
        async with web:
            there = await wait_for_brokers(
                lambda: _check_topics(settings, source), patience_s, lambda: not stop.is_set()
            )
            if there is None:
                return
            try:
                if not await writer.start(lambda: not stop.is_set()):
                    return
                health.connected = True
                brokers.start(1)
                await bridge.run(stop)
            finally:
                await brokers.stop()
                await writer.stop(0.0)
        log.info(
            "%s confirmed, %s.",
            quantity(bridge.confirmed, "message was", "messages were"),
            quantity(bridge.refused, "of that as a dead letter", "of that as dead letters"),
        )


async def _check_topics(settings: Settings, source: RabbitSource) -> bool:
    """Make sure that Kafka has the topics, so that nothing waits for ones that never come."""
    async with admin_client(settings, timeout_s=_KAFKA_S) as admin:
        there = set(await admin.list_topics())
    needed = [*(settings.notification_topic(each) for each in source.weights), settings.dead_letter_topic]
    if missing := [topic for topic in needed if topic not in there]:
        raise ConfigurationError(
            f"Kafka has no topic {', '.join(missing)}, or does not show it to this user: "
            "create the topics with `tocsin topics apply`."
        )
    return True
