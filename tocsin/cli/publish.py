"""``tocsin publish``: one notification, a file of them, or a made load."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
import orjson
from aiokafka.errors import KafkaError

from streams.archive.lines import Archived
from streams.archive.replay import ArchiveFiles, is_archive
from streams.broker.admin import check_refusals
from streams.broker.client_options import client_options
from streams.broker.producers.batches import BatchSender
from streams.notifications.decoding import Limits
from streams.notifications.encoding import EncodingError, encode
from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from streams.outgoing import Outgoing
from streams.publishing.bulk import Bulk, Lines, Tally, chunked
from streams.publishing.generator import generate
from streams.publishing.lines import make_line_reader
from streams.quantities import quantity
from streams.settings import Settings
from tocsin.cli.config_option import command_settings, config_option
from tocsin.cli.json_records import object_line
from tocsin.cli.options import PriorityName, brokers_option, examples, json_option
from tocsin.cli.running import on_signals, silence_client

_SHOWN_LINES = 20


@dataclass(frozen=True)
class _Job:
    """What the options ask for."""

    settings: Settings
    priority: Priority
    publisher_id: str
    event_type: str | None
    payload: Any
    file: IO[bytes] | None
    archives: tuple[Path, ...]
    raw: bool
    count: int | None
    seconds: float | None
    seed: int
    bad_share: float
    rate: float | None
    timeout_s: float
    as_json: bool


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
            encode(publisher_id or "", event_type, priority, value, _now_ms(), "")
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"--payload is not JSON: {error}.") from None
    except EncodingError as error:
        raise click.UsageError(str(error)) from None
    job = _Job(
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


async def _publish(job: _Job) -> int:
    """Do the job, print the count, and return the exit code."""
    tally = Tally()
    bad_lines = _BadLines(tally)
    source = _Source(job, bad_lines)
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


class _Source:
    """Where the messages come from: chunks of items, and how to make a message of one."""

    def __init__(self, job: _Job, bad_lines: _BadLines) -> None:
        self._job = job
        self._bad_lines = bad_lines
        self._topics = {priority: job.settings.notification_topic(priority) for priority in Priority}
        self._lines = Lines(job.file) if job.file is not None else None
        limits = Limits(
            max_bytes=job.settings.max_notification_bytes,
            max_depth=job.settings.max_depth,
            max_event_type_length=job.settings.max_event_type_length,
        )
        self._read = make_line_reader(job.priority, job.publisher_id, limits)
        self._ids = _message_ids()
        self.make: Callable[[Any], Outgoing | None] = self._made
        if job.event_type is not None:
            self.make = self._one
        elif job.file is not None:
            self.make = self._raw_line if job.raw else self._line
        self._archives: ArchiveFiles | None = None
        if job.archives:
            self.make = self._archived
            self._archives = ArchiveFiles(job.archives, bad_lines.lost, _note)

    @property
    def repeats(self) -> int:
        """Records that were left out, having been sent before."""
        return 0 if self._archives is None else self._archives.repeats

    def chunks(self) -> AsyncIterator[Sequence[Any]]:
        """The items."""
        job = self._job
        if self._lines is not None:
            return self._lines.chunks()
        if self._archives is not None:
            return chunked(self._archives.records())
        if job.event_type is not None:
            return chunked([job.event_type])
        return chunked(generate(job.seed, job.count, _now_ms(), bad_share=job.bad_share))

    def stop(self) -> None:
        """End the chunks, even in the middle of a wait for some."""
        if self._lines is not None:
            self._lines.stop()

    def _made(self, made: Any) -> Outgoing:
        value = made.raw
        if value is None:
            value = encode(
                made.publisher_id, made.event_type, made.priority, made.payload, _now_ms(), next(self._ids)
            )
        return Outgoing(self._topics[made.priority], value)

    def _one(self, event_type: str) -> Outgoing:
        job = self._job
        value = encode(job.publisher_id, event_type, job.priority, job.payload, _now_ms(), next(self._ids))
        return Outgoing(self._topics[job.priority], value)

    def _raw_line(self, item: tuple[int, bytes | None]) -> Outgoing | None:
        number, line = item
        if line is None:
            self._bad_lines.add(number, "The line is too long.")
            return None
        return Outgoing(self._topics[self._job.priority], line)

    def _archived(self, record: Archived) -> Outgoing:
        # Kafka allows a header without a value, and so does the client.
        headers: Any = record.headers
        return Outgoing(self._topics[record.priority], record.value, record.key, headers=headers)

    def _line(self, item: tuple[int, bytes | None]) -> Outgoing | None:
        number, line = item
        found = "The line is too long." if line is None else self._read(line, _now_ms(), next(self._ids))
        if isinstance(found, str):
            self._bad_lines.add(number, found)
            return None
        priority, value = found
        return Outgoing(self._topics[priority], value)


class _BadLines:
    """Counts lines that cannot be sent, and shows the first ones."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._count = 0

    def add(self, number: int, why: str) -> None:
        self.lost(1, f"line {number}: {why}")

    def lost(self, number: int, sentence: str) -> None:
        """Count some records that cannot be sent, and show the sentence on them."""
        self._tally.failed += number
        self._count += 1
        if self._count <= _SHOWN_LINES:
            click.echo(f"tocsin publish: {visible(sentence)}", err=True)

    def show_rest(self) -> None:
        if self._count > _SHOWN_LINES:
            rest = quantity(self._count - _SHOWN_LINES, "more broken line")
            click.echo(f"tocsin publish: and {rest}", err=True)


def _note(sentence: str) -> None:
    click.echo(f"tocsin publish: {visible(sentence)}", err=True)


def _message_ids() -> Iterator[str]:
    """Ids in the form of UUIDs, unique like those, made faster: a random start, then counted on."""
    start = str(uuid.uuid4())[:24]
    return (f"{start}{number:012x}" for number in itertools.count())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _progress(job: _Job) -> Iterator[Callable[[int], None]]:
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
