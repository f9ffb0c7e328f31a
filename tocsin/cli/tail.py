"""``tocsin tail``: follow alerts, notifications or counts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import click
import orjson

from streams.notifications.decoding import Decoder, Limits
from streams.notifications.event_time import bucket_time_ms
from streams.notifications.notification import Reason, Rejection
from streams.notifications.priority import Priority
from streams.notifications.record_time import record_time
from streams.notifications.visible import visible
from streams.records import PlacedRecord, UnreadableRecord
from streams.settings import Settings
from tables.public_rows import decode_key
from tables.reserved_types import OVERFLOW
from tables.totals import make_matcher
from tocsin.cli.common.colours import coloured
from tocsin.cli.common.config_option import command_settings, config_option
from tocsin.cli.common.json_records import bytes_json, object_line, place_json
from tocsin.cli.common.options import Duration, PriorityName, brokers_option, examples, json_option
from tocsin.cli.common.output import Output
from tocsin.cli.common.reading import topic_reader
from tocsin.cli.common.running import run
from tocsin.cli.common.text import json_line, shortened, utc

_SUMMARY_LENGTH: Final = 300
_PAYLOAD_LENGTH: Final = 200
_NAME_LENGTH: Final = 300

#: Turns one record into the lines to print for it; the flag tells that it was written after the start.
Show = Callable[[PlacedRecord, bool], Iterator[str]]


@dataclass(frozen=True, slots=True)
class _View:
    """What to show.

    Attributes:
        as_json: one JSON object a line.
        matches: which event types.
        priorities: which priorities; None for all.
        since_ms: from when on, for the counts.
    """

    as_json: bool
    matches: Callable[[str], bool] | None
    priorities: frozenset[Priority] | None
    since_ms: int

    def leaves_out(self, event_type: str | None) -> bool:
        return self.matches is not None and (event_type is None or not self.matches(event_type))


@click.command(
    epilog=examples(
        "tocsin tail alerts",
        "tocsin tail notifications --priority error --event-type 'compute.*' --since 10m",
        "tocsin tail alerts --json --from-beginning | jq .value.labels",
    )
)
@click.argument("what", type=click.Choice(["alerts", "notifications", "counts"]))
@click.option(
    "--priority",
    "--severity",
    "priorities",
    type=PriorityName(),
    multiple=True,
    metavar="PRIORITY",
    help="Only this priority; may be repeated.",
)
@click.option("--event-type", metavar="PATTERN", help="Only event types that match, as 'compute.*'.")
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest that Kafka still has.")
@click.option("--since", type=Duration(), metavar="SPAN", help="Begin this long ago: 90s, 10m, 1h30m, 2d.")
@json_option("one JSON object a line")
@click.option("--count", type=click.IntRange(min=1), help="End after this many lines.")
@brokers_option
@config_option
def command(
    what: str,
    priorities: tuple[Priority, ...],
    event_type: str | None,
    from_beginning: bool,
    since: float | None,
    as_json: bool,
    count: int | None,
    brokers: str | None,
) -> None:
    """Follow alerts, notifications or counts until Ctrl-C.

    With --json, a line has topic, partition, offset, timestamp_ms, key and headers of the record, and its
    "value" as it is in Kafka. What is no text is given as {"base64": ...}. For a value that cannot be read
    "unreadable" and "detail" say why. Counts are printed as an object for each changed total.

    It joins no consumer group, so workers are not affected.
    """
    if from_beginning and since is not None:
        raise click.UsageError("Give --from-beginning or --since, not both.")
    settings = command_settings(brokers=brokers)
    start_ms = 0 if from_beginning else None
    if since is not None:
        start_ms = max(1, int((time.time() - since) * 1000))
    view = _View(
        as_json=as_json,
        matches=make_matcher(event_type) if event_type is not None else None,
        priorities=frozenset(priorities) or None,
        since_ms=start_ms if start_ms is not None else sys.maxsize,
    )
    all_needed = True
    if what == "alerts":
        # Which severities there are is for whoever raises alerts to say: look for any.
        topics = [settings.alert_topic(priority) for priority in priorities or Priority]
        all_needed = bool(priorities)
        show = _alerts(view)
    elif what == "notifications":
        by_topic = {settings.notification_topic(it): it for it in priorities or settings.priorities}
        topics = list(by_topic)
        show = _notifications(view, settings, by_topic)
    else:
        topics = [settings.event_counts_topic]
        show = _Counts(view).show
        start_ms = 0
    sys.exit(
        run(
            _follow(settings, topics, show, start_ms=start_ms, all_needed=all_needed, count=count),
            interrupted=0,
        )
    )


async def _follow(
    settings: Settings,
    topics: list[str],
    show: Show,
    *,
    start_ms: int | None,
    all_needed: bool,
    count: int | None,
) -> int:
    output = Output()
    async with topic_reader(settings, topics, start_ms=start_ms, all_needed=all_needed) as reader:
        async for batch in reader.follow():
            lines = [line for record in batch for line in show(record, reader.is_new(record))]
            if count is not None:
                lines = lines[:count]
                count -= len(lines)
            output.lines(lines)
            if count == 0 or output.gone():
                break
    return 0


def _alerts(view: _View) -> Show:
    def show(record: PlacedRecord, _: bool) -> Iterator[str]:
        if isinstance(record, UnreadableRecord):
            yield from _stand_in(view, record)
            return
        try:
            body = orjson.loads(record.value or b"")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            if not view.leaves_out(None):
                yield _unreadable(view, record, "not-an-alert", "The value is no JSON object.")
            return
        labels = _dict(body.get("labels"))
        event_type = _text(labels.get("event_type") or labels.get("alertname"))
        if view.leaves_out(event_type):
            return
        if view.as_json:
            yield _as_json(record)
            return
        severity = _text(labels.get("severity"))
        summary = _text(_dict(body.get("annotations")).get("summary"))
        state = _text(body.get("state"))
        yield "  ".join(
            part
            for part in (
                _text(body.get("startsAt")) or utc(record.timestamp),
                coloured(severity),
                click.style(event_type or "-", bold=True),
                _text(labels.get("publisher_id")) or "-",
                click.style(state, bold=True) if state not in {"", "firing"} else "",
                shortened(summary, _SUMMARY_LENGTH),
            )
            if part
        )

    return show


def _notifications(view: _View, settings: Settings, by_topic: dict[str, Priority]) -> Show:
    limits = Limits(settings.max_notification_bytes, settings.max_depth, settings.max_event_type_length)
    decode = Decoder(limits).decode

    def show(record: PlacedRecord, _: bool) -> Iterator[str]:
        if isinstance(record, UnreadableRecord):
            yield from _stand_in(view, record)
            return
        priority = by_topic[record.topic]
        read = decode(record.value, priority)
        if isinstance(read, Rejection):
            if not view.leaves_out(None):
                yield _unreadable(view, record, read.reason, read.detail)
            return
        if view.leaves_out(read.event_type):
            return
        if view.as_json:
            yield _as_json(record)
            return
        broker_ms = record_time(record.timestamp, record.timestamp_type)[0]
        at_ms, replaced = bucket_time_ms(read.event_time_ms, broker_ms, settings.lateness_s * 1000)
        notes = []
        if read.repairs:
            notes.append(f"repaired: {', '.join(read.repairs)}")
        if read.stated_priority is not None:
            notes.append(f"says {visible(read.stated_priority)}")
        if replaced:
            notes.append(f"says {utc(read.event_time_ms)}")
        payload = orjson.dumps(read.payload).decode()
        yield "  ".join(
            part
            for part in (
                utc(at_ms),
                coloured(priority),
                click.style(visible(read.event_type), bold=True),
                _text(read.publisher_id) or "-",
                visible(shortened(payload, _PAYLOAD_LENGTH)),
                click.style(f"[{'; '.join(notes)}]", fg="yellow") if notes else "",
            )
            if part
        )

    return show


class _Counts:
    """Totals as they are known, and what a row changes."""

    def __init__(self, view: _View) -> None:
        self._view = view
        #: (priority, slice) -> event type -> total
        self._totals: dict[tuple[str, int], dict[str, int]] = {}
        #: (priority, slice) -> offset that the newest row of totals is as of
        self._offsets: dict[tuple[str, int], int] = {}

    def show(self, record: PlacedRecord, is_new: bool) -> Iterator[str]:
        """Lines for the totals that a row raises; the rows from before the start are only taken in."""
        view = self._view
        if record.value is None:
            return
        try:
            key = decode_key(record.key or b"")
            priority, place = key.priority, (key.priority, key.slice)
            body = orjson.loads(record.value)
            as_of_ms, offset = int(body["as_of_ms"]), int(body["offset"])
            totals = {
                str(name): (int(total), int(seen))
                for name, (total, seen) in (body.get("totals") or {}).items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        here = self._totals.setdefault(place, {})
        newest = key.bucket is None and offset >= self._offsets.get(place, -1)
        if newest:
            self._offsets[place] = offset
        for event_type, (total, seen_ms) in totals.items():
            change = total - here.get(event_type, 0)
            if change <= 0:
                # Rows written late by a worker that lost its partitions are lower. What the newest row of
                # totals says less of was forgotten, and has come again.
                if newest:
                    here[event_type] = total
                continue
            here[event_type] = total
            if not is_new and as_of_ms < view.since_ms:
                continue
            if view.leaves_out(event_type) or (
                view.priorities and Priority.parse(priority) not in view.priorities
            ):
                continue
            if view.as_json:
                shown = {
                    "event_type": event_type,
                    "priority": priority,
                    "total": self._total(priority, event_type, total),
                    "change": change,
                    "last_seen": utc(seen_ms),
                    "as_of": utc(as_of_ms),
                }
                yield object_line({**place_json(record), **shown})
                continue
            yield "  ".join(
                (
                    utc(as_of_ms),
                    coloured(priority),
                    click.style(visible(event_type), bold=True),
                    click.style(f"+{change:,}", fg="green"),
                    f"= {self._total(priority, event_type, total):,}",
                )
            )

    def _total(self, priority: str, event_type: str, total: int) -> int:
        """The total of an event type of which this slice holds ``total``; of OVERFLOW each may hold some."""
        if event_type != OVERFLOW:
            return total
        return sum(types.get(OVERFLOW, 0) for (of, _), types in self._totals.items() if of == priority)


def _stand_in(view: _View, record: UnreadableRecord) -> Iterator[str]:
    if not view.leaves_out(None):
        yield _unreadable(view, record, Reason.UNREADABLE_RECORD, record.error)


def _unreadable(view: _View, record: PlacedRecord, reason: str, detail: str) -> str:
    where = f"{record.topic}/{record.partition}/{record.offset}"
    if not view.as_json:
        note = click.style(f"unreadable: {reason}", fg="yellow")
        return f"{utc(record.timestamp)}  {note}  {where}  {visible(detail)}"
    said = {"unreadable": reason, "detail": detail, "value": bytes_json(record.value)}
    return object_line(place_json(record) | said)


def _as_json(record: PlacedRecord) -> str:
    # Its value as it was written: a number keeps its form, and a large one its digits.
    line = json_line(record.value)
    value = bytes_json(record.value) if line is None else orjson.Fragment(line)
    return object_line(place_json(record) | {"value": value})


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """A value of somebody else's JSON as safe text of bounded length; empty when it is no text."""
    return visible(shortened(value, _NAME_LENGTH)) if isinstance(value, str) else ""
