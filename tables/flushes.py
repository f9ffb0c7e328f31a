"""What one source has to write and to send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tables.rows import Change


@dataclass(slots=True)
class FineRow:
    """One 10 s bucket of one source: event type -> count, and what of it is to be written and sent."""

    counts: dict[str, int]
    offset: int = -1  # as of this offset, as last written; -1 when never
    dirty: bool = False
    resend: bool = False  # send all of it, not only what changed
    stale_keys: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Emission:
    """Counts of one source for the combiners: cumulative, so that a repeat does no harm."""

    #: (resolution, bucket) -> event type -> count
    buckets: dict[tuple[int, int], dict[str, int]] = field(default_factory=dict)
    #: event type -> total, last seen (ms)
    totals: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Flush:
    """One flush of one source: what to write, then what to send, in this order."""

    offset: int
    first: list[Change]
    then: list[Change]
    emission: Emission
    cleanup: list[Change]
    closed: list[tuple[int, int]]
