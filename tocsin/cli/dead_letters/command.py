"""``tocsin dead-letters``: list, show and replay records that could not be read."""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import click
import orjson

from streams.notifications.visible import visible
from streams.settings import Settings
from tocsin.cli.config_option import command_settings, config_option
from tocsin.cli.dead_letters.records import Filter, Found, Skipped, dead_letters, names_of, unknown
from tocsin.cli.dead_letters.replay import Replay
from tocsin.cli.options import Duration, brokers_option
from tocsin.cli.output import Output
from tocsin.cli.reading import topic_reader
from tocsin.cli.running import run
from tocsin.cli.text import json_line, utc, visible_bytes

_reason = click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="REASON",
    help="Only this reason, such as not-json; may be repeated.",
)
_topic = click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC",
    help="Only those that came from this topic; may be repeated.",
)
_since = click.option(
    "--since", type=Duration(), metavar="SPAN", help="Only those of the last 90s, 10m, 1h30m or 2d."
)


@click.group(name="dead-letters", no_args_is_help=True)
def command() -> None:
    """List, show or replay records that could not be read.

    Name a dead letter by its id, or by its partition and offset in the dead-letter topic, such as 0/17.
    """


# ---------------------------------------------------------------- list


@command.command(name="list")
@_reason
@_topic
@_since
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List this many, the newest."
)
@click.option("--all", "everything", is_flag=True, help="List all.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object a line; the summary goes to standard error.",
)
@brokers_option
@config_option
def list_(
    reasons: tuple[str, ...],
    topics: tuple[str, ...],
    since: float | None,
    limit: int,
    everything: bool,
    as_json: bool,
    brokers: str | None,
) -> None:
    """List dead letters, newest first, and how many there are for each reason.

    A record that was sent twice because of a crash has one id, and is listed and counted once.
    """
    settings = command_settings(brokers=brokers)
    job = _list(settings, Filter(reasons, topics), _start_ms(since), None if everything else limit, as_json)
    sys.exit(run(job, interrupted=1))


@dataclass(slots=True, order=True)
class _Entry:
    """What a list shows of a dead letter: no value, so that many fit into memory."""

    key: tuple[int, int, int]
    fields: dict[str, Any] = field(compare=False)


async def _list(settings: Settings, only: Filter, start_ms: int, limit: int | None, as_json: bool) -> int:
    output = Output()
    entries: list[_Entry] = []
    by_reason: Counter[str] = Counter()
    skipped = Skipped()
    async with topic_reader(settings, [settings.dead_letter_topic], start_ms=start_ms) as reader:
        async for found in dead_letters(reader, skipped):
            if not only.keeps(found.letter):
                continue
            by_reason[found.letter.reason] += 1
            entry = _Entry((found.time_ms, found.partition, found.offset), _fields(found))
            if limit is None or len(entries) < limit:
                heapq.heappush(entries, entry)
            else:
                heapq.heappushpop(entries, entry)
    entries.sort(reverse=True)
    if as_json:
        output.lines(json_line(orjson.dumps(entry.fields)) or "" for entry in entries)
    else:
        output.lines(_table([entry.fields for entry in entries]))
    total = by_reason.total()
    lines = [f"{total} dead letter{'' if total == 1 else 's'}"]
    if len(entries) < total:
        lines[0] += f", the newest {len(entries)} listed"
    lines += [f"{number:7}  {visible(reason)}" for reason, number in by_reason.most_common()]
    lines += skipped.sentences(settings)
    if as_json:
        for line in lines:
            click.echo(line, err=True)
    else:
        output.lines(lines)
    return 0


def _fields(found: Found) -> dict[str, Any]:
    letter = found.letter
    return {
        "id": letter.id,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": utc(letter.timestamp_ms),
        "at": f"{found.partition}/{found.offset}",
        "dead_since": utc(found.time_ms),
        "bytes": None if letter.value is None else len(letter.value),
        "truncated": letter.truncated,
    }


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    head = ("DEAD SINCE", "AT", "REASON", "FROM", "BYTES", "ID", "DETAIL")
    cells = [
        (
            row["dead_since"],
            row["at"],
            visible(row["reason"]),
            visible(f"{row['topic']}/{row['partition']}/{row['offset']}"),
            "-" if row["bytes"] is None else f"{row['bytes']}{'+' if row['truncated'] else ''}",
            visible(row["id"]),
            visible(row["detail"]),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head) - 1)]
    shown = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]])
        for line in (head, *cells)
    ]
    return [click.style(shown[0], bold=True), *shown[1:], ""]


# ---------------------------------------------------------------- show


@command.command()
@click.argument("which", metavar="ID|PARTITION/OFFSET")
@click.option("--raw", is_flag=True, help="Print only the original bytes of the value.")
@brokers_option
@config_option
def show(which: str, raw: bool, brokers: str | None) -> None:
    """Show a dead letter: where it came from, why it could not be read, its headers and its value.

    Control characters in the value are escaped; --raw prints the bytes unchanged.
    """
    sys.exit(run(_show(command_settings(brokers=brokers), which, raw), interrupted=1))


async def _show(settings: Settings, which: str, raw: bool) -> int:
    found: Found | None = None
    async with topic_reader(settings, [settings.dead_letter_topic], start_ms=0) as reader:
        async for each in dead_letters(reader, Skipped(), repeats=True):
            if which in names_of(each):
                found = each
                break
    if found is None:
        raise click.ClickException(unknown(settings, which))
    letter = found.letter
    if raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(letter.value or b"")
        sys.stdout.buffer.flush()
        return 0
    size = "no value" if letter.value is None else f"{len(letter.value)} bytes"
    lines = [
        f"id         {visible(letter.id)}",
        f"reason     {visible(letter.reason)}",
        f"detail     {visible(letter.detail)}",
        f"from       {visible(letter.topic)}/{letter.partition}/{letter.offset}, {utc(letter.timestamp_ms)}",
        f"lies in    {settings.dead_letter_topic}/{found.partition}/{found.offset}, {utc(found.time_ms)}",
        f"key        {'(none)' if letter.key is None else visible_bytes(letter.key)}",
        *(f"header     {visible(name)}: {visible_bytes(content or b'')}" for name, content in letter.headers),
        f"value      {size}{', cut: only its beginning is kept' if letter.truncated else ''}",
    ]
    if letter.value:
        # Indented, so that no line of it can pass for one of ours.
        lines += [
            f"  {visible(line)}" for line in letter.value.decode("utf-8", "backslashreplace").split("\n")
        ]
    Output().lines(lines)
    return 0


# ---------------------------------------------------------------- replay


@command.command()
@click.argument("which", nargs=-1, metavar="[ID|PARTITION/OFFSET]...")
@click.option(
    "--all", "everything", is_flag=True, help="Replay all that match --reason, --topic and --since."
)
@_reason
@_topic
@_since
@click.option("--to-topic", metavar="TOPIC", help="Send them to this topic instead.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@brokers_option
@config_option
def replay(
    which: tuple[str, ...],
    everything: bool,
    reasons: tuple[str, ...],
    topics: tuple[str, ...],
    since: float | None,
    to_topic: str | None,
    dry_run: bool,
    brokers: str | None,
) -> None:
    """Send dead letters unchanged to the topic they came from.

    Key, value and headers are the original ones. A header tocsin-replayed-from is added that holds the id of
    the dead letter, which stays where it is. A dead letter whose value was cut is refused.
    """
    if bool(which) == everything:
        raise click.UsageError("Give the ids of dead letters, or --all.")
    if which and (reasons or topics or since is not None):
        raise click.UsageError("--reason, --topic and --since go with --all, not with ids.")
    settings = command_settings(brokers=brokers)
    if to_topic == settings.dead_letter_topic:
        raise click.UsageError("--to-topic is the dead-letter topic itself; give one that is read.")
    job = Replay(settings, set(which), Filter(reasons, topics), to_topic=to_topic, dry_run=dry_run)
    sys.exit(run(job.run(_start_ms(since)), interrupted=1))


def _start_ms(since: float | None) -> int:
    return 0 if since is None else max(1, int((time.time() - since) * 1000))
