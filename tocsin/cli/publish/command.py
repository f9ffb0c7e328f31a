"""The command ``tocsin publish``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import click
import orjson
from aiokafka.errors import KafkaError

from streams.archive.replay import is_archive
from streams.broker.admin import check_refusals
from streams.broker.client_options import client_options
from streams.broker.producers.batches import BatchSender
from streams.notifications.encoding import EncodingError, encode
from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from streams.publishing.bulk import Bulk, Tally
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.json_records import object_line
from tocsin.cli.common.options import PriorityName, brokers_option, examples, json_option
from tocsin.cli.common.running import on_signals, silence_client
from tocsin.cli.publish.source import BadLines, Job, Source, now_ms


class _Input(click.File):
    """A file of lines, opened; or the path of an archive, which there may be many of."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The file, or its path."""
        file = super().convert(value, param, ctx)
        # Without moving the place that is read next: lines are read past this object's buffer.
        if value != "-" and file.seekable() and is_archive(os.pread(file.fileno(), 2, 0)):
            file.close()
            return Path(value)
        return file


@click.command(
    epilog=examples(
        """tocsin publish --priority critical --event-type disk.full --payload '{"disk": "sda"}'""",
        "tocsin publish - < notifications.jsonl",
        "tocsin publish --generate --count 10000 --rate 500",
    )
)
@click.argument("files", metavar="[FILE]...", type=_Input("rb"), nargs=-1)
@click.option(
    "--priority",
    type=PriorityName(),
    default="INFO",
    metavar="PRIORITY",
    help="Priority for --event-type, for --raw, and for lines that name none: "
    "CRITICAL, ERROR, WARN, INFO, DEBUG, AUDIT or SAMPLE.",
)
@click.option("--event-type", help="Publish one notification of this type.")
@click.option("--payload", default="{}", help="Payload of that notification, as JSON.")
@click.option("--publisher-id", show_default="publish.<this host>", help="Sender, as worker_type.host.")
@click.option(
    "--raw",
    is_flag=True,
    help="Send the lines of FILE as they are, to the topic of --priority; "
    "or replay files of `tocsin archive`.",
)
@click.option(
    "--generate", "generated", is_flag=True, help="Publish a generated load of all five priorities."
)
@click.option("--count", type=click.IntRange(min=0), help="With --generate: number of notifications.")
@click.option("--seconds", type=click.FloatRange(min=0), help="With --generate: seconds to publish for.")
@click.option(
    "--seed",
    type=int,
    default=0,
    help="With --generate: the same seed gives the same load.",
)
@click.option(
    "--bad-share",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="With --generate: share of malformed messages, which become dead letters.",
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="At most this many notifications a second."
)
@brokers_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    help="Give up after this many seconds without an answer from the brokers.",
)
@json_option("the counts at the end as one JSON object")
@config_option
def command(
    files: tuple[IO[bytes] | Path, ...],
    priority: Priority,
    event_type: str | None,
    payload: str,
    publisher_id: str | None,
    raw: bool,
    generated: bool,
    count: int | None,
    seconds: float | None,
    seed: int,
    bad_share: float,
    rate: float | None,
    brokers: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Publish notifications: one (--event-type), those in FILE, or a generated load (--generate).

    FILE has one notification a line, as JSON; - is standard input. Each goes to the topic of the priority
    that its line names. A line that cannot be read is reported by its number, and the others are published.

    With --raw, each FILE may be one of `tocsin archive`: records go out as they were, with key and headers,
    to the topic of their priority; one that is in these files twice goes out once. What the archive says it
    has not is reported, and counted as failed.

    The count at the end is what Kafka has confirmed. Exit codes: 0 all published, 1 some failed,
    2 wrong usage, 78 wrong configuration.
    """
    archives = tuple(each for each in files if isinstance(each, Path))
    inputs = [each for each in files if not isinstance(each, Path)]
    if len(inputs) > 1 or (inputs and archives):
        raise click.UsageError("Give one FILE; several must all be files of `tocsin archive`, with --raw.")
    if archives and not raw:
        raise click.UsageError(
            f"{archives[0]} is compressed: a file of `tocsin archive` is replayed with --raw."
        )
    file = inputs[0] if inputs else None
    if bool(files) + (event_type is not None) + generated != 1:
        raise click.UsageError(
            "Give one of: --event-type for a single notification, FILE (or -), --generate."
        )
    if raw and not files:
        raise click.UsageError("--raw needs FILE (or - for standard input).")
    if not generated and (count is not None or seconds is not None or bad_share):
        raise click.UsageError("--count, --seconds and --bad-share need --generate.")
    try:
        value = orjson.loads(payload)
        if event_type is not None:
            encode(publisher_id or "", event_type, priority, value, now_ms(), "")
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"--payload is not JSON: {error}.") from None
    except EncodingError as error:
        raise click.UsageError(str(error)) from None
    job = Job(
        settings=command_settings(brokers=brokers),
        priority=priority,
        publisher_id=publisher_id or f"publish.{socket.gethostname()}",
        event_type=event_type,
        payload=value,
        file=file,
        archives=archives,
        raw=raw,
        count=count,
        seconds=seconds,
        seed=seed,
        bad_share=bad_share,
        rate=rate,
        timeout_s=timeout,
        as_json=as_json,
    )
    sys.exit(asyncio.run(_publish(job)))


async def _publish(job: Job) -> int:
    """Do the job, print the count, and return the exit code."""
    tally = Tally()
    bad_lines = BadLines(tally)
    source = Source(job, bad_lines)
    stop = asyncio.Event()
    silence_client()
    sender = BatchSender(
        client_options(job.settings),
        tally.settled,
        topic_wait_s=min(10.0, job.timeout_s),
        connect_s=job.timeout_s,
    )
    started = time.monotonic()
    try:
        if (refused := await _connected(sender)) is not None:
            await check_refusals(job.settings)
            click.echo(
                f"tocsin publish: Kafka at {job.settings.brokers} does not answer ({refused}); "
                "start it, or set --brokers or TOCSIN_BROKERS.",
                err=True,
            )
            return 1
        bulk = Bulk(sender, tally, stop, timeout_s=job.timeout_s, rate=job.rate)
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            stop.set()
            source.stop()

        with on_signals(interrupt), _progress(job) as advance:
            try:
                await bulk.send(source.chunks(), source.make, seconds=job.seconds, on_progress=advance)
            except OSError as error:
                click.echo(
                    f"tocsin publish: the input cannot be read any further ({error.strerror}).", err=True
                )
                tally.failed += 1
            await bulk.confirm()
    finally:
        await sender.close(0)
    bad_lines.show_rest()
    if source.repeats:
        click.echo(f"tocsin publish: {source.repeats} that are in the files twice were sent once.", err=True)
    for text, number in tally.troubles.items():
        click.echo(f"tocsin publish: {number} failed: {visible(text)}", err=True)
    if any("UnknownTopic" in text for text in tally.troubles):
        click.echo("tocsin publish: create the topics with `tocsin topics apply`.", err=True)
    seconds = time.monotonic() - started
    if job.as_json:
        found = {"published": tally.published, "failed": tally.failed, "seconds": round(seconds, 3)}
        click.echo(object_line(found))
    else:
        click.echo(f"published {tally.published}, failed {tally.failed} in {seconds:.1f} s")
    # An endless load is ended by a signal; anything else that is interrupted is not done.
    endless = (
        not (job.file or job.archives)
        and job.event_type is None
        and job.count is None
        and job.seconds is None
    )
    return 1 if tally.failed or (interrupted and not endless) or (stop.is_set() and not interrupted) else 0


async def _connected(sender: Any) -> Exception | None:
    try:
        await sender.start()
    except (KafkaError, OSError) as error:
        return error
    return None


@contextlib.contextmanager
def _progress(job: Job) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error if that is a terminal; gives what tells it of items taken."""
    if not sys.stderr.isatty() or job.event_type is not None:
        yield lambda _: None
        return
    # Scripts publish one notification after another, and see no bar.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("publishing"),
        BarColumn(),
        TextColumn("{task.fields[taken]:,} at {task.fields[speed]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        started = time.monotonic()
        total = job.count if job.count is not None else job.seconds
        task = bar.add_task("", total=total, taken=0, speed=0.0)
        taken = 0

        def advance(number: int) -> None:
            nonlocal taken
            taken += number
            passed_s = time.monotonic() - started
            done = taken if job.count is not None else passed_s
            bar.update(task, completed=done if total else 0, taken=taken, speed=taken / max(passed_s, 0.001))

        yield advance
