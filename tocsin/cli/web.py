"""``tocsin web``: serve the web views from a process of their own."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import click

from streams.broker.self_check import patience_with_brokers_s
from streams.settings import Settings
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.options import (
    brokers_option,
    examples,
    log_level_option,
    show_config_option,
    web_port_option,
)
from tocsin.cli.common.running import begin_log, exit_code_of_errors, on_signals
from tocsin.cli.worker import install_event_loop, tune_garbage_collection
from tocsin.web.process import WebProcess

log = logging.getLogger(__name__)


@click.command(
    "web",
    short_help="Serve the web views of the counts.",
    epilog=examples("tocsin web --web-port 6067", "tocsin web --config /etc/tocsin.toml --show-config"),
)
@brokers_option
@click.option(
    "--web-host", show_default="TOCSIN_WEB_HOST", help="Address to listen on; * is every one of this machine."
)
@web_port_option
@log_level_option
@show_config_option
@config_option
def command(show_config: bool, **options: Any) -> None:
    """Serve page, API, live stream and metrics of the counts, so that no reader costs a worker anything.

    It reads the topic of counts and writes nothing. Any number of these can run behind one address.
    """
    settings = command_settings(**options)
    if show_config:
        click.echo(json.dumps(settings.shown(), indent=2))
        return
    begin_log(settings)
    install_event_loop()
    tune_garbage_collection()
    with exit_code_of_errors():
        asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    with on_signals(stop.set):
        patience_s = patience_with_brokers_s(settings, terminal=sys.stderr.isatty())
        await WebProcess(settings).run(stop, patience_s)
