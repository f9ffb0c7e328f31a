"""What one run of `tocsin verify` found. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from streams.notifications.priority import Priority
from tables.verification import Difference, Span

#: Differences that are kept; beyond them only the sums go on.
_MOST_DIFFERENCES: Final = 1000


@dataclass(slots=True)
class Findings:
    """What a run found.

    Attributes:
        span: which buckets were compared.
        partitions: of all notification topics.
        records: that were counted once more, and should be in the rows.
        dead_letters: of these, those that cannot be read.
        buckets: rows compared.
        trimmed: topic and partition -> second from which it is covered, for those that retention has cut.
        waiting: messages that the combiners had not taken in when waiting for them ended.
        behind: offsets that lie behind what the group had committed: their records are counted later.
        uncommitted: notification partitions that hold records and of which the group has committed nothing.
        never_read: by priority, records that retention deleted before a worker had read them.
        strange: sources in the counts that no topic of today has.
        ended: earlier lives of sources whose log lost its end: what they counted is in no log any more.
        differences: the first of them.
        lost: sum over all differences of rows: published and not counted.
        excess: sum over all differences of rows: counted more often than published.
        public_differences: differences between the public counts and the records.
        gone: sources with totals that no topic of today has.
        foreign: app -> rows in the public topic that are another's.
        totals: priorities whose totals were compared in full.
        totals_at_least: priorities of which records are gone or were not read, so that only too low a total
            could be found.
        unreadable: topic and partition -> records of corrupt batches that no dead letters account for, so
            that nobody knows how they were counted.
        with_dead_letters: records of corrupt batches whose dead letters account for them.
        unreadable_rows: places of rows of counts that are corrupt.
        notes: further sentences.
    """

    span: Span
    partitions: int = 0
    never_read: Counter[Priority] = field(default_factory=Counter)
    records: int = 0
    dead_letters: int = 0
    buckets: int = 0
    trimmed: dict[str, float] = field(default_factory=dict)
    waiting: int = 0
    behind: int = 0
    uncommitted: list[str] = field(default_factory=list)
    strange: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)
    number_of_differences: int = 0
    lost: int = 0
    excess: int = 0
    public_differences: int = 0
    gone: set[str] = field(default_factory=set)
    foreign: Counter[str] = field(default_factory=Counter)
    totals: list[Priority] = field(default_factory=list)
    totals_at_least: list[Priority] = field(default_factory=list)
    unreadable: Counter[str] = field(default_factory=Counter)
    with_dead_letters: int = 0
    unreadable_rows: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, difference: Difference, *, public: bool) -> None:
        """Keep a difference, or at least its sum."""
        self.number_of_differences += 1
        if public:
            self.public_differences += 1
        else:
            self.lost += difference.lost
            self.excess += difference.excess
        if len(self.differences) < _MOST_DIFFERENCES:
            self.differences.append(difference)
