"""Reading topics in a command: what is to be said meanwhile goes to standard error."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import click

from streams.settings import Settings
from streams.transport import reader_connections as reading
from streams.transport.reader_connections import topic_fault
from streams.transport.topic_reader import TopicReader

__all__ = ["TopicReader", "partition_reader", "topic_fault", "topic_reader"]


def tell(sentence: str) -> None:
    """Say something while a command goes on."""
    click.echo(f"tocsin: {sentence}", err=True)


def topic_reader(
    settings: Settings,
    names: Sequence[str],
    *,
    start_ms: int | None,
    all_needed: bool = True,
    only_partition: int | None = None,
) -> AbstractAsyncContextManager[TopicReader]:
    """Open topics to be read side by side; see ``streams.transport.reader_connections.topic_reader``."""
    return reading.topic_reader(
        settings,
        names,
        start_ms=start_ms,
        tell=tell,
        all_needed=all_needed,
        only_partition=only_partition,
    )


def partition_reader(settings: Settings) -> AbstractAsyncContextManager[TopicReader]:
    """Connect, to read one partition after another."""
    return reading.partition_reader(settings, tell)
