"""Counts that are complete only while somebody combines them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from tables.fleet.memory import SILENT_S
from tables.totals import Totals
from tables.views.sources import CountsSource, FleetSource


def combiners_silent_s(fleet: FleetSource) -> float:
    """Seconds for which no worker that combines counts was heard from; 0 where that is not known."""
    return fleet.combiners_silent_s if fleet.complete and not fleet.trouble else 0.0


class CombinedCounts:
    """What was read of the public counts, and whether all that was counted is among it.

    Who reads the topic to its end has all that was combined. While no worker of the main pool is heard from,
    nobody combines: what others count, and what the last ones had counted at their end, is not public.

    Args:
        counts: that are read.
        fleet: tells who is heard from.
    """

    def __init__(self, counts: CountsSource, fleet: FleetSource) -> None:
        self._counts = counts
        self._fleet = fleet

    @property
    def totals(self) -> Totals:
        """The counts."""
        return self._counts.totals

    @property
    def complete(self) -> bool:
        """Whether all that was counted is taken in, but for that of the last seconds."""
        return self._counts.complete and combiners_silent_s(self._fleet) <= SILENT_S

    @property
    def missing(self) -> AbstractSet[int]:
        """Partitions that were not read to their ends."""
        return self._counts.missing

    @property
    def as_of(self) -> float:
        """Time, in seconds since 1970, up to which all that was combined is taken in; 0 before that."""
        return self._counts.as_of
