"""Counts of one bucket of one source since the last flush. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

#: Event types of records that are listed before they are counted, at most. A flush counts what is listed, and
#: CRITICAL waits for it: a quarter of a millisecond for each source.
_MOST_LISTED: Final = 4096


class PendingCounts:
    """Event type -> count, in the order of arrival.

    Event types are listed first and counted many at a time. A worker has many sources, and where event types
    are many too, all their counts together do not fit the caches of a processor: counted as they come, each
    record waits for memory; counted by source, only the first of each event type does.
    """

    __slots__ = ("_counts", "_listed")

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._listed: list[str] = []

    def add(self, event_type: str) -> None:
        """Count one record."""
        self._listed.append(event_type)
        if len(self._listed) >= _MOST_LISTED:
            self.take()

    def add_all(self, event_types: Sequence[str]) -> None:
        """Count a record of each event type, given as often as there are records."""
        self._listed += event_types
        if len(self._listed) >= _MOST_LISTED:
            self.take()

    def take(self) -> Counter[str]:
        """The counts of all until now."""
        self._counts.update(self._listed)  # in C
        self._listed.clear()
        return self._counts
