"""Counts per event type, summed over the sources. Pure.

A combiner owns one slice of the event types, and keeps the largest count that each source has sent: see
``docs/exact-counts.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tables.again import VERSION, AskAgain
from tables.buckets import FINE, MINUTE, RESOLUTIONS, parent, retention_s
from tables.partials import BucketCounts
from tables.public_rows import PublicRow
from tables.reserved_types import OVERFLOW
from tables.row_bodies import (
    CombinedBase,
    CombinedBucket,
    CountsBySource,
    ForgottenTotal,
    TotalsBySource,
    TypeTotal,
    epoch_name,
    read_combined_base,
    read_combined_bucket,
    source_in,
)
from tables.rows import Change, VersionedRows, base_name, bucket_in, bucket_name, is_part

_BASE_INTERVAL_S: Final = 60
_DELETES_PER_FLUSH: Final = 200
_OWNER: Final = "combined"
#: Among the sources of OVERFLOW: the sum of what was moved there.
_MOVED: Final = "forgotten"
#: Seconds that an unchanged row stays in memory after its last change.
_MEMORY_S: Final = 90
#: Seconds without a message that cannot be read after which the sources are asked to send all again.
_QUIET_S: Final = 10


@dataclass(slots=True)
class _CombinedRow:
    counts: CountsBySource
    offset: int = -1
    dirty: bool = False
    touched_s: float = 0.0
    stale_keys: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class CombinedFlush:
    """One flush of one slice: what to write, then what to publish, in this order."""

    offset: int
    #: Messages up to this offset are in it, and may be committed when it is durable.
    processed: int
    first: list[Change]
    then: list[Change]
    public: list[PublicRow]
    #: Priority, resolution, bucket, and the part of a public row.
    expired_public: list[tuple[str, int, int, int]]
    cleanup: list[Change]
    #: To be published with the rows: the question to the sources, when it is new.
    question: AskAgain | None = None


class CombinedCounter:
    """Counts of one slice of the event types.

    Args:
        rows: the rows of the table partition, as this worker writes them.
        lateness_s: how far back in time a record may fall.
    """

    def __init__(self, rows: VersionedRows, *, lateness_s: int) -> None:
        self._rows = rows
        self._lateness_s = lateness_s
        self._memory: dict[tuple[str, int, int], _CombinedRow] = {}
        self.processed = -1
        #: The highest broker time of the messages taken in, in seconds since 1970; 0 before the first.
        self.reached_s = 0.0
        self._flushed = -1
        self._base_at_s = 0.0
        self._cleaned_at_s = 0.0
        self._base_due = False
        # A base row may hold less than its offset says while messages are repeated, and a worker that woke
        # up late may have written the newest: so all versions are merged.
        versions = rows.versions(base_name(_OWNER), read_combined_base)
        self._base_offset = versions[0].offset if versions else -1
        self._base_stale = rows.others(rows.keys(base_name(_OWNER)))
        #: priority -> event type -> source -> total
        self.totals: dict[str, TotalsBySource] = versions[0].body.totals if versions else {}
        #: Source -> how often it had forgotten event types, as far as is known here.
        self._forgotten: dict[str, int] = (versions[0].body.forgotten or {}) if versions else {}
        #: Priority and event type -> names of totals that go on no more, while others of it do.
        self._closed: dict[tuple[str, str], set[str]] = {
            (priority, event_type): set(names)
            for priority, types in ((versions[0].body.closed or {}) if versions else {}).items()
            for event_type, names in types.items()
        }
        # Where something was forgotten, an older version may name what is no longer named.
        for version in [] if self._forgotten else versions[1:]:
            for priority, types in version.body.totals.items():
                self._merge_totals(priority, types)
        self.question = max(
            (version.body.question for version in versions if version.body.question is not None),
            key=lambda question: (question.number, question.asked),
            default=None,
        )
        #: The question is to be published; after a restart it may not have been.
        self._question_due = self.question is not None
        #: When a message that cannot be read came last, in seconds since 1970.
        self._unread_at_s = 0.0
        if self.question is not None and self.question.version < VERSION:
            # Those that could not be read by the release before can be read now.
            self._ask(asked=True)
        self._open: set[tuple[str, int]] = {each for version in versions for each in version.body.open}
        for priority, minute in self._open:
            for bucket in range(minute, minute + MINUTE, FINE):
                loaded = rows.load(bucket_name(priority, FINE, bucket), read_combined_bucket)
                if loaded is not None and (loaded.offset > self._base_offset or not self._forgotten):
                    self._merge_totals(priority, loaded.body.totals or {})
        #: Priorities whose totals are newer than their public row; after a restart that may be any.
        self._totals_changed = set(self.totals)

    def _merge_totals(self, priority: str, types: TotalsBySource) -> None:
        for event_type, by_source in types.items():
            for source, total in by_source.items():
                self._merge_total(priority, event_type, source, total)

    def _merge_total(self, priority: str, event_type: str, source: str, found: TypeTotal) -> None:
        by_source = self.totals.setdefault(priority, {}).setdefault(event_type, {})
        known = by_source.get(source)
        if known is not None:
            last_seen_ms = max(known.last_seen_ms, found.last_seen_ms)
            found = TypeTotal(max(known.total, found.total), last_seen_ms)
        by_source[source] = found

    def _row(self, priority: str, resolution: int, bucket: int) -> _CombinedRow:
        row = self._memory.get((priority, resolution, bucket))
        if row is None:
            loaded = self._rows.load(bucket_name(priority, resolution, bucket), read_combined_bucket)
            if loaded is None:
                row = _CombinedRow({})
            else:
                stale_keys = self._rows.others(loaded.keys)
                row = _CombinedRow(loaded.body.counts, loaded.offset, stale_keys=stale_keys)
            self._memory[priority, resolution, bucket] = row
        return row

    def merge(
        self,
        offset: int,
        priority: str,
        source: str,
        buckets: Iterable[BucketCounts],
        totals: Mapping[str, TypeTotal],
        now_s: float,
        *,
        forgotten: int = 0,
        gone: Mapping[str, ForgottenTotal] | None = None,
    ) -> None:
        """Take in the counts of one source.

        Every row that is named counts as changed even when it already holds as much: the message
        may be a repeat after a crash that came between writing and publishing.

        Args:
            offset: of the message in the partials topic.
            priority: of the source's topic.
            source: name of the source.
            buckets: those that changed.
            totals: event type -> total.
            now_s: wall-clock time, to leave out buckets that are no longer kept.
            forgotten: how often the source had forgotten event types when it said this.
            gone: event type -> last total, of those that it then forgot.
        """
        kept_s = self._horizon_s(now_s)
        if gone:
            self._forget(priority, source, forgotten, gone)
        elif self._forgotten.get(source_in(source), 0) > forgotten:
            # Of a worker that was behind: what is not known has been forgotten, and its total moved.
            known_types = self.totals.get(priority, {})
            totals = {t: each for t, each in totals.items() if source in known_types.get(t, ())}
        if totals:
            known_types = self.totals.setdefault(priority, {})
            for event_type, each in totals.items():  # as _merge_total, without a call for each
                known_sources = known_types.get(event_type)
                if known_sources is None:
                    known_types[event_type] = {source: each}
                elif (known := known_sources.get(source)) is None or (
                    each.total >= known.total and each.last_seen_ms >= known.last_seen_ms
                ):
                    known_sources[source] = each
                else:
                    self._merge_total(priority, event_type, source, each)
            self._totals_changed.add(priority)
        carried: set[str] = set()  # event types whose totals the rows of buckets will hold
        for part in buckets:
            resolution, bucket, counts = part.resolution_s, part.bucket, part.counts
            if resolution not in RESOLUTIONS:
                continue
            if bucket < kept_s - retention_s(resolution, self._lateness_s):
                continue
            if resolution == FINE:
                carried.update(counts)
            row = self._row(priority, resolution, bucket)
            row.dirty, row.touched_s = True, now_s
            for event_type, count in counts.items():
                by_source = row.counts.get(event_type)
                if by_source is None:
                    row.counts[event_type] = {source: count}
                elif count > by_source.get(source, 0):
                    by_source[source] = count
            if resolution == FINE and (key := (priority, parent(bucket, MINUTE))) not in self._open:
                self._open.add(key)
                self._base_due = True
        self._base_due |= not carried.issuperset(totals)
        self.processed = max(self.processed, offset)

    def _forget(self, priority: str, source: str, forgotten: int, gone: Mapping[str, ForgottenTotal]) -> None:
        """Close totals of a source; what no source names any more goes to this slice's sum in OVERFLOW."""
        known_types = self.totals.setdefault(priority, {})
        for event_type, last in gone.items():
            name = epoch_name(source, last.epoch)
            if name not in known_types.get(event_type, ()):
                continue  # a repeat: it was moved already
            self._merge_total(priority, event_type, name, TypeTotal(last.total, last.last_seen_ms))
            closed = self._closed.setdefault((priority, event_type), set())
            closed.add(name)
            if closed.issuperset(known_types[event_type]):
                moved = self._sum_total(priority, event_type)
                del known_types[event_type], self._closed[priority, event_type]
                before = known_types.get(OVERFLOW, {}).get(_MOVED, TypeTotal(0, -1))
                known_types.setdefault(OVERFLOW, {})[_MOVED] = TypeTotal(
                    before.total + moved.total, max(before.last_seen_ms, moved.last_seen_ms)
                )
        self._forgotten[source] = max(forgotten, self._forgotten.get(source, 0))
        self._totals_changed.add(priority)
        self._base_due = True  # before any row that is as of a later message

    # ---------------------------------------------------------------- what was missed

    def missed(self) -> None:
        """Messages were deleted before they were read: ask the sources to send all again."""
        self._ask(asked=True)

    def unread(self, now_s: float) -> None:
        """A message cannot be read: ask the sources to send all again, once no more such messages come."""
        self._unread_at_s = now_s
        if self.question is None or self.question.asked:
            self._ask(asked=False)

    def _ask(self, *, asked: bool) -> None:
        number = 0 if self.question is None else self.question.number + 1
        self.question = AskAgain(number, VERSION, asked)
        self._question_due = self._base_due = True

    def _ask_when_quiet(self, now_s: float) -> None:
        question = self.question
        waits = question is not None and not question.asked
        if waits and not 0 <= now_s - self._unread_at_s < _QUIET_S:
            self._ask(asked=True)

    # ---------------------------------------------------------------- flushing

    def reach(self, broker_ms: int) -> None:
        """A message of this broker time, in milliseconds since 1970, is about to be merged."""
        self.reached_s = max(self.reached_s, broker_ms / 1000)

    def _horizon_s(self, now_s: float) -> float:
        # What is deleted here is gone for everybody, so a worker's clock alone never decides it: a clock
        # that is ahead is bounded by the brokers', and times of publishers by the clock.
        return min(now_s, self.reached_s)

    def publish_again(self, priority: str, resolution_s: int | None, bucket: int | None) -> None:
        """Publish a row again with the next flush; None and None for the totals."""
        if resolution_s is None or bucket is None:
            self._totals_changed.add(priority)
            self._base_due = True
        else:
            row = self._row(priority, resolution_s, bucket)
            row.dirty |= bool(row.counts)

    def flush(self, now_s: float) -> CombinedFlush | None:
        """Plan a flush as of the last message handled; see ``CombinedFlush`` for the order."""
        self._ask_when_quiet(now_s)
        dirty = {key: row for key, row in self._memory.items() if row.dirty}
        if not dirty and not self._base_due and self.processed <= self._flushed:
            return None
        offset = max(self.processed, self._base_offset)
        public: list[PublicRow] = []
        cleanup: list[Change] = []
        first: list[Change] = []
        if self._base_due or not 0 <= now_s - self._base_at_s < _BASE_INTERVAL_S:
            first = self._write_base(offset, now_s, set(dirty), cleanup)
            for priority in self._totals_changed:
                totals = {t: self._sum_total(priority, t) for t in self.totals.get(priority, ())}
                public.append(PublicRow(priority, None, None, offset, None, totals))
            self._totals_changed.clear()
        then: list[Change] = []
        for (priority, resolution, bucket), row in dirty.items():
            body = CombinedBucket(row.counts)
            totals_out = None
            if resolution == FINE:
                known = self.totals.get(priority, {})
                body.totals = {t: known[t] for t in row.counts if t in known}
                totals_out = {t: self._sum_total(priority, t) for t in body.totals}
            # While messages are repeated, the row may be ahead of them; it is never behind.
            row.offset = max(row.offset, self.processed)
            then += self._rows.changes(bucket_name(priority, resolution, bucket), row.offset, body)
            counts = {event_type: sum(by_source.values()) for event_type, by_source in row.counts.items()}
            public.append(PublicRow(priority, resolution, bucket, row.offset, counts, totals_out))
            cleanup += [(key, None) for key in row.stale_keys]
            row.dirty, row.stale_keys = False, []
        cleanup += [(key, None) for key in self._rows.take_superseded()]
        # With the totals, because the public rows that go may be the last to tell them.
        expired = self._expire(now_s, cleanup) if first else []
        question = None
        if first and self._question_due:
            question, self._question_due = self.question, False
        return CombinedFlush(offset, self.processed, first, then, public, expired, cleanup, question)

    def flushed(self, flush: CombinedFlush, now_s: float) -> None:
        """All of ``flush`` is durable; free memory."""
        self._flushed = flush.processed
        for key, row in list(self._memory.items()):
            # A clock that was ahead may have touched it later than now.
            if not row.dirty and not now_s - _MEMORY_S <= row.touched_s <= now_s:
                del self._memory[key]

    def _sum_total(self, priority: str, event_type: str) -> TypeTotal:
        total, seen = 0, -1
        for of_source in self.totals[priority][event_type].values():
            total += of_source.total
            seen = max(seen, of_source.last_seen_ms)
        return TypeTotal(total, seen)

    def _write_base(
        self, offset: int, now_s: float, dirty: set[tuple[str, int, int]], cleanup: list[Change]
    ) -> list[Change]:
        # The base row covers all rows that are durable, so only those of this flush can be newer.
        self._open = {
            (priority, parent(b, MINUTE)) for priority, resolution, b in dirty if resolution == FINE
        }
        self._base_offset, self._base_at_s, self._base_due = offset, now_s, False
        cleanup += [(key, None) for key in self._base_stale]
        self._base_stale = []
        closed: dict[str, dict[str, list[str]]] = {}
        for (priority, event_type), names in self._closed.items():
            closed.setdefault(priority, {})[event_type] = sorted(names)
        body = CombinedBase(self.totals, list(self._open), question=self.question)
        body.forgotten, body.closed = self._forgotten or None, closed or None
        return self._rows.changes(base_name(_OWNER), offset, body)

    def _expire(self, now_s: float, cleanup: list[Change]) -> list[tuple[str, int, int, int]]:
        if 0 <= now_s - self._cleaned_at_s < MINUTE:
            return []
        self._cleaned_at_s = now_s
        horizon_s = int(self._horizon_s(now_s))
        expired = []
        for priority in self.totals:
            for resolution in RESOLUTIONS:
                before = horizon_s - retention_s(resolution, self._lateness_s)
                keys = self._rows.expired(priority, resolution, before, _DELETES_PER_FLUSH)
                cleanup += [(key, None) for key in keys]
                # Public rows have parts only where these have, and fewer than twice as many.
                buckets = Counter(map(bucket_in, keys))
                in_parts = Counter(bucket_in(key) for key in keys if is_part(key))
                for bucket in sorted(buckets):
                    parts = 2 * in_parts[bucket] + 2 if bucket in in_parts else 1
                    expired += [(priority, resolution, bucket, part) for part in range(parts)]
                    self._memory.pop((priority, resolution, bucket), None)
        return expired
