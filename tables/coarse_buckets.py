"""Minutes and hours of one source: which are open, and how they are closed. Pure.

A coarse bucket is open from when something falls into it until its row is written as of all that did. Its
row is always the sum of the finer rows, made anew, so that writing it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable
from typing import Final

from tables.buckets import CLOSE_GRACE_S, HOUR, MINUTE, children, parent
from tables.fine_rows import FineRows
from tables.flushes import Flush
from tables.row_bodies import Counts, read_coarse
from tables.rows import VersionedRows, bucket_name

#: Seconds between two writes of a coarse bucket that keeps being touched.
_RECLOSE_INTERVAL_S: Final = 30
#: Coarse buckets closed in one flush; bounds the time that one flush of one source takes.
_CLOSES_PER_FLUSH: Final = {MINUTE: 6, HOUR: 1}


class CoarseBuckets:
    """The coarse buckets of one source.

    Args:
        source: name of the source.
        rows: the rows of the table partition, as this worker writes them.
        fine: its 10 s rows.
        minutes: starts of the minutes that are open.
        hours: starts of the hours that are open.
    """

    def __init__(
        self, source: str, rows: VersionedRows, fine: FineRows, minutes: Iterable[int], hours: Iterable[int]
    ) -> None:
        self._source = source
        self._rows = rows
        self._fine = fine
        #: Resolution -> start of each open bucket -> when it was last looked at to be closed; 0.0 if never.
        self.open: dict[int, dict[int, float]] = {
            MINUTE: dict.fromkeys(minutes, 0.0),
            HOUR: dict.fromkeys(hours, 0.0),
        }

    @property
    def minutes(self) -> Collection[int]:
        """Starts of the open minutes."""
        return self.open[MINUTE].keys()

    @property
    def hours(self) -> Collection[int]:
        """Starts of the open hours."""
        return self.open[HOUR].keys()

    def touch(self, resolution: int, finer: Iterable[int]) -> bool:
        """Open the buckets that hold the ``finer`` ones; return whether any was not open yet."""
        opened, anything = self.open[resolution], False
        for bucket in finer:
            if (coarse := parent(bucket, resolution)) not in opened:
                opened[coarse] = 0.0
                anything = True
        return anything

    def close(self, resolution: int, now_s: float, dirty: Container[int], flush: Flush) -> None:
        """Add to ``flush`` the rows of buckets of ``resolution`` that are due, and which are complete.

        Args:
            resolution: MINUTE, or HOUR when the minutes are done.
            now_s: wall-clock time in seconds.
            dirty: 10 s buckets that ``flush`` is about to write.
            flush: the one under way.
        """
        budget = _CLOSES_PER_FLUSH[resolution]
        finer_open = dirty if resolution == MINUTE else self.open[MINUTE]
        opened = self.open[resolution]
        for bucket in sorted(opened):
            if budget == 0:
                break
            if bucket + resolution + CLOSE_GRACE_S[resolution] > now_s:
                continue
            busy = any(child in finer_open for child in children(bucket, resolution))
            written_at = opened[bucket]
            if busy and 0 <= now_s - written_at < _RECLOSE_INTERVAL_S:
                continue
            opened[bucket] = now_s
            if busy and written_at == 0.0:
                continue  # it is being filled, so let it fill up first
            counts = self._sum_children(resolution, bucket, flush)
            flush.then += self._rows.changes(
                bucket_name(self._source, resolution, bucket), flush.offset, counts
            )
            flush.emission.buckets[resolution, bucket] = counts
            budget -= 1
            if not busy:
                flush.closed.append((resolution, bucket))

    def flushed(self, closed: Iterable[tuple[int, int]], is_dirty: Callable[[int], bool]) -> None:
        """Forget the buckets that are durable and complete, unless something has fallen into them since."""
        for resolution, bucket in closed:
            if not any(is_dirty(child) for child in children(bucket, resolution)):
                self.open[resolution].pop(bucket, None)

    def _sum_children(self, resolution: int, bucket: int, flush: Flush) -> Counts:
        total: Counts = {}
        for child in children(bucket, resolution):
            counts = self._fine.counts(child) if resolution == MINUTE else self.counts(MINUTE, child, flush)
            for event_type, count in counts.items():
                total[event_type] = total.get(event_type, 0) + count
        return total

    def counts(self, resolution: int, bucket: int, flush: Flush) -> Counts:
        """Counts of a bucket, as ``flush`` writes them or as they were written; do not change them."""
        just_written = flush.emission.buckets.get((resolution, bucket))
        if just_written is not None:
            return just_written
        # Counts only grow: where a newer version has fewer, finer rows had already gone when it was made.
        counts: Counts = {}
        for version in self._rows.versions(bucket_name(self._source, resolution, bucket), read_coarse):
            counts |= {t: count for t, count in version.body.items() if count > counts.get(t, 0)}
        return counts
