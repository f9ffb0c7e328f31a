"""The 10 s rows of one source that are in memory. Pure."""

from __future__ import annotations

from collections.abc import Container

from tables.buckets import FINE, MINUTE, parent
from tables.flushes import FineRow
from tables.reserved_types import OVERFLOW
from tables.row_bodies import Counts, counts_in, read_fine
from tables.rows import VersionedRows, bucket_name


class FineRows:
    """Rows by the start of their bucket; each is loaded when it is first asked for.

    Args:
        source: name of the source.
        rows: the rows of the table partition, as this worker writes them.
    """

    def __init__(self, source: str, rows: VersionedRows) -> None:
        self._source = source
        self._rows = rows
        self._held: dict[int, FineRow] = {}

    def row(self, bucket: int) -> FineRow:
        """The row of a bucket, loaded if need be; an empty one when there is none."""
        row = self._held.get(bucket)
        if row is None:
            loaded = self._rows.load(bucket_name(self._source, FINE, bucket), read_fine)
            if loaded is None:
                row = FineRow({})
            else:
                stale_keys = self._rows.others(loaded.keys)
                counts = counts_in(loaded.body)
                guests = {name for name in counts if loaded.body[name].is_guest and name != OVERFLOW}
                row = FineRow(counts, loaded.offset, stale_keys=stale_keys, guests=guests)
            self._held[bucket] = row
        return row

    def counts(self, bucket: int) -> Counts:
        """Counts of a bucket, from memory or from the table; do not change them."""
        row = self._held.get(bucket)
        if row is not None:
            return row.counts
        loaded = self._rows.load(bucket_name(self._source, FINE, bucket), read_fine)
        return {} if loaded is None else counts_in(loaded.body)

    def dirty(self) -> dict[int, FineRow]:
        """Bucket -> row, of those that are to be written."""
        return {bucket: row for bucket, row in self._held.items() if row.dirty}

    def is_dirty(self, bucket: int) -> bool:
        """Whether the row of a bucket is to be written."""
        row = self._held.get(bucket)
        return row is not None and row.dirty

    def release(self, open_minutes: Container[int]) -> None:
        """Free the memory of rows that are written, outside of ``open_minutes``."""
        clean = [bucket for bucket, row in self._held.items() if not row.dirty]
        for bucket in clean:
            if parent(bucket, MINUTE) not in open_minutes:
                del self._held[bucket]
