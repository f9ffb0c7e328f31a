"""What the next holder of a source finds in its rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tables.buckets import FINE, MINUTE, children
from tables.replay_rules import RulesSpan
from tables.reserved_types import RESERVED
from tables.row_bodies import ForgottenTotal, read_fine, read_source_base
from tables.rows import VersionedRows, base_name, bucket_name


@dataclass(slots=True)
class Restored:
    """State of a source as its durable rows tell it.

    Attributes:
        base_offset: offset that the base row is as of; -1 when there is none.
        stale_base_keys: base rows of other writers, to be deleted once this writer's is durable.
        totals: event type -> records ever counted.
        seen_ms: event type -> when it was seen last, in milliseconds; of those in ``totals``.
        as_of: event type -> offset that its total is as of, where that is later than ``base_offset``.
        minutes: starts of the open minutes.
        hours: starts of the open hours.
        expired_before: 10 s buckets that start earlier are no longer kept.
        answered: slice -> number of the latest question to send all again that was answered.
        rules: settings under which records were counted, as far as the base row tells.
        replay_until: the highest offset that a row is as of, of those that records may be applied to again.
        settled: the highest of these but one. The flush as of it was durable in full before the next began:
            what rows say up to there is whole, whatever became of the last one.
        forgotten: as in ``SourceBase``; so are the following.
        period: likewise.
        epochs: likewise.
        gone: likewise.
    """

    base_offset: int = -1
    stale_base_keys: list[bytes] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    seen_ms: dict[str, int] = field(default_factory=dict)
    as_of: dict[str, int] = field(default_factory=dict)
    minutes: set[int] = field(default_factory=set)
    hours: set[int] = field(default_factory=set)
    expired_before: int = 0
    answered: dict[int, int] = field(default_factory=dict)
    rules: list[RulesSpan] = field(default_factory=list)
    replay_until: int = -1
    settled: int = -1
    forgotten: int = 0
    period: int = 0
    epochs: dict[str, int] = field(default_factory=dict)
    gone: dict[int, dict[str, ForgottenTotal]] = field(default_factory=dict)

    def take(self, offset: int) -> None:
        """A row is as of ``offset``."""
        if offset > self.replay_until:
            self.settled, self.replay_until = self.replay_until, offset
        elif self.settled < offset < self.replay_until:
            self.settled = offset

    def merge_total(self, event_type: str, total: int, seen_ms: int, offset: int) -> None:
        """Take over the total that a 10 s row carries, if it is no older."""
        known = self.totals.get(event_type)
        if known is None or total >= known:
            self.totals[event_type], self.seen_ms[event_type] = total, seen_ms
            if known is None and self.forgotten and event_type not in RESERVED:
                self.epochs[event_type] = self.forgotten
        self.as_of[event_type] = max(offset, self.as_of.get(event_type, self.base_offset))


def restore(source: str, rows: VersionedRows) -> Restored:
    """Read the base row, and the 10 s rows of the minutes that are open."""
    found = _base(source, rows)
    found.take(found.base_offset)
    for minute in found.minutes:
        for bucket in children(minute, MINUTE):
            loaded = rows.load(bucket_name(source, FINE, bucket), read_fine)
            if loaded is None:
                continue
            found.take(loaded.offset)
            if loaded.offset > found.base_offset:
                for event_type, entry in loaded.body.items():
                    if entry.total:
                        as_of = loaded.offset if entry.total_as_of is None else entry.total_as_of
                        found.merge_total(event_type, entry.total, entry.last_seen_ms, as_of)
    return found


def _base(source: str, rows: VersionedRows) -> Restored:
    versions = rows.versions(base_name(source), read_source_base)
    if not versions:
        return Restored()
    # A worker that woke up late may have written the newest base row, and know nothing of what
    # others opened since: what is open in any of them is open.
    bodies = [version.body for version in versions]
    expired_before = max(each.expired_before for each in bodies)
    newest = bodies[0]
    return Restored(
        base_offset=versions[0].offset,
        stale_base_keys=rows.others(rows.keys(base_name(source))),
        totals={event_type: entry.total for event_type, entry in newest.totals.items()},
        seen_ms={event_type: entry.last_seen_ms for event_type, entry in newest.totals.items()},
        as_of=newest.as_of or {},
        minutes={minute for each in bodies for minute in each.minutes if minute >= expired_before},
        hours={hour for each in bodies for hour in each.hours},
        expired_before=expired_before,
        # Of the newest alone: an answer too many does no harm, and one too few does.
        answered=newest.answered or {},
        rules=newest.rules or [],
        forgotten=newest.forgotten,
        period=newest.period,
        epochs=newest.epochs or {},
        gone=newest.gone or {},
    )
