"""Exact counts of one source: one partition of one notification topic. Pure.

The counter gets every record of its source in offset order, from wherever the committed offset says,
so it may get some again. It applies a record to a row only if the row is not already as of a later
offset, and it sends out again whatever a repeated record touched, because the crash that caused the
repeat may have come between writing and sending.

What is written, and in which order, is what makes this exact:

1. the base row (totals, and the minutes not yet rolled up) when a new minute opened;
2. the rows of changed 10 s buckets, each with the totals of its event types, and coarse rows;
3. when these are durable, the counts go to the combiners;
4. when those have arrived, the source's offset may be committed.

So every fine row that is newer than the base row lies in a minute that the base row names. A worker that
was paused and woke up late may leave a row elsewhere: its offset tells when a record of that bucket comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import repeat
from operator import add
from typing import Any, Final

from streams.notifications.alike_times import OrderedTimes
from tables.buckets import CLOSE_GRACE_S, FINE, HOUR, MINUTE, bucket_of, children, parent, retention_s
from tables.flushes import Emission, FineRow, Flush
from tables.last_seen import LastSeen
from tables.reserved_types import OVERFLOW, PROBES
from tables.rows import Change, VersionedRows, base_name, bucket_name

#: Seconds after which totals are written whole though no new minute opened.
_BASE_INTERVAL_S: Final = 60
#: Seconds between two writes of a coarse bucket that keeps being touched.
_RECLOSE_INTERVAL_S: Final = 30
#: Coarse buckets closed in one flush; bounds the time that one flush of one source takes.
_CLOSES_PER_FLUSH: Final = {MINUTE: 6, HOUR: 1}
_DELETES_PER_FLUSH: Final = 200


def _sums(known: Mapping[str, int], more: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Event type and its sum, for each in ``more``; in C, because there may be very many."""
    return zip(more, map(add, map(known.get, more, repeat(0)), more.values()), strict=True)


class SourceCounter:
    """Counts of one source.

    Args:
        source: stable name of the source: topic id and partition.
        rows: the rows of the table partition, as this worker writes them.
        max_event_types: distinct event types per bucket and in the totals; the rest is OVERFLOW.
        lateness_s: how far back in time a record may still fall.
    """

    def __init__(self, source: str, rows: VersionedRows, *, max_event_types: int, lateness_s: int) -> None:
        self.source = source
        self._rows = rows
        self._max_types = max_event_types
        self._lateness_s = lateness_s
        self._fine: dict[int, FineRow] = {}
        #: Counts since the last flush: bucket -> event type -> count.
        self.pending: dict[int, Counter[str]] = {}
        #: Of the same records.
        self.last_seen = LastSeen()
        #: Offset of the last record handled; -1 before the first.
        self.processed = -1
        #: Highest broker time seen, in milliseconds.
        self.watermark_ms = 0
        self._flushed = -1
        self._touched: set[str] = set()
        self._restore()

    # ---------------------------------------------------------------- state

    def _restore(self) -> None:
        versions = self._rows.versions(base_name(self.source))
        base = versions[0] if versions else None
        body: dict[str, Any] = base.body if base else {}
        self._base_offset = base.offset if base else -1
        self._base_stale = self._rows.others([version.key for version in versions])
        known: dict[str, list[int]] = body.get("totals", {})
        #: Event type -> records ever counted. Counts and times are apart, so that both are added to in C.
        self.totals: dict[str, int] = {event_type: total for event_type, (total, _) in known.items()}
        #: Event type -> when it was seen last, in milliseconds; for those that the totals name.
        self.seen_ms: dict[str, int] = {event_type: seen for event_type, (_, seen) in known.items()}
        # A worker that woke up late may have written the newest base row, and know nothing of what
        # others opened since: what is open in any of them is open.
        bodies = [version.body for version in versions]
        self._expired_before: int = max((each["expired_before"] for each in bodies), default=0)
        minutes = {m for each in bodies for m in each["minutes"] if m >= self._expired_before}
        hours = {h for each in bodies for h in each["hours"]}
        self._open: dict[int, dict[int, float]] = {
            MINUTE: dict.fromkeys(minutes, 0.0),
            HOUR: dict.fromkeys(hours, 0.0),
        }
        self._durable_expired_before = self._expired_before
        self._cleaned_before = 0
        self._as_of: dict[str, int] = body.get("as_of", {})
        self._base_at_s = 0.0
        self._base_due = False
        self.replay_until = self._base_offset
        for minute in self._open[MINUTE]:
            for bucket in children(minute, MINUTE):
                loaded = self._rows.load(bucket_name(self.source, FINE, bucket))
                if loaded is None:
                    continue
                self.replay_until = max(self.replay_until, loaded.offset)
                if loaded.offset > self._base_offset:
                    for event_type, (_, total, seen, *as_of) in loaded.body.items():
                        if total:
                            self._merge_total(event_type, total, seen, as_of[0] if as_of else loaded.offset)

    def _merge_total(self, event_type: str, total: int, seen: int, offset: int) -> None:
        known = self.totals.get(event_type)
        if known is None or total >= known:
            self.totals[event_type], self.seen_ms[event_type] = total, seen
        self._as_of[event_type] = max(offset, self._as_of.get(event_type, self._base_offset))

    def _row(self, bucket: int) -> FineRow:
        row = self._fine.get(bucket)
        if row is None:
            loaded = self._rows.load(bucket_name(self.source, FINE, bucket))
            if loaded is None:
                row = FineRow({})
            else:
                counts = {event_type: entry[0] for event_type, entry in loaded.body.items() if entry[0]}
                row = FineRow(counts, loaded.offset, stale_keys=self._rows.others(loaded.keys))
            self._fine[bucket] = row
        return row

    # ---------------------------------------------------------------- counting

    @property
    def replaying(self) -> bool:
        """Whether the next record may be one that some row already counts."""
        return self.processed < self.replay_until

    def add(self, offset: int, event_type: str, bucket: int, seen_ms: int) -> None:
        """Count one record."""
        counts = self.pending.get(bucket)
        if offset <= self.replay_until or (counts is None and self._is_counted(offset, bucket)):
            self._add_again(offset, event_type, bucket, seen_ms)
        else:
            if counts is None:
                counts = self.pending[bucket] = Counter()
            counts[event_type] = counts.get(event_type, 0) + 1
            self.last_seen.add(event_type, seen_ms)
        self.processed = offset

    def add_run(
        self,
        first: int,
        last: int,
        types: Mapping[int, Iterable[str]],
        seen: Mapping[str, int] | OrderedTimes,
    ) -> bool:
        """Count consecutive records at once: the same as `add` for each of them.

        Args:
            first: offset of the first record.
            last: offset of the last.
            types: start of the 10 s bucket -> event type of each of its records.
            seen: as `LastSeen.add_run` takes it.

        Returns:
            False, with nothing counted, when a row may hold some of them: then `add` each.
        """
        if first <= self.replay_until:
            return False
        pending = self.pending
        for bucket in types:
            if bucket not in pending and bucket >= self._expired_before and self._row(bucket).offset >= first:
                return False
        for bucket, each in types.items():
            counts = pending.get(bucket)
            if counts is None:
                counts = pending[bucket] = Counter()
            counts.update(each)  # in C
        self.last_seen.add_run(seen)
        self.processed = last
        return True

    def take_pending(self) -> dict[int, Counter[str]]:
        """Bucket -> event type -> count since the last flush, which is then forgotten."""
        pending, self.pending = self.pending, {}
        return pending

    def _is_counted(self, offset: int, bucket: int) -> bool:
        """Whether the row is ahead: a paused worker woke up and wrote it when its minute was closed."""
        if bucket < self._expired_before or (ahead := self._row(bucket).offset) < offset:
            return False
        for each in self._merge_pending():
            self._fine[each].resend = True
        self.replay_until = ahead
        return True

    def _add_again(self, offset: int, event_type: str, bucket: int, seen_ms: int) -> None:
        total_type = self._admitted(event_type, self.totals)
        if offset > self._as_of.get(total_type, self._base_offset):
            self._add_total(total_type, 1, seen_ms)
        self._touched.add(total_type)
        if bucket < self._expired_before:
            self._base_due = True
            return
        row = self._row(bucket)
        if offset > row.offset:
            counted = self._admitted(event_type, row.counts)
            row.counts[counted] = row.counts.get(counted, 0) + 1
        self._base_due |= self._is_left_out(total_type, row)
        row.dirty = row.resend = True

    def _admitted(self, event_type: str, known: dict[str, Any]) -> str:
        # OVERFLOW itself does not count: what was restored may hold it and not yet all that are named.
        # Nor do probes, which leave the counts of others as they are.
        named = len(known) - (OVERFLOW in known) - (PROBES in known)
        if event_type in known or named < self._max_types or event_type == PROBES:
            return event_type
        return OVERFLOW

    def _is_left_out(self, total_type: str, row: FineRow) -> bool:
        """Whether the row does not carry this total, because the cap hit the row and not the totals."""
        return total_type != OVERFLOW and total_type not in row.counts

    def _add_total(self, event_type: str, count: int, seen_ms: int) -> None:
        total = self.totals.get(event_type)
        if total is None:
            self.totals[event_type], self.seen_ms[event_type] = count, seen_ms
            # Near the cap the order of arrival decides what is counted by name: make it durable first.
            self._base_due |= len(self.totals) * 10 >= self._max_types * 9
        else:
            self.totals[event_type] = total + count
            self.seen_ms[event_type] = max(seen_ms, self.seen_ms[event_type])

    def _merge_pending(self) -> dict[int, Collection[str]]:
        """Move the pending counts into rows and totals; return the changed event types by bucket."""
        pending = self.take_pending()
        seen = self.last_seen.take()
        changed: dict[int, Collection[str]] = {}
        totals, seen_ms = self.totals, self.seen_ms
        if by_name := totals.keys() >= seen.keys():
            seen_ms.update(zip(seen, map(max, map(seen_ms.__getitem__, seen), seen.values()), strict=True))
        else:
            # In order of arrival, so that the cap always hits the same.
            for event_type, at_ms in seen.items():
                self._add_total(self._admitted(event_type, totals), 0, at_ms)
        for bucket, counts in pending.items():
            self._add_to_totals(counts, by_name=by_name)
            if bucket >= self._expired_before:
                changed[bucket] = self._add_to_row(self._row(bucket), counts)
            else:  # older than any bucket that is kept: counts in the totals alone
                self._base_due = True
        return changed

    def _add_to_totals(self, counts: Mapping[str, int], *, by_name: bool) -> None:
        """Add to totals that know each event type, if not ``by_name`` as one of those beyond the cap."""
        totals, touched = self.totals, self._touched
        if by_name:
            totals.update(_sums(totals, counts))
            touched.update(counts)
        else:
            for event_type, count in counts.items():
                total_type = self._admitted(event_type, totals)
                totals[total_type] += count
                touched.add(total_type)

    def _add_to_row(self, row: FineRow, counts: Mapping[str, int]) -> Collection[str]:
        """Add what the totals hold already; return the event types whose count changed."""
        row.dirty = True
        held = row.counts
        if len(held) + len(counts) < self._max_types:  # all by name
            held.update(_sums(held, counts) if held else counts)
            return counts
        changed = set()
        for event_type, count in counts.items():
            counted = self._admitted(event_type, held)
            held[counted] = held.get(counted, 0) + count
            changed.add(counted)
            total_type = event_type if event_type in self.totals else OVERFLOW
            if counted != total_type:
                self._base_due |= self._is_left_out(total_type, row)
        return changed

    # ---------------------------------------------------------------- flushing

    @property
    def has_news(self) -> bool:
        """Whether a flush has anything to do besides closing buckets that are due."""
        return bool(self.pending) or self.processed > self._flushed

    def flush(self, now_s: float) -> Flush | None:
        """Plan a flush as of the last record handled.

        The caller carries out ``first``, ``then``, ``emission`` and ``cleanup`` in this order, each
        when the one before is durable, and calls ``flushed``. Until then no other flush may be planned.

        Args:
            now_s: wall-clock time in seconds; decides only when coarse buckets are written and old
                ones go, never what a row holds.
        """
        changed = self._merge_pending()
        offset = max(self.processed, self._flushed)
        emission = Emission()
        then: list[Change] = []
        cleanup: list[Change] = []
        dirty = {bucket: row for bucket, row in self._fine.items() if row.dirty}
        for bucket in dirty:
            minute = parent(bucket, MINUTE)
            if minute not in self._open[MINUTE]:
                self._open[MINUTE][minute] = 0.0
                self._base_due = True
        closed = self._close(MINUTE, now_s, dirty, then, emission)
        for resolution, minute in emission.buckets:
            if resolution == MINUTE and (hour := parent(minute, HOUR)) not in self._open[HOUR]:
                self._open[HOUR][hour] = 0.0
                self._base_due = True
        closed += self._close(HOUR, now_s, dirty, then, emission)
        self._expire(now_s)
        if not dirty and not emission.buckets and not self._base_due and self.processed <= self._flushed:
            return None
        first = self._write_base(offset, now_s, cleanup) if self._is_base_due(now_s, bool(dirty)) else []
        for bucket, row in dirty.items():
            as_of = max(row.offset, offset)
            then.append(
                self._rows.encode(bucket_name(self.source, FINE, bucket), as_of, self._body(row, offset))
            )
            cleanup += [(key, None) for key in row.stale_keys]
            sent = row.counts if row.resend else changed.get(bucket, ())
            emission.buckets[FINE, bucket] = dict(zip(sent, map(row.counts.__getitem__, sent), strict=True))
            row.offset, row.dirty, row.resend, row.stale_keys = as_of, False, False, []
        emission.totals = self._totals_of(self._touched & self.totals.keys())
        self._touched.clear()
        if self.processed >= self.replay_until and self._as_of:
            self._as_of = {}  # every type's total is now as of the last record handled
        cleanup += self._deletions()
        return Flush(offset, first, then, emission, cleanup, closed)

    def _body(self, row: FineRow, offset: int) -> dict[str, Any]:
        """Event type -> count in the bucket, total, last seen; in a replay also what the total is as of."""
        totals, seen_ms, counts = self.totals, self.seen_ms, row.counts
        if OVERFLOW in totals and OVERFLOW not in counts:
            counts = counts | {OVERFLOW: 0}  # what the row counts by name may be beyond the cap in the totals
        none = repeat(0)  # of an event type that the totals do not know by name
        entries = [counts.values(), map(totals.get, counts, none), map(seen_ms.get, counts, none)]
        if self.replaying:
            as_of, base = self._as_of, self._base_offset
            entries.append(max(offset, as_of.get(event_type, base)) for event_type in counts)
        return dict(zip(counts, zip(*entries, strict=True), strict=True))

    def _totals_of(self, event_types: Collection[str]) -> dict[str, tuple[int, int]]:
        """Event type -> total, last seen; for those that the totals name."""
        totals = map(self.totals.__getitem__, event_types)
        seen_ms = map(self.seen_ms.__getitem__, event_types)
        return dict(zip(event_types, zip(totals, seen_ms, strict=True), strict=True))

    def flushed(self, flush: Flush) -> None:
        """All of ``flush`` is durable: forget what it closed, and free memory."""
        self._flushed = flush.offset
        for resolution, bucket in flush.closed:
            if not any(self._is_dirty(child) for child in children(bucket, resolution)):
                self._open[resolution].pop(bucket, None)
        keep = self._open[MINUTE]
        for bucket in [b for b, row in self._fine.items() if not row.dirty and parent(b, MINUTE) not in keep]:
            del self._fine[bucket]
        if flush.first:
            self._durable_expired_before = self._expired_before

    def _is_dirty(self, bucket: int) -> bool:
        row = self._fine.get(bucket)
        return (row is not None and row.dirty) or bucket in self.pending

    def _is_base_due(self, now_s: float, active: bool) -> bool:
        return self._base_due or (active and now_s - self._base_at_s >= _BASE_INTERVAL_S)

    def _write_base(self, offset: int, now_s: float, cleanup: list[Change]) -> list[Change]:
        self._base_offset = max(self._base_offset, offset)
        self._base_at_s, self._base_due = now_s, False
        body: dict[str, Any] = {
            "totals": self._totals_of(self.totals),
            "minutes": list(self._open[MINUTE]),
            "hours": list(self._open[HOUR]),
            "expired_before": self._expired_before,
        }
        if self._as_of and self.processed < self.replay_until:
            # Totals of these types are ahead of the row's offset while records are being replayed.
            body["as_of"] = {t: o for t, o in self._as_of.items() if o > self._base_offset}
        cleanup += [(key, None) for key in self._base_stale]
        self._base_stale = []
        return [self._rows.encode(base_name(self.source), self._base_offset, body)]

    def _close(
        self, resolution: int, now_s: float, dirty: dict[int, FineRow], out: list[Change], emission: Emission
    ) -> list[tuple[int, int]]:
        """Write coarse buckets that are due, recomputed from finer ones; return those that are complete."""
        complete: list[tuple[int, int]] = []
        if self.replaying:
            # Rows may be ahead of what was processed, and the next base row must go on naming their minutes.
            return complete
        budget = _CLOSES_PER_FLUSH[resolution]
        as_of = max(self.processed, self._flushed)
        for bucket in sorted(self._open[resolution]):
            if budget == 0:
                break
            if bucket + resolution + CLOSE_GRACE_S[resolution] > now_s:
                continue
            finer_open = dirty if resolution == MINUTE else self._open[MINUTE]
            busy = any(child in finer_open for child in children(bucket, resolution))
            written_at = self._open[resolution][bucket]
            if busy and now_s - written_at < _RECLOSE_INTERVAL_S:
                continue
            self._open[resolution][bucket] = now_s
            if busy and written_at == 0.0:
                continue  # it is being filled, so let it fill up first
            counts = self._sum_children(resolution, bucket, emission)
            out.append(self._rows.encode(bucket_name(self.source, resolution, bucket), as_of, counts))
            emission.buckets[resolution, bucket] = counts
            budget -= 1
            if not busy:
                complete.append((resolution, bucket))
        return complete

    def _sum_children(self, resolution: int, bucket: int, emission: Emission) -> dict[str, int]:
        total: dict[str, int] = {}
        for child in children(bucket, resolution):
            for event_type, count in self._child_counts(resolution, child, emission):
                total[event_type] = total.get(event_type, 0) + count
        return total

    def _child_counts(self, resolution: int, child: int, emission: Emission) -> Iterable[tuple[str, int]]:
        if resolution == MINUTE:
            row = self._fine.get(child)
            if row is not None:
                return row.counts.items()
            loaded = self._rows.load(bucket_name(self.source, FINE, child))
            return ((t, entry[0]) for t, entry in loaded.body.items() if entry[0]) if loaded else ()
        just_written = emission.buckets.get((MINUTE, child))
        if just_written is not None:
            return just_written.items()
        # Counts only grow: where a newer version has fewer, finer rows had already gone when it was made.
        counts: dict[str, int] = {}
        for version in self._rows.versions(bucket_name(self.source, MINUTE, child)):
            counts |= {t: count for t, count in version.body.items() if count > counts.get(t, 0)}
        return counts.items()

    # ---------------------------------------------------------------- expiry

    def _expire(self, now_s: float) -> None:
        # The wall clock bounds the watermark: a topic with the producers' own times may hold any time.
        horizon = min(self.watermark_ms / 1000, now_s)
        before = int(horizon) - retention_s(FINE, self._lateness_s)
        # Nothing goes that an open coarse bucket is yet to be recomputed from, by us or after a crash.
        reach = retention_s(MINUTE, self._lateness_s) - retention_s(FINE, self._lateness_s)
        before = min([before, *self._open[MINUTE], *(hour + reach for hour in self._open[HOUR])])
        if before >= self._expired_before + MINUTE:
            self._expired_before = bucket_of(before * 1000, MINUTE)
            self._base_due = True

    def _deletions(self) -> list[Change]:
        """Old buckets to delete: only those that a durable base row says have expired."""
        before = self._durable_expired_before
        if before <= self._cleaned_before:
            return []
        keys = self._rows.expired(self.source, FINE, before, _DELETES_PER_FLUSH)
        newest = before + retention_s(FINE, self._lateness_s)
        for resolution in (MINUTE, HOUR):
            keys += self._rows.expired(
                self.source,
                resolution,
                newest - retention_s(resolution, self._lateness_s),
                _DELETES_PER_FLUSH,
            )
        if len(keys) < _DELETES_PER_FLUSH:
            self._cleaned_before = before
        return [(key, None) for key in keys]
