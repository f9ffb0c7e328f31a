"""Public totals, and what they must lie between. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tables.public_rows import decode_key, decode_value
from tables.row_bodies import Counts
from tables.verification.budget import Budget
from tables.verification.comparison import Difference, compare
from tables.verification.public_counts import PublicBounds

#: In the place of a bucket's start, in a difference of totals.
TOTAL: Final = -1


class PublicTotals:
    """The totals in the public topic, which readers take from all rows that carry some."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        #: key -> event type -> total, of its newest value
        self._rows: dict[bytes, Counts] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a record of the public topic; one that is no row is left out."""
        if key is None:
            return
        try:
            decode_key(key)
            totals = None if value is None else decode_value(value).totals
        except ValueError:
            return
        if value is not None and totals is None:
            return
        known = self._rows.pop(key, {})
        found = {event_type: each.total for event_type, each in (totals or {}).items()}
        self._budget.take(len(found) - len(known))
        if found:
            self._rows[key] = found

    def of(self, priority: str) -> Counts:
        """Event type -> total."""
        totals: Counts = {}
        for key, found in self._rows.items():
            if decode_key(key).priority == priority:
                for event_type, total in found.items():
                    totals[event_type] = max(total, totals.get(event_type, 0))
        return totals

    def differences(
        self, priority: str, where: str, bounds: PublicBounds, *, lower: bool, upper: bool
    ) -> Iterator[Difference]:
        """How the totals of a priority differ from the records, as ``PublicCounts.differences`` does."""
        least_and_most = {
            event_type: (low if lower else 0, high) for event_type, (low, high) in bounds.totals.items()
        }
        covered = upper and bounds.whole
        yield from compare(priority, where, TOTAL, least_and_most, self.of(priority), covered=covered)
