"""``tocsin worker``: run a worker."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
from typing import Any

import click

from streams.broker.self_check import (
    TERMINAL_PATIENCE_S,
    CheckedCluster,
    patience_with_brokers_s,
    self_check,
)
from streams.settings import BrokersAwayError, ConfigurationError, Settings
from tocsin.allocator import keep_freed_memory
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.options import examples, log_level_option, show_config_option, web_port_option
from tocsin.cli.common.running import begin_log, exit_code_of_errors
from tocsin.unknown_settings import unknown_settings

log = logging.getLogger(__name__)


@click.command(
    "worker",
    short_help="Run a worker.",
    epilog=examples(
        "tocsin worker",
        "tocsin worker --pool urgent --priorities critical,error",
        "tocsin worker --config /etc/tocsin.toml --show-config",
    ),
)
@click.option("--brokers", show_default="TOCSIN_BROKERS", help="Kafka bootstrap addresses.")
@click.option(
    "--priorities", show_default="TOCSIN_PRIORITIES", help="Priorities to serve, separated by commas."
)
@click.option(
    "--pool", show_default="TOCSIN_POOL", help="Name of a pool of workers with priorities of its own."
)
@web_port_option
@click.option(
    "--data-dir", type=click.Path(), show_default="TOCSIN_DATA_DIR", help="Folder of the local state."
)
@log_level_option
@show_config_option
@config_option
def command(show_config: bool, **options: Any) -> None:
    """Consume notifications by priority, count them, forward alerts, serve the web views.

    A setting is taken from an option here, else from TOCSIN_* in the environment, else from the TOML file
    that --config or TOCSIN_CONFIG_FILE names, else it has its default.
    """
    settings = command_settings(**options)
    if show_config:
        click.echo(json.dumps(settings.shown(), indent=2))
        for sentence in unknown_settings(os.environ):
            click.echo(f"tocsin: {sentence}", err=True)
        return
    run_worker(settings)


def run_worker(settings: Settings) -> None:
    """Run a worker until it is told to stop; ends the process."""
    begin_log(settings)
    with exit_code_of_errors():
        cluster = _checked_at_once(settings)
    # 0.3 s, which --help and --show-config can do without.
    from streams.upstream.store_faults import LocalStateError  # noqa: PLC0415
    from tocsin.app import make_app  # noqa: PLC0415

    install_event_loop()
    tune_garbage_collection()
    keep_freed_memory()
    try:
        app = make_app(settings, cluster)
    except LocalStateError as error:
        click.echo(f"tocsin: {error}", err=True)
        sys.exit(1)
    worker = app.conf.Worker(
        app, quiet=True, loglevel=settings.log_level, redirect_stdouts=False, override_logging=False
    )
    worker.spinner = None  # it writes control characters to standard output
    try:
        worker.execute_from_commandline()
    except ConfigurationError as error:
        click.echo(f"tocsin: {error}", err=True)
        sys.exit(error.exit_code)
    except SystemExit:
        # Faust ends the process itself. What was wrong with the settings has been said.
        if isinstance(app.health.error, ConfigurationError):
            sys.exit(app.health.error.exit_code)
        raise
    sys.exit(1 if app.health.error is not None else 0)


def _checked_at_once(settings: Settings) -> CheckedCluster | None:
    """The self-check, before anything else is imported or opened; None when the app shall wait for brokers.

    Raises:
        BrokersAwayError: they are away, and are not to be waited for any longer.
        ConfigurationError: with one sentence that says what to change.
    """
    patience_s = patience_with_brokers_s(settings, terminal=sys.stderr.isatty())
    if patience_s <= TERMINAL_PATIENCE_S:
        return asyncio.run(self_check(settings, patience_s=patience_s))
    try:
        return asyncio.run(self_check(settings, patience_s=0.0))
    except BrokersAwayError:
        return None  # the app waits, and its web views say so meanwhile


def tune_garbage_collection() -> None:
    """Make full collections rare: with buffers full of records one took 110 ms, and held up CRITICAL.

    Almost everything that a worker makes is freed by its reference count; cycles come from rare events.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def install_event_loop() -> None:
    """Use uvloop for all event loops of this process where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - it is there on Linux only
    except ImportError:
        return
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
