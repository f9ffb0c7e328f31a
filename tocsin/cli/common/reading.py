"""Reading topics in a command: what is to be said meanwhile goes to standard error."""

from __future__ import annotations

from functools import partial
from typing import Final

import click

from streams.transport import reader_connections


def tell(sentence: str) -> None:
    """Say something while a command goes on."""
    click.echo(f"tocsin: {sentence}", err=True)


topic_reader: Final = partial(reader_connections.topic_reader, tell=tell)
partition_reader: Final = partial(reader_connections.partition_reader, tell=tell)
