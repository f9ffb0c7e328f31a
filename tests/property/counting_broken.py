"""Counters and workers that are wrong on purpose: each leaves out one of the rules that make counts exact."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from tables.buckets import FINE, HOUR, MINUTE, children, retention_s
from tables.combined_counter import CombinedCounter, CombinedFlush
from tables.flushes import Flush
from tables.partials import BucketCounts
from tables.row_bodies import FineEntry, read_combined_bucket
from tables.rows import Body, Change, Version, VersionedRows, bucket_name
from tables.source_counter import SourceCounter
from tests.property.counting_model import Cluster, SourceWorker, Store, Worker
from tests.property.counting_truth import LATENESS_S, PRIORITY

# --- one source ----------------------------------------------------------------------------------


class NoReplayCheck(Cluster):
    """Every record is applied, whatever the rows are as of."""

    class source_counter(SourceCounter):  # noqa: N801
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.replay_until = -1

        def _is_counted(self, offset: int, bucket: int) -> bool:
            return False


class NoResend(Cluster):
    """What a repeated record touched, and did not change, is not sent out again."""

    class source_counter(SourceCounter):  # noqa: N801
        def _add_again(self, offset: int, event_type: str, bucket: int, seen_ms: int) -> None:
            row = self._fine.row(bucket)
            known = offset <= row.offset
            before, touched = (row.dirty, row.resend), set(self.totals.touched)
            super()._add_again(offset, event_type, bucket, seen_ms)
            if known:
                (row.dirty, row.resend), self.totals.touched = before, touched


class ClosesWhileReplaying(Cluster):
    """Coarse buckets are closed while rows are ahead of the records, so that the base row forgets minutes."""

    class source_counter(SourceCounter):  # noqa: N801
        def _close(self, *arguments: Any) -> None:
            replay_until, self.replay_until = self.replay_until, -1
            try:
                super()._close(*arguments)
            finally:
                self.replay_until = replay_until


class NoLookAhead(Cluster):
    """Rows are taken as they are when a minute opens again, though a paused worker may have been there."""

    class source_counter(SourceCounter):  # noqa: N801
        def _is_counted(self, offset: int, bucket: int) -> bool:
            return False


class RunsWithoutALook(Cluster):
    """Runs of records are counted at once, whatever the rows are as of."""

    class source_counter(SourceCounter):  # noqa: N801
        def add_run(self, *arguments: Any) -> bool:
            expired_before, self._expiry.before = self._expiry.before, 2**62
            replay_until, self.replay_until = self.replay_until, -1
            try:
                return super().add_run(*arguments)
            finally:
                self._expiry.before, self.replay_until = expired_before, replay_until


class HastyExpiry(Cluster):
    """Fine rows expire though their minute is still to be recomputed from them."""

    class source_counter(SourceCounter):  # noqa: N801
        def _expire(self, now_s: float) -> None:
            opened, self._coarse.open = self._coarse.open, {MINUTE: {}, HOUR: {}}
            super()._expire(now_s)
            self._coarse.open = opened


class CapByBucket(Cluster):
    """Event types take the places under the cap in the order of buckets, not of records."""

    class source_counter(SourceCounter):  # noqa: N801
        def _merge_pending(self) -> dict[int, Collection[str]]:
            seen = self.last_seen.take()
            self.last_seen.add_run({t: seen[t] for counts in self._pending.values() for t in counts})
            return super()._merge_pending()


class NoOverflowTotal(Cluster):
    """Fine rows do not carry the total of what is beyond the cap."""

    class source_counter(SourceCounter):  # noqa: N801
        def _body(self, row: Any, offset: int) -> Mapping[str, FineEntry]:
            return {t: entry for t, entry in super()._body(row, offset).items() if entry.count}


class NoBaseBeyondCap(Cluster):
    """The base row is not written when a fine row cannot carry a total."""

    class source_counter(SourceCounter):  # noqa: N801
        def _is_left_out(self, total_type: str, row: Any) -> bool:
            return False


class BaseLast(NoLookAhead):
    """The base row is written after the fine rows.

    Looking ahead, which is for rows of paused workers, would find what a crash leaves, so it is left out too.
    """

    class source_worker(SourceWorker):  # noqa: N801
        def order(self, flush: Flush) -> tuple[list[Change], list[Change]]:
            return flush.then, flush.first


# --- both tables ---------------------------------------------------------------------------------


class OneKey(Cluster):
    """All writers write the same keys: whoever is last holds."""

    def next_writer(self) -> str:
        return "w"


class NamesComeBack(Cluster):
    """A process keeps its name when it gets a partition again that another had meanwhile."""

    def next_writer(self) -> str:
        self._writers += 1
        return f"{self._writers % 2}"


class OffsetJumps(Cluster):
    """A store is taken to be as far as its last own write, whatever others wrote before it."""

    class store(Store):  # noqa: N801
        def reached(self, offsets: Sequence[int]) -> int:
            return max(self.position, offsets[-1] + 1)


class NewestBaseOnly(Cluster):
    """Of several base rows only the newest is looked at."""

    class versioned_rows(VersionedRows):  # noqa: N801
        def versions(self, name: bytes, read: Callable[[Any], Body]) -> list[Version[Body]]:
            return super().versions(name, read)[: 1 if name.startswith(b"b/") else None]


class CommitsWhatWasRead(Cluster):
    """Commits what was taken in, durable or not."""

    def commit(self, role: int) -> None:
        worker: Worker = self.workers[role]
        worker.durable = worker.counter.processed + 1
        super().commit(role)


# --- combined ------------------------------------------------------------------------------------


class AddsUp(Cluster):
    """Cumulative counts are added up instead of keeping the largest."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def merge(
            self, offset: int, priority: str, source: str, buckets: Iterable[Any], totals: Any, now_s: float
        ) -> None:
            added = []
            for each in buckets:
                resolution, bucket, counts = each.resolution_s, each.bucket, each.counts
                held = self._row(priority, resolution, bucket).counts
                added.append(
                    BucketCounts(
                        resolution, bucket, {t: n + held.get(t, {}).get(source, 0) for t, n in counts.items()}
                    )
                )
            super().merge(offset, priority, source, added, totals, now_s)


class PromisesTooMuch(Cluster):
    """While messages are repeated, rows claim to be as of the newest message that any row knows."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def __init__(self, rows: VersionedRows, *, lateness_s: int) -> None:
            super().__init__(rows, lateness_s=lateness_s)
            fine = (b for _, minute in self._open for b in children(minute, MINUTE))
            loaded = [rows.load(bucket_name(PRIORITY, FINE, bucket), read_combined_bucket) for bucket in fine]
            self.restored = max([self._base_offset, *(row.offset for row in loaded if row)])

        def flush(self, now_s: float) -> CombinedFlush | None:
            processed = self.processed
            if processed >= 0:
                self.processed = max(processed, self.restored)
            flush = super().flush(now_s)
            self.processed = processed
            if flush is not None:
                flush.processed = processed
            return flush


class TotalsOnTheWay(Cluster):
    """Totals that no row of a bucket carries are left to the next base row."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def merge(
            self, offset: int, priority: str, source: str, buckets: Any, totals: Any, now_s: float
        ) -> None:
            due, opened = self._base_due, set(self._open)
            super().merge(offset, priority, source, buckets, totals, now_s)
            oldest = now_s - retention_s(FINE, LATENESS_S)
            kept = [each for each in buckets if each.resolution_s == FINE and each.bucket >= oldest]
            if kept and opened == self._open:
                self._base_due = due


class SilentAfterRestart(Cluster):
    """Totals that changed before a restart are not published after it."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def __init__(self, rows: VersionedRows, *, lateness_s: int) -> None:
            super().__init__(rows, lateness_s=lateness_s)
            self._totals_changed = set()
