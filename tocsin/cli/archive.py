"""``tocsin archive``: raw notifications to compressed files."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from pathlib import Path
from typing import Final

import click
from aiokafka.errors import KafkaError

from streams.archive.archiver import Archiver, group_of
from streams.archive.files import ArchiveWriter, finish_left_behind
from streams.broker.admin import admin_client
from streams.settings import ConfigurationError, Settings
from streams.upstream.topic_ids import NOT_AUTHORISED, UNKNOWN_TOPIC, fetch_topics
from tocsin.cli.config_option import command_settings, config_option
from tocsin.cli.options import Duration, brokers_option, examples
from tocsin.cli.running import on_signals
from tocsin.logs import configure_logging

log = logging.getLogger(__name__)

_CONNECT_S: Final = 10.0


@click.command(
    epilog=examples(
        "tocsin archive /var/lib/tocsin/archive",
        "tocsin archive /var/lib/tocsin/archive --roll-mib 256 --roll-after 15m",
    )
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--group", show_default="<app id>-archive", help="Consumer group, one for each archive.")
@click.option(
    "--roll-mib",
    type=click.FloatRange(min=0, min_open=True),
    default=128.0,
    show_default=True,
    help="A file of this size, compressed, is followed by another.",
)
@click.option("--roll-after", type=Duration(), default="1h", show_default=True, help="So is one of this age.")
@brokers_option
@config_option
def command(folder: Path, group: str | None, roll_mib: float, roll_after: float, brokers: str | None) -> None:
    """Write raw notifications of all priorities to compressed JSON-lines files in DIR, until SIGTERM.

    Each record is a line with its topic, partition, offset, time, key, value and headers. Offsets are
    committed once the lines are on the disk, so that a crash loses nothing. Several archivers share the
    work, and may share DIR. A file that is written to ends in .part.

    Exit codes: 0 ended by a signal, 78 wrong configuration.
    """
    settings = command_settings(brokers=brokers)
    configure_logging(settings)
    name = f"notifications-{socket.gethostname()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sentence in finish_left_behind(folder, name):
            log.warning("%s", sentence)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be used as the folder of an archive ({error.strerror}): name another."
        ) from None
    writer = ArchiveWriter(folder, name, roll_bytes=int(roll_mib * 2**20), roll_s=roll_after)
    sys.exit(asyncio.run(_archive(settings, writer, group or group_of(settings))))


async def _archive(settings: Settings, writer: ArchiveWriter, group: str) -> int:
    await _check_topics(settings)
    stop = asyncio.Event()
    archiver = Archiver(settings, writer, group)
    with on_signals(stop.set):
        await archiver.run(stop)
    log.info("Archived %d records, %.1f MiB compressed.", archiver.records, writer.written / 2**20)
    return 0


async def _check_topics(settings: Settings) -> None:
    """See that the topics are there, since a consumer would have the brokers create them."""
    names = [settings.notification_topic(each) for each in settings.priorities]
    try:
        async with admin_client(settings, timeout_s=_CONNECT_S) as admin:
            found = await fetch_topics(admin, names)
    except (KafkaError, TimeoutError) as error:
        raise ConfigurationError(
            f"Kafka at {settings.brokers} does not answer ({str(error) or type(error).__name__}): "
            "look at the brokers, or set TOCSIN_BROKERS."
        ) from None
    for topic in found.values():
        if topic.error == UNKNOWN_TOPIC:
            raise ConfigurationError(f"The topic {topic.name} is missing: run `tocsin topics apply`.")
        if topic.error == NOT_AUTHORISED or not topic.may_read:
            raise ConfigurationError(
                f"The topic {topic.name} may not be read by this user: grant Read on it."
            )
        if topic.error is not None:
            raise ConfigurationError(f"The topic {topic.name} cannot be used: the broker says {topic.error}.")
