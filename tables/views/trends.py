"""How the counts of every event type went lately, for small charts, kept up to date row by row. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tables.buckets import HOUR, MINUTE, parent
from tables.totals import StoredRows
from tables.views.window_sums import KeptSums, spans


@dataclass(slots=True, frozen=True)
class Span:
    """The time that a small chart shows.

    Attributes:
        words: for people, after "last".
        step_s: seconds of one of its values.
        steps: how many there are.
    """

    words: str
    step_s: int
    steps: int

    def first(self, now_s: float) -> int:
        """Start of the first value, in seconds since 1970; the last one has begun and not ended."""
        return parent(int(now_s), self.step_s) - (self.steps - 1) * self.step_s


_HOUR: Final = Span("hour", 3 * MINUTE, 20)
_DAY: Final = Span("24 hours", HOUR, 24)
_MONTH: Final = Span("30 days", 24 * HOUR, 30)

#: Window of the counts -> what the chart beside them shows: an hour at least, for less shows little.
SPANS: Final = {"1m": _HOUR, "5m": _HOUR, "1h": _HOUR, "24h": _DAY, "30d": _MONTH, "total": _MONTH}


class Trends(KeptSums):
    """Counts per priority and event type in each step of a span of time that moves on.

    A step keeps its place for as long as it is in the span, and then the one that follows the last gets it.

    Args:
        span: of time.
    """

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span
        #: Start of the first step, in seconds since 1970.
        self.first = 0
        self._rings: dict[str, dict[str, list[int]]] = {}

    def update(self, rows: StoredRows, now_s: float) -> Iterator[None]:
        """Bring the counts up to date, in steps; rows may change between steps.

        Args:
            rows: all rows that are known.
            now_s: as of which they are, in seconds since 1970.
        """
        self.first = self.span.first(now_s)
        end = self.first + self.span.steps * self.span.step_s
        # What is dated ahead of the last step has no place yet.
        todo = [
            (r, start, min(before, end)) for r, start, before in spans(int(now_s), int(now_s) - self.first)
        ]
        return self._update(rows, todo)

    def _add(self, priority: str, bucket: int, some: list[tuple[str, int]], sign: int, /) -> None:
        rings = self._rings.setdefault(priority, {})
        place = bucket // self.span.step_s % self.span.steps
        for event_type, count in some:
            ring = rings.get(event_type)
            if ring is None:
                ring = rings[event_type] = [0] * self.span.steps
            ring[place] += sign * count
            if not ring[place] and not any(ring):
                del rings[event_type]

    def of(self, event_type: str, priorities: Sequence[str]) -> list[int]:
        """Counts in each step, the oldest first, of some priorities together."""
        rings = [
            ring
            for priority in priorities
            if (ring := self._rings.get(priority, {}).get(event_type)) is not None
        ]
        if not rings:
            return [0] * self.span.steps
        summed = rings[0] if len(rings) == 1 else [sum(each) for each in zip(*rings, strict=True)]
        place = self.first // self.span.step_s % self.span.steps
        return summed[place:] + summed[:place]
