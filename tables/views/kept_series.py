"""Counts of single event types over time, kept with the rows that they were read from. Pure.

A row has the counts of all event types, so that reading one of them takes as long as reading all. A chart
that is asked for again reads only the rows that have changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from tables.buckets import parent
from tables.totals import StoredRow, Totals

#: Charts of one priority that are kept, and buckets of one of them.
MOST_KEPT: Final = 64
_MOST_BUCKETS: Final = 2000

_Name = tuple[str, str, int]
#: bucket -> rows, and the count in them
_Buckets = dict[int, tuple[list[StoredRow], int]]


class KeptSeries:
    """Series of event types, as ``Totals.series`` gives them.

    Args:
        most: series that are kept; those that were asked for last stay.

    Attributes:
        read: buckets that were read from their rows.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[_Name, _Buckets] = OrderedDict()
        self.read = 0

    def series(
        self, totals: Totals, event_type: str, priority: str, resolution_s: int, start_s: int, end_s: int
    ) -> Iterator[tuple[int, int]]:
        """Bucket start and count of one event type, for every bucket from ``start_s`` to before ``end_s``."""
        name = event_type, priority, resolution_s
        kept = self._kept.pop(name, {})
        found: _Buckets = {}
        buckets = totals.rows.get((priority, resolution_s), {})
        for bucket in range(parent(start_s, resolution_s), end_s, resolution_s):
            rows = [*buckets.get(bucket, {}).values()]
            known = kept.get(bucket)
            if known is None or len(known[0]) != len(rows) or any(map(_differ, known[0], rows)):
                self.read += 1
                count = sum(
                    each for _, each in totals.series(event_type, priority, resolution_s, bucket, bucket + 1)
                )
                known = rows, count
            if rows and len(found) < _MOST_BUCKETS:
                found[bucket] = known
            yield bucket, known[1]
        self._kept[name] = found
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


def _differ(one: StoredRow, other: StoredRow) -> bool:
    return one is not other
