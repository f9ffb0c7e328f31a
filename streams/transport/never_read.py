"""How many records were deleted before they were read, by partition. Pure.

Retention does not wait for a worker. What it took is kept with the committed offset, and counts from the
record behind the hole on: a worker that crashes before it has committed one finds the same hole again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from faust.types import TP


class NeverRead:
    """The holes of one assignment after the other."""

    def __init__(self) -> None:
        self._before: Mapping[TP, int] = {}
        self._holes: dict[TP, list[tuple[int, int]]] = defaultdict(list)

    def begin(self, before: Mapping[TP, int]) -> None:
        """Begin an assignment.

        Args:
            before: how many were never read up to the committed offset.
        """
        self._before = before
        self._holes.clear()

    def skipped(self, tp: TP, offset: int, number: int) -> None:
        """``number`` records before ``offset`` are gone; those from it on are read."""
        self._holes[tp].append((offset, number))

    def up_to(self, tp: TP, offset: int) -> int:
        """How many of the records below ``offset`` were never read; a hole at its very end is none of it."""
        holes = sum(number for end, number in self._holes.get(tp, ()) if end < offset)
        return self._before.get(tp, 0) + holes
