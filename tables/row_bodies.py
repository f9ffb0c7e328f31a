"""What the rows of both tables say, as JSON: the shapes, and how they are read. Pure.

Lists stand for the entries of event types, so that rows with very many of them stay short. Workers of two
releases read each other's rows: a field may be added at the end, with a default, and none may go or move.
"""

from __future__ import annotations

from collections.abc import Callable
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


#: Event type -> source -> total.
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
    """

    totals: dict[str, TypeTotal]
    minutes: list[int]
    hours: list[int]
    expired_before: int
    as_of: dict[str, int] | None = None
    answered: dict[int, int] | None = None
    rules: list[RulesSpan] | None = None


class CombinedBase(msgspec.Struct, omit_defaults=True):
    """The base row of a slice.

    Attributes:
        totals: priority -> event type -> source -> total.
        open: priority and start of each minute whose 10 s rows may be newer than this row.
        question: to the sources, to send all again; None while nothing was ever missed.
    """

    totals: dict[str, TotalsBySource]
    open: list[tuple[str, int]]
    question: AskAgain | None = None


class CombinedBucket(msgspec.Struct, omit_defaults=True):
    """The row of one bucket of a priority and slice; 10 s rows also have the totals of their event types."""

    counts: CountsBySource
    totals: TotalsBySource | None = None


#: From JSON to a body; raises ``msgspec.DecodeError``, a ``ValueError``, where it is no such body.
read_fine: Final[Callable[[Any], dict[str, ReplayedEntry]]] = msgspec.json.Decoder(
    dict[str, ReplayedEntry]
).decode
#: Of a coarse row of a source.
read_coarse: Final[Callable[[Any], Counts]] = msgspec.json.Decoder(Counts).decode
read_source_base: Final[Callable[[Any], SourceBase]] = msgspec.json.Decoder(SourceBase).decode
read_combined_base: Final[Callable[[Any], CombinedBase]] = msgspec.json.Decoder(CombinedBase).decode
read_combined_bucket: Final[Callable[[Any], CombinedBucket]] = msgspec.json.Decoder(CombinedBucket).decode


def counts_in(entries: dict[str, ReplayedEntry]) -> Counts:
    """Event type -> count in the bucket, of those that it counts."""
    return {event_type: entry.count for event_type, entry in entries.items() if entry.count}
