"""What the rows of both tables say, as JSON: the shapes, and how they are read. Pure.

Lists stand for the entries of event types, so that rows with very many of them stay short. Workers of two
releases read each other's rows: a field may be added at the end, with a default, and none may go or move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tables.again import AskAgain
from tables.replay_rules import RulesSpan

#: Event type -> number of records.
Counts = dict[str, int]
#: Event type -> source -> number of records.
CountsBySource = dict[str, Counts]


class TypeTotal(msgspec.Struct, array_like=True, gc=False):
    """The total of one event type: records ever counted, and when it was seen last.

    Attributes:
        total: records ever counted.
        last_seen_ms: event time of the latest, in milliseconds since 1970; -1 or 0 when unknown.
    """

    total: int
    last_seen_ms: int


class ForgottenTotal(TypeTotal):
    """The last total of an event type that gave its place back.

    Attributes:
        epoch: how often the source had forgotten event types when it began to name this one.
    """

    epoch: int


#: Event type -> source -> total. Of event types that the source names again after it had forgotten some, the
#: total begins at 0 again, under the name that ``epoch_name`` gives.
TotalsBySource = dict[str, dict[str, TypeTotal]]


class FineEntry(msgspec.Struct, array_like=True, gc=False):
    """One event type in a 10 s row of a source.

    Attributes:
        count: records in the bucket; 0 in an entry that is there for its total alone.
        total: records ever counted as of the row's offset; 0 when the totals do not name the event type.
        last_seen_ms: event time of the latest of these, in milliseconds since 1970.
    """

    count: int
    total: int
    last_seen_ms: int


class ReplayedEntry(FineEntry):
    """An entry that was written while records were being replayed; any entry can be read as one.

    Attributes:
        total_as_of: offset that the total is as of; None where that is the row's.
    """

    total_as_of: int | None = None


class GuestEntry(ReplayedEntry):
    """An entry of a source that has forgotten event types; any entry can be read as one.

    Attributes:
        guest: whether the totals did not name it when it came into the row; None where ``total`` tells.
    """

    guest: bool | None = None

    @property
    def is_guest(self) -> bool:
        """Whether the totals did not name it when it came into the row."""
        return not self.total if self.guest is None else self.guest


class SourceBase(msgspec.Struct, omit_defaults=True):
    """The base row of a source.

    Attributes:
        totals: event type -> total.
        minutes: starts of the minutes that are open: not yet written as of all their 10 s rows.
        hours: starts of the hours that are open.
        expired_before: 10 s buckets that start earlier, in seconds since 1970, are no longer kept.
        as_of: event type -> offset that its total is as of, where that is later than the row's.
        answered: slice -> number of the latest question to send all again that was answered.
        rules: settings under which records were counted; None in a row of an older version, which also leaves
            them out when it writes the row.
        forgotten: how often event types were forgotten.
        period: the last one of ``tables.forgetting`` that began; 0 before the first.
        epochs: event type -> epoch in which it came to be named, where that is not 0.
        gone: what was forgotten and may yet have to be said: how often until then -> event type -> total.
    """

    totals: dict[str, TypeTotal]
    minutes: list[int]
    hours: list[int]
    expired_before: int
    as_of: dict[str, int] | None = None
    answered: dict[int, int] | None = None
    rules: list[RulesSpan] | None = None
    forgotten: int = 0
    period: int = 0
    epochs: dict[str, int] | None = None
    gone: dict[int, dict[str, ForgottenTotal]] | None = None


class CombinedBase(msgspec.Struct, omit_defaults=True):
    """The base row of a slice.

    Attributes:
        totals: priority -> event type -> source -> total.
        open: priority and start of each minute whose 10 s rows may be newer than this row.
        question: to the sources, to send all again; None while nothing was ever missed.
        forgotten: source -> how often it had forgotten event types, as far as this slice has heard.
        closed: priority -> event type -> the names of totals that have ended, while it has others.
    """

    totals: dict[str, TotalsBySource]
    open: list[tuple[str, int]]
    question: AskAgain | None = None
    forgotten: dict[str, int] | None = None
    closed: dict[str, dict[str, list[str]]] | None = None


class CombinedBucket(msgspec.Struct, omit_defaults=True):
    """The row of one bucket of a priority and slice; 10 s rows also have the totals of their event types."""

    counts: CountsBySource
    totals: TotalsBySource | None = None


#: From JSON to a body; raises ``msgspec.DecodeError``, a ``ValueError``, where it is no such body.
read_fine: Final[Callable[[Any], dict[str, GuestEntry]]] = msgspec.json.Decoder(dict[str, GuestEntry]).decode
#: Of a coarse row of a source.
read_coarse: Final[Callable[[Any], Counts]] = msgspec.json.Decoder(Counts).decode
read_source_base: Final[Callable[[Any], SourceBase]] = msgspec.json.Decoder(SourceBase).decode
read_combined_base: Final[Callable[[Any], CombinedBase]] = msgspec.json.Decoder(CombinedBase).decode
read_combined_bucket: Final[Callable[[Any], CombinedBucket]] = msgspec.json.Decoder(CombinedBucket).decode


def epoch_name(source: str, epoch: int) -> str:
    """The name of a source's totals of event types that it began to name in an epoch."""
    return f"{source}#{epoch}" if epoch else source


def source_in(name: str) -> str:
    """The source in a name of its totals."""
    return name.partition("#")[0]


def counts_in(entries: Mapping[str, FineEntry]) -> Counts:
    """Event type -> count in the bucket, of those that it counts."""
    return {event_type: entry.count for event_type, entry in entries.items() if entry.count}
