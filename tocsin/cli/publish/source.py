"""Where what ``tocsin publish`` sends comes from, and what of it cannot be sent."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from streams.archive.lines import Archived
from streams.archive.replay import ArchiveFiles
from streams.notifications.decoding import Limits
from streams.notifications.encoding import encode
from streams.notifications.priority import Priority
from streams.notifications.visible import visible
from streams.outgoing import Outgoing
from streams.publishing.bulk import Lines, Tally, chunked
from streams.publishing.generator import generate
from streams.publishing.lines import make_line_reader
from streams.quantities import quantity
from streams.settings import Settings

#: Sentences on lines that cannot be sent.
_SHOWN_LINES = 20


@dataclass(frozen=True)
class Job:
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


class Source:
    """Where the messages come from: chunks of items, and how to make a message of one."""

    def __init__(self, job: Job, bad_lines: BadLines) -> None:
        self._job = job
        self._bad_lines = bad_lines
        self._topics = {priority: job.settings.notification_topic(priority) for priority in Priority}
        self._lines = Lines(job.file) if job.file is not None else None
        settings = job.settings
        limits = Limits(settings.max_notification_bytes, settings.max_depth, settings.max_event_type_length)
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
        return chunked(generate(job.seed, job.count, now_ms(), bad_share=job.bad_share))

    def stop(self) -> None:
        """End the chunks, even in the middle of a wait for some."""
        if self._lines is not None:
            self._lines.stop()

    def _made(self, made: Any) -> Outgoing:
        value = made.raw
        if value is None:
            value = encode(
                made.publisher_id, made.event_type, made.priority, made.payload, now_ms(), next(self._ids)
            )
        return Outgoing(self._topics[made.priority], value)

    def _one(self, event_type: str) -> Outgoing:
        job = self._job
        value = encode(job.publisher_id, event_type, job.priority, job.payload, now_ms(), next(self._ids))
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
        found = "The line is too long." if line is None else self._read(line, now_ms(), next(self._ids))
        if isinstance(found, str):
            self._bad_lines.add(number, found)
            return None
        priority, value = found
        return Outgoing(self._topics[priority], value)


class BadLines:
    """Counts lines that cannot be sent, and shows the first ones."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._count = 0

    def add(self, number: int, why: str) -> None:
        """Count a line by its number, and show why."""
        self.lost(1, f"line {number}: {why}")

    def lost(self, number: int, sentence: str) -> None:
        """Count some records that cannot be sent, and show the sentence on them."""
        self._tally.failed += number
        self._count += 1
        if self._count <= _SHOWN_LINES:
            click.echo(f"tocsin publish: {visible(sentence)}", err=True)

    def show_rest(self) -> None:
        """Say how many were not shown."""
        if self._count > _SHOWN_LINES:
            rest = quantity(self._count - _SHOWN_LINES, "more broken line")
            click.echo(f"tocsin publish: and {rest}", err=True)


def _note(sentence: str) -> None:
    click.echo(f"tocsin publish: {visible(sentence)}", err=True)


def _message_ids() -> Iterator[str]:
    """Ids in the form of UUIDs, unique like those, made faster: a random start, then counted on."""
    start = str(uuid.uuid4())[:24]
    return (f"{start}{number:012x}" for number in itertools.count())


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
