"""``tocsin kafka``: a real Apache Kafka on this machine, for trying out, developing and testing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display

from streams.settings import ConfigurationError
from tocsin.cli.common.json_records import object_line
from tocsin.cli.common.options import examples, json_option
from tocsin.local_kafka.cluster import KafkaStatus, LocalKafka, LocalKafkaError, Progress

DEFAULT_DATA_DIR = Path(".tocsin/kafka")

#: Where everybody expects Kafka; taken when it is free and no port was asked for.
USUAL_PORT = 9092


def _data_dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DATA_DIR,
        help="Folder of Kafka's data, logs and pid files.",
    )(function)


@click.group(no_args_is_help=True)
def command() -> None:
    """Start, stop, reset or inspect a Kafka on this machine, for development."""


@command.command(epilog=examples("tocsin kafka start", "tocsin kafka start --brokers 3 --port 19092"))
@click.option(
    "--brokers", type=click.IntRange(1, 9), show_default="as before, else 1", help="Number of brokers."
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    show_default=f"as before, else {USUAL_PORT} if free",
    help="Port of the first broker; further ones count up.",
)
@_data_dir_option
def start(brokers: int | None, port: int | None, data_dir: Path) -> None:
    """Start Kafka, wait until it answers, and print its bootstrap address.

    The first start downloads Kafka (45 MB). If it is running already, the address is all that is printed.
    """
    with _one_sentence(), shown_progress() as progress:
        kafka = LocalKafka(data_dir, port, brokers, preferred_port=USUAL_PORT)
        address = kafka.start(progress)
    click.echo(address)


@command.command(epilog=examples("tocsin kafka stop"))
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=30.0,
    help="Seconds to wait before the processes are killed.",
)
@_data_dir_option
def stop(timeout: float, data_dir: Path) -> None:
    """Stop Kafka, wait until its processes have ended, and keep its data."""
    with _one_sentence():
        kafka = LocalKafka(data_dir)
        ran = kafka.status().state != "stopped"
        kafka.stop(timeout)
    click.echo(
        f"Kafka has stopped; its data stay in {data_dir}." if ran else f"No Kafka runs in {data_dir}.",
        err=True,
    )


@command.command(epilog=examples("tocsin kafka status", "tocsin kafka status --json | jq .bootstrap"))
@json_option("one JSON object")
@_data_dir_option
def status(as_json: bool, data_dir: Path) -> None:
    """Show which brokers run; exit code 0 if every broker answers, else 1."""
    with _one_sentence():
        found = LocalKafka(data_dir).status()
    click.echo(object_line(asdict(found)) if as_json else _described(found, data_dir))
    if found.state != "running":
        sys.exit(1)


@command.command(epilog=examples("tocsin kafka reset"))
@_data_dir_option
def reset(data_dir: Path) -> None:
    """Stop Kafka and delete all its data."""
    there = data_dir.is_dir()
    with _one_sentence():
        LocalKafka(data_dir).reset()
    click.echo(f"{data_dir} is deleted." if there else f"There is no Kafka in {data_dir}.", err=True)


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Show on standard error what a start of Kafka does: a bar in a terminal, else a line a step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(30), TimeElapsedColumn())
    with Display(*columns, console=console, transient=True) as display:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for earlier in tasks.values():
                    display.update(earlier, visible=False)
                tasks[what] = display.add_task(what, total=None)
            amount = f": {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
            display.update(tasks[what], description=what + amount, completed=done, total=total or None)

        yield show


class _Lines:
    """Says each step once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, what: str, _done: int, _total: int) -> None:
        if what != self._last:
            self._last = what
            click.echo(f"{what} ...", err=True)


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn a failure into one sentence and exit code 1; a wrong configuration is main()'s business."""
    try:
        yield
    except LocalKafkaError as error:
        if isinstance(error, ConfigurationError):
            raise
        click.echo(f"tocsin: {error}", err=True)
        sys.exit(1)


def _described(found: KafkaStatus, data_dir: Path) -> str:
    if not found.brokers:
        return f"There is no Kafka in {data_dir}."
    lines = [f"{found.state} {found.bootstrap}"]
    for broker in found.brokers:
        state = "answers" if broker.answers else "does not answer" if broker.pid else "stopped"
        pid = f", pid {broker.pid}" if broker.pid else ""
        lines.append(f"broker {broker.broker}: {state}, port {broker.port}{pid}")
    return "\n".join(lines)
