"""When the buckets of one source are no longer kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tables.buckets import FINE, HOUR, MINUTE, bucket_of, retention_s
from tables.rows import Change, VersionedRows

_DELETES_PER_FLUSH: Final = 200


class Expiry:
    """How far back 10 s buckets are kept, and which rows are to be deleted.

    Args:
        source: name of the source.
        rows: the rows of the table partition, as this worker writes them.
        lateness_s: how far back in time a record may fall.
        before: buckets that start earlier have expired, as the base row says.
    """

    def __init__(self, source: str, rows: VersionedRows, lateness_s: int, before: int) -> None:
        self._source = source
        self._rows = rows
        self.lateness_s = lateness_s
        #: 10 s buckets that start earlier, in seconds since 1970, are no longer kept.
        self.before = before
        self._durable_before = before
        self._cleaned_before = 0

    def advance(self, horizon_s: float, open_minutes: Iterable[int], open_hours: Iterable[int]) -> bool:
        """Let buckets expire by ``horizon_s``, the time that the source has reached; whether any did.

        Then the base row must say so before they are deleted.
        """
        before = int(horizon_s) - retention_s(FINE, self.lateness_s)
        # Nothing goes that an open coarse bucket is yet to be recomputed from, by us or after a crash.
        reach = retention_s(MINUTE, self.lateness_s) - retention_s(FINE, self.lateness_s)
        before = min([before, *open_minutes, *(hour + reach for hour in open_hours)])
        if before < self.before + MINUTE:
            return False
        self.before = bucket_of(before * 1000, MINUTE)
        return True

    def base_is_durable(self) -> None:
        """A base row that says what has expired until now is durable."""
        self._durable_before = self.before

    def deletions(self) -> list[Change]:
        """Old rows to delete: only those that a durable base row says have expired."""
        before = self._durable_before
        if before <= self._cleaned_before:
            return []
        keys = self._rows.expired(self._source, FINE, before, _DELETES_PER_FLUSH)
        newest = before + retention_s(FINE, self.lateness_s)
        for resolution in (MINUTE, HOUR):
            oldest = newest - retention_s(resolution, self.lateness_s)
            keys += self._rows.expired(self._source, resolution, oldest, _DELETES_PER_FLUSH)
        if len(keys) < _DELETES_PER_FLUSH:
            self._cleaned_before = before
        return [(key, None) for key in keys]
