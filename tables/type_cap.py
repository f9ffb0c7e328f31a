"""The cap on event types: beyond it they are counted together, as one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tables.reserved_types import OVERFLOW, PROBES


class TypeCap:
    """Decides which event types are counted by name: in each row, and in the totals, the first that come.

    Args:
        most: how many; the rest is OVERFLOW.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    def admitted(self, event_type: str, known: Mapping[str, object]) -> str:
        """What ``event_type`` is counted as, where those in ``known`` are counted already."""
        # OVERFLOW itself does not count: what was restored may hold it and not yet all that are named.
        # Nor do probes, which leave the counts of others as they are.
        named = len(known) - (OVERFLOW in known) - (PROBES in known)
        if event_type in known or named < self.most or event_type == PROBES:
            return event_type
        return OVERFLOW
