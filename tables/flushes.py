"""What one source has to write and to send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tables.row_bodies import Counts, ForgottenTotal, TypeTotal
from tables.rows import Change


@dataclass(slots=True)
class FineRow:
    """One 10 s bucket of one source in memory: its counts, and what of it is to be written and sent."""

    counts: Counts
    offset: int = -1  # as of this offset, as last written; -1 when never
    dirty: bool = False
    resend: bool = False  # send all of it, not only what changed
    guests: set[str] = field(default_factory=set)  # event types that the totals did not name when they came
    guest_bytes: int | None = None  # of these; None when not yet known
    stale_keys: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Emission:
    """Counts of one source for the combiners: cumulative, so that a repeat does no harm."""

    #: (resolution, bucket) -> event type -> count
    buckets: dict[tuple[int, int], Counts] = field(default_factory=dict)
    #: event type -> total
    totals: Mapping[str, TypeTotal] = field(default_factory=dict)
    #: How often the source has forgotten event types.
    forgotten: int = 0
    #: event type -> epoch of its total, where that is not 0
    epochs: Mapping[str, int] = field(default_factory=dict)
    #: what was forgotten: how often until then -> event type -> total
    gone: Mapping[int, Mapping[str, ForgottenTotal]] = field(default_factory=dict)


@dataclass(slots=True)
class Flush:
    """One flush of one source: what to write, then what to send, in this order.

    Attributes:
        offset: of the last record that it holds.
        first: the base row, if it is due.
        then: rows of buckets.
        emission: what goes to the combiners.
        cleanup: rows to delete.
        closed: resolution and start of the coarse buckets that are complete with it.
    """

    offset: int
    first: list[Change]
    then: list[Change]
    emission: Emission
    cleanup: list[Change]
    closed: list[tuple[int, int]]
