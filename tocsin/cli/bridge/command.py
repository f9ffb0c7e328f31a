"""The group of bridges: one file for each."""

from __future__ import annotations

import click

from tocsin.cli.bridge.http import http
from tocsin.cli.bridge.rabbit import rabbit


@click.group(no_args_is_help=True)
def command() -> None:
    """Put on Kafka what services publish elsewhere, and acknowledge it there once Kafka has it."""


command.add_command(rabbit)
command.add_command(http)
