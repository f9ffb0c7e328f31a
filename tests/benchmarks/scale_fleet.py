"""A fleet of workers and its load, and what things cost: for the model of scale. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

PRIORITIES: Final = 5
_GROUPS: Final = 200


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured costs: processor time in microseconds, sizes in bytes.

    Attributes:
        record_us: fetch, decode and count one record.
        entry_us: flush one event type of one source, and cut it for the combiners.
        row_us: write one row to a changelog and the local table, besides its content.
        message_us: send or receive one message of partial counts, besides its content.
        combine_us: take in one event type of one source.
        sum_us: one source of one event type in a combined row that is written again.
        total_us: take in one event type of a public row.
        entry_bytes: one event type in a row.
        source_bytes: one source of one event type in the totals of a slice.
        stored_row_bytes: a public row in memory besides its content.
        host_bytes: one worker in the group metadata that every worker carries.
        open_us: load one row when a partition is taken over.
        record_bytes: size of a record.
    """

    record_us: float = 6.0
    entry_us: float = 3.0
    row_us: float = 60.0
    message_us: float = 60.0
    combine_us: float = 0.9
    sum_us: float = 0.7
    total_us: float = 0.7
    entry_bytes: float = 60.0
    source_bytes: float = 45.0
    stored_row_bytes: float = 400.0
    host_bytes: float = 290.0
    open_us: float = 20.0
    record_bytes: float = 300.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """How much there is of everything.

    ``partitions`` are those of each topic. Event types are drawn by Zipf's law, each of one priority.
    ``own`` are the partitions of one worker that is looked at; 0 looks at the one with the most.
    """

    records_per_s: float
    event_types: float
    workers: float
    partitions: float
    flush_s: float = 1.0
    own: int = 0

    @property
    def busiest(self) -> float:
        """Partitions of each topic that the worker has."""
        return self.own or math.ceil(self.partitions / self.workers - 1e-9)

    @property
    def per_source(self) -> float:
        """Records a second of one partition of one priority, on average."""
        return self.records_per_s / (PRIORITIES * self.partitions)

    @property
    def types_per_priority(self) -> float:
        """Event types that a source may meet."""
        return max(1.0, self.event_types / PRIORITIES)

    def distinct(self, seconds: float) -> float:
        """Event types that one source meets in so many seconds."""
        return distinct_types(round(self.types_per_priority), self.per_source * seconds)


@lru_cache(maxsize=10_000)
def _zipf(types: int) -> tuple[tuple[float, float], ...]:
    """Probability and number of ranks, for ranks grouped by size (rank r has a part in proportion to 1/r)."""
    bounds = sorted({min(types, math.ceil(types ** (step / _GROUPS))) for step in range(_GROUPS + 1)} | {0})
    groups = []
    for low, high in pairwise(bounds):
        mass = (
            sum(1 / rank for rank in range(low + 1, high + 1))
            if high - low < 100
            else math.log((high + 0.5) / (low + 0.5))
        )
        groups.append((mass, float(high - low)))
    total = sum(mass for mass, _ in groups)
    return tuple((mass / total / number, number) for mass, number in groups)


def distinct_types(types: int, draws: float) -> float:
    """Expected number of different event types among so many records."""
    return sum(-number * math.expm1(draws * math.log1p(-min(p, 1 - 1e-12))) for p, number in _zipf(types))
