"""Which offsets may be committed. Pure.

A committed offset is never past a record whose effects are not all durable. Two sides say what is: counting,
up to which offset its rows are durable; and the sender of alerts and dead letters, for which records one is
still under way. The transport asks for the lesser of both.
"""

from __future__ import annotations

from faust.types import TP

from streams.transport.outstanding import OutstandingOffsets


class CommittableOffsets:
    """The offsets of one assignment after the other, by partition."""

    def __init__(self) -> None:
        self._durable: dict[TP, int] = {}
        self._outstanding: dict[TP, OutstandingOffsets] = {}

    def counted(self, tp: TP, offset: int) -> None:
        """All records of ``tp`` below ``offset`` are counted durably."""
        self._durable[tp] = offset

    def outstanding(self, tp: TP) -> OutstandingOffsets:
        """Where to note what is under way for records of ``tp``; another one in each assignment."""
        outstanding = self._outstanding.get(tp)
        if outstanding is None:
            outstanding = self._outstanding[tp] = OutstandingOffsets()
        return outstanding

    def is_current(self, tp: TP, outstanding: OutstandingOffsets) -> bool:
        """Whether ``outstanding`` is of the present assignment."""
        return self._outstanding.get(tp) is outstanding

    def committable(self) -> dict[TP, int]:
        """The highest offset that may be committed (the next one to read) of each partition that has one."""
        return {
            tp: durable
            if (outstanding := self._outstanding.get(tp)) is None
            else outstanding.committable(durable)
            for tp, durable in self._durable.items()
        }

    def forget(self) -> None:
        """The assignment has ended: nothing of it may be committed any more."""
        self._durable = {}
        self._outstanding = {}
