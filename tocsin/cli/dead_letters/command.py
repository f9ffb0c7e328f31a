"""``tocsin dead-letters``: list, show and replay records that could not be read."""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import click

from streams.dead_letters.topic import (
    NOT_BACK,
    OLDER,
    STILL_BAD,
    Filter,
    Found,
    History,
    Skipped,
    dead_letters,
    names_of,
    unknown,
)
from streams.notifications.notification import Reason
from streams.notifications.visible import visible
from streams.quantities import quantity
from streams.settings import Settings
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.json_records import bytes_json, headers_json, object_line
from tocsin.cli.common.options import Duration, brokers_option, examples, json_option
from tocsin.cli.common.output import Output
from tocsin.cli.common.reading import topic_reader
from tocsin.cli.common.running import run
from tocsin.cli.common.text import utc, visible_bytes
from tocsin.cli.dead_letters.replay import ReplayCommand

_reason = click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([reason.value for reason in Reason]),
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


@command.command(
    name="list",
    epilog=examples(
        "tocsin dead-letters list", "tocsin dead-letters list --reason not-json --since 1h --json"
    ),
)
@_reason
@_topic
@_since
@click.option("--limit", type=click.IntRange(min=1), default=50, help="List this many, the newest.")
@click.option("--all", "everything", is_flag=True, help="List all.")
@json_option("one JSON object a line, and the summary to standard error")
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

    STATE is new, replayed (and not back), bad again (of a record that was replayed) or older (a newer dead
    letter of the same record stands for it); behind it is how often the record had been replayed before.
    """
    settings = command_settings(brokers=brokers)
    job = _list(settings, Filter(reasons, topics), _start_ms(since), None if everything else limit, as_json)
    sys.exit(run(job, interrupted=1))


@dataclass(slots=True, order=True)
class _Entry:
    """What a list shows of a dead letter: no value, so that many fit into memory."""

    key: tuple[int, int, int]
    fields: dict[str, Any] = field(compare=False)

    def add_replays(self, history: History) -> None:
        """Add what became of its replays, once all is read."""
        self.fields |= _replays(self.fields["id"], self.fields["replays"], history)


async def _list(settings: Settings, only: Filter, start_ms: int, limit: int | None, as_json: bool) -> int:
    output = Output()
    entries: list[_Entry] = []
    by_reason: Counter[str] = Counter()
    skipped, history = Skipped(), History()
    states: dict[str, int] = {}
    async with topic_reader(settings, [settings.dead_letter_topic], start_ms=start_ms) as reader:
        async for found in dead_letters(reader.to_end(), skipped, history=history):
            if not only.keeps(found.letter):
                continue
            by_reason[found.letter.reason] += 1
            states[found.letter.id] = found.letter.replays
            entry = _Entry((found.time_ms, found.partition, found.offset), _fields(found))
            if limit is None or len(entries) < limit:
                heapq.heappush(entries, entry)
            else:
                heapq.heappushpop(entries, entry)
    entries.sort(reverse=True)
    for entry in entries:
        entry.add_replays(history)
    if as_json:
        output.lines(object_line(entry.fields) for entry in entries)
    else:
        output.lines(_table([entry.fields for entry in entries]))
    total = by_reason.total()
    lines = [quantity(total, "dead letter")]
    if len(entries) < total:
        lines[0] += f", the newest {len(entries)} listed"
    lines += [f"{number:7}  {visible(reason)}" for reason, number in by_reason.most_common()]
    lines += _replay_sentences(states, history)
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
        "replayed_from": letter.replayed_from,
        "replays": letter.replays,
    }


def _replays(letter_id: str, replays: int, history: History) -> dict[str, Any]:
    """What became of the replays of a dead letter."""
    note = history.notes.get(letter_id)
    return {
        "state": history.state(letter_id, replays),
        "replayed_at": None if note is None else utc(note.last_ms),
        "came_back_as": history.came_back.get(letter_id),
    }


def _replay_sentences(states: dict[str, int], history: History) -> list[str]:
    number = Counter(history.state(letter_id, replays) for letter_id, replays in states.items())
    said = []
    if number[NOT_BACK]:
        said.append(f"Replayed, and not back: {number[NOT_BACK]}.")
    if number[STILL_BAD]:
        said.append(f"Bad again after a replay: {number[STILL_BAD]}.")
    if number[OLDER]:
        said.append(f"Older ones, for which a newer dead letter of the same record stands: {number[OLDER]}.")
    return said


def _table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    head = ("DEAD SINCE", "AT", "REASON", "FROM", "BYTES", "STATE", "ID", "DETAIL")
    cells = [
        (
            row["dead_since"],
            row["at"],
            visible(row["reason"]),
            visible(f"{row['topic']}/{row['partition']}/{row['offset']}"),
            "-" if row["bytes"] is None else f"{row['bytes']}{'+' if row['truncated'] else ''}",
            f"{row['state']} ({row['replays']})" if row["replays"] else row["state"],
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


@command.command(
    epilog=examples(
        "tocsin dead-letters show 0/17",
        "tocsin dead-letters show 0/17 --raw > value",
        "tocsin dead-letters show 0/17 --json | jq .headers",
    )
)
@click.argument("which", metavar="ID|PARTITION/OFFSET")
@click.option("--raw", is_flag=True, help="Print only the original bytes of the value.")
@json_option('one JSON object; what is no text is in it as {"base64": ...}')
@brokers_option
@config_option
def show(which: str, raw: bool, as_json: bool, brokers: str | None) -> None:
    """Show a dead letter: where it came from, why it could not be read, its headers and its value.

    Control characters in the value are escaped; --raw prints the bytes unchanged.
    """
    if raw and as_json:
        raise click.UsageError("Give --raw or --json, not both.")
    sys.exit(run(_show(command_settings(brokers=brokers), which, raw, as_json), interrupted=1))


async def _show(settings: Settings, which: str, raw: bool, as_json: bool) -> int:
    found: Found | None = None
    history = History()
    async with topic_reader(settings, [settings.dead_letter_topic], start_ms=0) as reader:
        # To the end: what became of it lies behind it.
        async for each in dead_letters(reader.to_end(), Skipped(), repeats=True, history=history):
            if found is None and which in names_of(each):
                found = each
    if found is None:
        raise click.ClickException(unknown(settings, which))
    letter = found.letter
    if raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(letter.value or b"")
        sys.stdout.buffer.flush()
        return 0
    if as_json:
        parts = {
            "key": bytes_json(letter.key),
            "headers": headers_json(letter.headers),
            "value": bytes_json(letter.value),
        }
        Output().lines([object_line(_fields(found) | _replays(letter.id, letter.replays, history) | parts)])
        return 0
    size = "no value" if letter.value is None else quantity(len(letter.value), "byte")
    lines = [
        f"id         {visible(letter.id)}",
        f"reason     {visible(letter.reason)}",
        f"detail     {visible(letter.detail)}",
        f"from       {visible(letter.topic)}/{letter.partition}/{letter.offset}, {utc(letter.timestamp_ms)}",
        f"lies in    {settings.dead_letter_topic}/{found.partition}/{found.offset}, {utc(found.time_ms)}",
        *_replay_lines(found, history),
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


def _replay_lines(found: Found, history: History) -> list[str]:
    letter = found.letter
    lines = []
    if letter.replayed_from is not None:
        lines.append(f"replay     {letter.replays} of {visible(letter.replayed_from)}")
    if (note := history.notes.get(letter.id)) is not None:
        lines.append(f"replayed   {utc(note.last_ms)}{f', {note.times} times' if note.times > 1 else ''}")
    if (successor := history.came_back.get(letter.id)) is not None:
        lines.append(f"came back  {visible(successor)}")
    return lines


# ---------------------------------------------------------------- replay


@command.command(
    epilog=examples(
        "tocsin dead-letters replay 0/17",
        "tocsin dead-letters replay --all --reason event-type-too-long --dry-run",
        "tocsin dead-letters replay --all --again",
    )
)
@click.argument("which", nargs=-1, metavar="[ID|PARTITION/OFFSET]...")
@click.option(
    "--all", "everything", is_flag=True, help="Replay all that match --reason, --topic and --since."
)
@_reason
@_topic
@_since
@click.option("--to-topic", metavar="TOPIC", help="Send them to this topic instead.")
@click.option(
    "--again",
    is_flag=True,
    help="Send what was replayed before as well: with --all those that are bad again, by id any.",
)
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
    again: bool,
    dry_run: bool,
    brokers: str | None,
) -> None:
    """Send dead letters unchanged to the topic they came from.

    Key, value and headers are the original ones. The header tocsin-replayed-from is added, which holds the id
    of the dead letter, and tocsin-replays, how often it has been replayed with that. The dead letter stays
    where it is, and a note behind it says that it was replayed. What was replayed is left out of later runs,
    which say so.

    A record that is bad again makes a new dead letter. With --all --again each such record is sent once more,
    from its newest dead letter. What was replayed and has not come back was counted; it is sent again only by
    its id with --again. A dead letter whose value was cut is refused.
    """
    if bool(which) == everything:
        raise click.UsageError("Give the ids of dead letters, or --all.")
    if which and (reasons or topics or since is not None):
        raise click.UsageError("--reason, --topic and --since go with --all, not with ids.")
    settings = command_settings(brokers=brokers)
    if to_topic == settings.dead_letter_topic:
        raise click.UsageError("--to-topic is the dead-letter topic itself; give one that is read.")
    job = ReplayCommand(
        settings, set(which), Filter(reasons, topics), to_topic=to_topic, dry_run=dry_run, again=again
    )
    sys.exit(run(job.run(_start_ms(since)), interrupted=1))


def _start_ms(since: float | None) -> int:
    return 0 if since is None else max(1, int((time.time() - since) * 1000))
