"""Exact counts of one source: one partition of one notification topic. Pure.

The counter gets every record of its source in offset order, from wherever the committed offset says, so it
may get some again. Why its counts are exact all the same, and what the order of a flush has to do with it:
``docs/exact-counts.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import repeat

from tables.again import Questions
from tables.buckets import FINE, HOUR, MINUTE
from tables.coarse_buckets import CoarseBuckets
from tables.expiry import Expiry
from tables.fine_rows import FineRows
from tables.flushes import Emission, FineRow, Flush
from tables.forgetting import NEVER_MS, PERIOD_MS, forgettable, period_of
from tables.last_seen import LastSeen, SeenTimes
from tables.replay_rules import RuleHistory, Rules
from tables.reserved_types import OVERFLOW
from tables.restoring import Restored, restore
from tables.row_bodies import Counts, FineEntry, GuestEntry, ReplayedEntry
from tables.rows import Change, VersionedRows, bucket_name
from tables.sending_again import SendingAgain
from tables.source_totals import SourceTotals, sums
from tables.type_cap import BYTES_EACH, MOST_GUEST_BYTES, TypeCap, bytes_of


class SourceCounter:
    """Counts of one source.

    Attributes:
        most_pending: counts of an event type in a bucket that may be held outside of rows.

    Args:
        source: its name, of ``tables.source_name``.
        rows: the rows of the table partition, as this worker writes them.
        max_event_types: distinct event types per bucket and in the totals; the rest is OVERFLOW.
        lateness_s: how far back in time a record may still fall.
        max_type_bytes: most bytes of the event types in the totals; None for what ``TypeCap`` allows.
        max_guest_bytes: most bytes of the event types that a bucket names and the totals do not.
        rules: the settings that decide what a record is counted as, to be kept with the rows; ``lateness_s``
            and ``max_event_types`` are of these. None to keep none, and count all records alike.
        restored: what its rows hold; None to read them.
        forget_s: seconds without a record after which an event type may give its place back; 0 for never.
            Longer than 10 s buckets are kept, or a row could name what the totals have forgotten.
    """

    most_pending = 100_000

    def __init__(
        self,
        source: str,
        rows: VersionedRows,
        *,
        max_event_types: int,
        lateness_s: int,
        max_type_bytes: int | None = None,
        max_guest_bytes: int = MOST_GUEST_BYTES,
        rules: Rules | None = None,
        restored: Restored | None = None,
        forget_s: int = 0,
    ) -> None:
        self.source = source
        self._rows = rows
        self._cap = self._cap_now = TypeCap(max_event_types, max_type_bytes, max_guest_bytes)
        restored = restore(source, rows) if restored is None else restored
        self._lateness_s = lateness_s
        self._rules = None if rules is None else RuleHistory(restored.rules, rules, restored.replay_until)
        #: Offset up to which records were first counted under other settings: see ``rules_at``.
        self.ruled_until = -1 if self._rules is None else self._rules.until
        self.totals = SourceTotals(source, rows, restored, self._cap)
        self._fine = FineRows(source, rows)
        self._coarse = CoarseBuckets(source, rows, self._fine, restored.minutes, restored.hours)
        self._expiry = Expiry(source, rows, lateness_s, restored.expired_before)
        self._again = SendingAgain(lateness_s, restored.answered, self._counts_of)
        if self._rules is not None and self._rules.changed:
            # Before any row that counts by the new ones.
            self.totals.base_due = True
        #: Counts since the last flush: bucket -> event type -> count.
        self._pending: dict[int, Counter[str]] = {}
        #: How many counts that is.
        self._pending_size = 0
        #: Of the same records.
        self.last_seen = LastSeen()
        #: Offset of the last record handled; -1 before the first.
        self.processed = -1
        #: Highest broker time seen, in milliseconds.
        self.watermark_ms = 0
        #: Up to this offset a record may be one that some row already counts.
        self.replay_until = restored.replay_until
        self._flushed = -1
        self._forget_ms = forget_s * 1000
        #: Broker time, in milliseconds, from which on `reach` has something to do.
        self.due_ms = (self.totals.period + 1) * PERIOD_MS if forget_s else NEVER_MS
        #: Rows as of the last record before event types were forgotten.
        self._before: list[Change] = []
        self._stale_before: list[bytes] = []

    # ---------------------------------------------------------------- counting

    @property
    def replaying(self) -> bool:
        """Whether the next record may be one that some row already counts."""
        return self.processed < self.replay_until

    def count_by(self, history: RuleHistory) -> None:
        """Count by the settings that held when records were first counted, as another counter's rows say."""
        self._rules, self.ruled_until = history, history.until

    def rules_at(self, offset: int) -> Rules | None:
        """The settings under which a record is counted, by its offset; None for those of today."""
        return None if self._rules is None or offset > self.ruled_until else self._rules.at(offset)

    def add(self, offset: int, event_type: str, bucket: int, seen_ms: int) -> None:
        """Count one record."""
        counts = self._pending.get(bucket)
        if offset <= self.replay_until or (counts is None and self._is_counted(offset, bucket)):
            self._add_again(offset, event_type, bucket, seen_ms)
        else:
            if counts is None:
                counts = self._pending[bucket] = Counter()
            count = counts.get(event_type, 0)
            counts[event_type] = count + 1
            self._pending_size += not count
            self.last_seen.add(event_type, seen_ms)
        self.processed = offset
        if self._pending_size > self.most_pending:
            self._merge_early()

    def add_run(self, first: int, last: int, types: Mapping[int, Iterable[str]], seen: SeenTimes) -> bool:
        """Count consecutive records at once: the same as `add` for each of them.

        Args:
            first: offset of the first record.
            last: offset of the last.
            types: start of the 10 s bucket -> event type of each of its records.
            seen: when event types were seen, as `LastSeen.add_run` takes it.

        Returns:
            False, with nothing counted, when a row may hold some of them: then `add` each.
        """
        if first <= self.replay_until:
            return False
        pending = self._pending
        for bucket in types:
            if bucket in pending or bucket < self._expiry.before:
                continue
            if self._fine.row(bucket).offset >= first:
                return False
        for bucket, each in types.items():
            counts = pending.get(bucket)
            if counts is None:
                counts = pending[bucket] = Counter()
            counts.update(each)  # in C
        self.last_seen.add_run(seen)
        self.processed = last
        self._pending_size = sum(map(len, pending.values()))
        if self._pending_size > self.most_pending:
            self._merge_early()
        return True

    def reach(self, time_ms: int) -> None:
        """The next record has this broker's time, in milliseconds; nothing happens before ``due_ms``.

        With the first record of a period, event types may give their places back. Whoever reads records again
        must decide as was decided then, so all that was before is written first, as it was.
        """
        if time_ms < self.due_ms:
            return
        for bucket in self._merge_pending():
            self._fine.row(bucket).resend = True
        totals = self.totals
        period = period_of(time_ms)
        self.due_ms = (period + 1) * PERIOD_MS
        names = forgettable(totals.seen_ms, period * PERIOD_MS - self._forget_ms) if totals.is_near else ()
        if names:
            self._write_all_before()
        totals.period = period
        totals.base_due |= totals.is_near
        if names:
            totals.forget(names)

    def _write_all_before(self) -> None:
        """Rows as of the last record, to be written with the next flush before all others."""
        dirty = self._fine.dirty()
        self._coarse.touch(MINUTE, dirty)
        offset = max(self.processed, self._flushed)
        base, stale = self._base_rows(offset, self.totals.base_at_s)
        self._before += base
        self._stale_before += stale
        for bucket, row in dirty.items():
            row.offset = max(row.offset, offset)
            body = self._body(row, offset)
            self._before += self._rows.changes(bucket_name(self.source, FINE, bucket), row.offset, body)

    def take_pending(self) -> dict[int, Counter[str]]:
        """Bucket -> event type -> count since the last flush, which is then forgotten."""
        pending, self._pending = self._pending, {}
        self._pending_size = 0
        return pending

    def _merge_early(self) -> None:
        """Merge before there is a flush, which may be long in coming: in rows the cap bounds what is held."""
        for bucket in self._merge_pending():
            self._fine.row(bucket).resend = True

    def _is_counted(self, offset: int, bucket: int) -> bool:
        """Whether the row is ahead: a paused worker woke up and wrote it when its minute was closed."""
        if bucket < self._expiry.before or (ahead := self._fine.row(bucket).offset) < offset:
            return False
        for each in self._merge_pending():
            self._fine.row(each).resend = True
        self.replay_until = ahead
        return True

    def _add_again(self, offset: int, event_type: str, bucket: int, seen_ms: int) -> None:
        self._use_cap(offset)
        total_type = self.totals.add_again(offset, event_type, seen_ms)
        if offset <= self.ruled_until and OVERFLOW in self.totals.counts:
            # With more places a later record may have got one for a name that had none then.
            self.totals.touched.add(OVERFLOW)
        if bucket < self._expiry.before:
            self.totals.base_due = True
            return
        row = self._fine.row(bucket)
        if offset > row.offset:
            counted = self._admitted(event_type, row)
            row.counts[counted] = row.counts.get(counted, 0) + 1
        self.totals.base_due |= self._is_left_out(total_type, row)
        row.dirty = row.resend = True

    def _use_cap(self, offset: int | None) -> None:
        """Count by name what was by the cap of the time of a record; None for that of today."""
        rules = None if offset is None else self.rules_at(offset)
        now = self._cap_now
        if rules is None:
            self._cap = self.totals.cap = now
        else:
            # Bytes that were given are a matter of tests, and stay.
            given = None if now.most_bytes == now.most * BYTES_EACH else now.most_bytes
            self._cap = self.totals.cap = TypeCap(rules.max_event_types, given, now.most_guest_bytes)

    def _admitted(self, event_type: str, row: FineRow) -> str:
        """What a row counts ``event_type`` as, when the totals have it."""
        if event_type in row.counts or event_type in self.totals.counts:
            return self._cap.admitted(event_type, row.counts, 0, self._cap.most_bytes)
        if row.guest_bytes is None:
            row.guest_bytes = bytes_of(row.guests)
        counted = self._cap.admitted(event_type, row.counts, row.guest_bytes, self._cap.most_guest_bytes)
        if counted == event_type:
            row.guest_bytes += bytes_of((event_type,))
            row.guests.add(event_type)
        return counted

    def _is_left_out(self, total_type: str, row: FineRow) -> bool:
        """Whether the row does not carry this total, because the cap hit the row and not the totals."""
        return total_type != OVERFLOW and total_type not in row.counts

    def _merge_pending(self) -> dict[int, Collection[str]]:
        """Move the pending counts into rows and totals; return the changed event types by bucket."""
        pending = self.take_pending()
        self._use_cap(None)
        by_name = self.totals.see(self.last_seen.take())
        changed: dict[int, Collection[str]] = {}
        for bucket, counts in pending.items():
            self.totals.add_all(counts, by_name=by_name)
            if bucket >= self._expiry.before:
                changed[bucket] = self._add_to_row(self._fine.row(bucket), counts)
            else:  # older than any bucket that is kept: counts in the totals alone
                self.totals.base_due = True
        return changed

    def _add_to_row(self, row: FineRow, counts: Mapping[str, int]) -> Collection[str]:
        """Add what the totals hold already; return the event types whose count changed."""
        row.dirty = True
        held = row.counts
        # All by name: there are places, and none is a guest.
        if len(held) + len(counts) < self._cap.most and counts.keys() <= self.totals.counts.keys():
            held.update(sums(held, counts) if held else counts)
            return counts
        changed = set()
        for event_type, count in counts.items():
            counted = self._admitted(event_type, row)
            held[counted] = held.get(counted, 0) + count
            changed.add(counted)
            total_type = event_type if event_type in self.totals.counts else OVERFLOW
            if counted != total_type:
                self.totals.base_due |= self._is_left_out(total_type, row)
        return changed

    # ---------------------------------------------------------------- flushing

    def flush(self, now_s: float) -> Flush | None:
        """Plan a flush as of the last record handled.

        The caller carries out ``first``, ``then``, ``emission`` and ``cleanup`` in this order, each
        when the one before is durable, and calls ``flushed``. Until then no other flush may be planned.

        Args:
            now_s: wall-clock time in seconds; decides only when coarse buckets are written and old
                ones go, never what a row holds.
        """
        changed = self._merge_pending()
        flush = Flush(max(self.processed, self._flushed), [], [], Emission(), [], [])
        dirty = self._fine.dirty()
        self.totals.base_due |= self._coarse.touch(MINUTE, dirty)
        self._close(MINUTE, now_s, dirty, flush)
        minutes = [bucket for resolution, bucket in flush.emission.buckets if resolution == MINUTE]
        self.totals.base_due |= self._coarse.touch(HOUR, minutes)
        self._close(HOUR, now_s, dirty, flush)
        self._expire(now_s)
        news = dirty or flush.emission.buckets or self.totals.base_due or self.processed > self._flushed
        if not (news or self._again.under_way):
            return None
        if self.totals.is_base_due(now_s, active=bool(dirty)):
            self._write_base(now_s, flush)
        for bucket, row in dirty.items():
            self._write_row(bucket, row, changed.get(bucket, ()), flush)
        self._again.add_to(flush)
        flush.emission.totals = self.totals.take_touched()
        if self.totals.forgotten:
            self.totals.say_forgotten(flush.emission)
        if not self.replaying:
            self.totals.replayed()
        flush.cleanup += self._expiry.deletions()
        flush.cleanup += [(key, None) for key in self._rows.take_superseded()]
        return flush

    def ask(self, questions: Questions, now_s: float) -> None:
        """Send all again, with the next flushes, to combiners that have missed something."""
        # In a replay rows are ahead of what was processed; it is over soon.
        if not self.replaying and self._again.ask(questions, now_s):
            self.totals.touched.update(self.totals.counts)

    def _counts_of(self, resolution: int, bucket: int, flush: Flush) -> Counts:
        return (
            self._fine.counts(bucket)
            if resolution == FINE
            else self._coarse.counts(resolution, bucket, flush)
        )

    def _close(self, resolution: int, now_s: float, dirty: Mapping[int, FineRow], flush: Flush) -> None:
        # In a replay rows may be ahead of what was processed, and the next base row must go on naming
        # their minutes.
        if not self.replaying:
            self._coarse.close(resolution, now_s, dirty, flush)

    def _expire(self, now_s: float) -> None:
        # The wall clock bounds the watermark: a topic with the producers' own times may hold any time.
        horizon_s = min(self.watermark_ms / 1000, now_s)
        # Records that are read again may fall as far back as they did.
        again = self._rules is not None and self.processed < self.ruled_until
        self._expiry.lateness_s = self._rules.lateness_s if self._rules and again else self._lateness_s
        self.totals.base_due |= self._expiry.advance(horizon_s, self._coarse.minutes, self._coarse.hours)

    def _base_rows(self, offset: int, now_s: float) -> tuple[list[Change], list[bytes]]:
        """The base row as of an offset, and the keys that it supersedes."""
        return self.totals.write_base(
            offset,
            now_s,
            self._coarse.minutes,
            self._coarse.hours,
            self._expiry.before,
            self._again.answered,
            replaying=self.replaying,
            rules=None if self._rules is None else self._rules.spans(),
        )

    def _write_base(self, now_s: float, flush: Flush) -> None:
        base, stale_keys = self._base_rows(flush.offset, now_s)
        flush.first += self._before + base
        flush.cleanup += [(key, None) for key in self._stale_before]
        self._before, self._stale_before = [], []
        flush.cleanup += [(key, None) for key in stale_keys]

    def _write_row(self, bucket: int, row: FineRow, changed: Collection[str], flush: Flush) -> None:
        as_of = max(row.offset, flush.offset)
        body = self._body(row, flush.offset)
        flush.then += self._rows.changes(bucket_name(self.source, FINE, bucket), as_of, body)
        flush.cleanup += [(key, None) for key in row.stale_keys]
        sent = row.counts if row.resend else changed
        flush.emission.buckets[FINE, bucket] = dict(zip(sent, map(row.counts.__getitem__, sent), strict=True))
        row.offset, row.dirty, row.resend, row.stale_keys = as_of, False, False, []

    def _body(self, row: FineRow, offset: int) -> Mapping[str, FineEntry]:
        """Event type -> its entry."""
        counts = row.counts
        if OVERFLOW in self.totals.counts and OVERFLOW not in counts:
            counts = counts | {OVERFLOW: 0}  # what the row counts by name may be beyond the cap in the totals
        none = repeat(0)  # of an event type that the totals do not know by name
        totals = map(self.totals.counts.get, counts, none)
        seen_ms = map(self.totals.seen_ms.get, counts, none)
        if self.totals.forgotten:
            as_of = self.totals.as_of(counts, offset)
            is_guest = map(row.guests.__contains__, counts)
            return dict(
                zip(counts, map(GuestEntry, counts.values(), totals, seen_ms, as_of, is_guest), strict=True)
            )
        if self.replaying:
            as_of = self.totals.as_of(counts, offset)
            return dict(zip(counts, map(ReplayedEntry, counts.values(), totals, seen_ms, as_of), strict=True))
        return dict(zip(counts, map(FineEntry, counts.values(), totals, seen_ms), strict=True))

    @property
    def is_closed(self) -> bool:
        """Whether all its minutes and hours are written: without further records, nothing more will be."""
        return not (self._coarse.minutes or self._coarse.hours)

    def flushed(self, flush: Flush) -> None:
        """All of ``flush`` is durable: forget what it closed, and free memory."""
        self._flushed = flush.offset
        self.totals.said(flush.emission.gone)
        self._coarse.flushed(flush.closed, self._has_news)
        self._fine.release(self._coarse.minutes)
        if flush.first:
            self._expiry.base_is_durable()
        self.totals.base_due |= self._again.flushed()

    def _has_news(self, bucket: int) -> bool:
        return self._fine.is_dirty(bucket) or bucket in self._pending
