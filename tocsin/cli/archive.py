"""``tocsin archive``: raw notifications to compressed files."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from streams.archive.archiver import Archiver, group_of
from streams.archive.files import ArchiveWriter, finish_left_behind
from streams.broker.admin import admin_client
from streams.broker.self_check import patience_with_brokers_s, wait_for_brokers
from streams.broker.topic_problems import topic_fault
from streams.quantities import quantity
from streams.settings import ConfigurationError, Settings
from streams.upstream.no_topic_creation import install_no_topic_creation
from streams.upstream.rebootstrap import install_rebootstrap
from streams.upstream.topic_ids import fetch_topics
from tocsin.archive.probes import ArchiveHealth, make_app
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.options import Duration, brokers_option, examples
from tocsin.cli.common.running import begin_log, exit_code_of_errors, on_signals
from tocsin.small_server import listening

log = logging.getLogger(__name__)

#: Seconds for the brokers to answer, at one try of the start.
_CONNECT_S: Final = 10.0


@click.command(
    epilog=examples(
        "tocsin archive /var/lib/tocsin/archive",
        "tocsin archive /var/lib/tocsin/archive --roll-mib 256 --roll-after 15m",
        "tocsin archive /backup --ready-file /run/tocsin-archive.ready",
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
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path),
    help="File that is there while it archives, and not while it cannot, as where the disk is full.",
)
@brokers_option
@config_option
def command(
    folder: Path,
    group: str | None,
    roll_mib: float,
    roll_after: float,
    ready_file: Path | None,
    brokers: str | None,
) -> None:
    """Write raw notifications of all priorities to compressed JSON-lines files in DIR, until SIGTERM.

    Each record is a line with its topic, partition, offset, time, key, value and headers. Offsets are
    committed once the lines are on the disk, so that a crash loses nothing. What cannot be had any more has a
    mark in its place. Several archivers share the work, and may share DIR; with a TOCSIN_INSTANCE_ID of its
    own each, one that restarts goes on at once. On one machine, give each its own TOCSIN_ARCHIVE_PORT for
    /livez, /readyz and /metrics. A file that is written to ends in .part.

    Exit codes: 0 ended by a signal, 1 failed, 75 Kafka away at the start, 78 wrong configuration.
    """
    settings = command_settings(brokers=brokers)
    begin_log(settings)
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
    with exit_code_of_errors():
        sys.exit(asyncio.run(_archive(settings, writer, group or group_of(settings), ready_file)))


async def _archive(settings: Settings, writer: ArchiveWriter, group: str, ready_file: Path | None) -> int:
    stop = asyncio.Event()
    install_no_topic_creation()
    install_rebootstrap()
    patience_s = patience_with_brokers_s(settings, terminal=sys.stderr.isatty())
    health = ArchiveHealth(stop.is_set)
    web = listening(
        make_app(health, writer),
        settings.archive_host,
        settings.archive_port,
        setting="TOCSIN_ARCHIVE",
    )
    with on_signals(stop.set):
        async with web:
            there = await wait_for_brokers(
                lambda: _check_topics(settings), patience_s, lambda: not stop.is_set()
            )
            if there is None:
                return 0
            archiver = health.archiver = Archiver(settings, writer, group, _ready_file(ready_file))
            try:
                await archiver.run(stop)
            except ConfigurationError:
                raise
            except Exception:
                log.critical("The archiver has failed.", exc_info=True)
                return 1
    log.info(
        "Archived %s, %.1f MiB compressed.", quantity(archiver.records, "record"), writer.written / 2**20
    )
    return 0


async def _check_topics(settings: Settings) -> bool:
    """See that the topics are there and may be read.

    Raises:
        BrokersAwayError: no broker answers at present.
        ConfigurationError: a topic is missing, or closed to this user.
    """
    names = [settings.notification_topic(each) for each in settings.priorities]
    async with admin_client(settings, timeout_s=_CONNECT_S) as admin:
        found = await fetch_topics(admin, names)
    for topic in found.values():
        if (fault := topic_fault(topic, reads=True)) is not None:
            raise ConfigurationError(fault)
    return True


def _ready_file(path: Path | None) -> Callable[[bool], None]:
    """What tells of being ready: in the log, and by a file that is there or not."""

    def say(ready: bool) -> None:
        log.info("Ready." if ready else "Not ready.")
        if path is None:
            return
        try:
            path.touch() if ready else path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be changed: %s.", path, error.strerror)

    if path is not None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"--ready-file: {path} cannot be changed ({error.strerror}): name another."
            ) from None
    return say
