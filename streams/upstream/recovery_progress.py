"""How far the recovery of tables is: shown in the log and by ``/startupz``. Reads no clock by itself.

A table partition is recovered from its local copy, from its changelog where the copy is missing or behind,
or from neither, when it is new. Records are told by offsets, so compacted ones count as read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streams.quantities import quantity, thousands

log = logging.getLogger(__name__)

#: Seconds between lines in the log while records are read.
_LINE_INTERVAL_S = 5.0
#: Seconds of reading after which its rate is worth an estimate.
_ESTIMATE_AFTER_S = 0.5

LOCAL = "local state"
BOTH = "local state and the changelog"
CHANGELOG = "the changelog"
NEITHER = "neither"

_BECAUSE = {
    LOCAL: "local state, which is as new as the changelog",
    BOTH: "local state, and what is newer from the changelog",
    CHANGELOG: "the changelog, because the data folder has no state",
    NEITHER: "neither local state nor changelog, which are both empty",
}


@dataclass(frozen=True, slots=True)
class TableProgress:
    """One partition of a table in recovery; offsets of its changelog.

    Attributes:
        kept: last offset that the local copy holds; None without a copy.
        begin: offset behind which reading began.
        at: last offset that was read.
        end: last offset to read.
    """

    table: str
    changelog: str
    partition: int
    kept: int | None
    begin: int
    at: int
    end: int

    @property
    def total(self) -> int:
        """Records to read."""
        return max(0, self.end - self.begin)

    @property
    def done(self) -> int:
        """Records that were read."""
        return min(self.total, max(0, self.at - self.begin))

    @property
    def source(self) -> str:
        """Where the state comes from. A copy that the changelog no longer goes on from is as good as none."""
        if self.kept is None or self.begin > self.kept:
            return CHANGELOG if self.total else NEITHER
        return BOTH if self.total else LOCAL


class RecoveryProgress:
    """Follows recoveries, one after the other: one with each assignment.

    Args:
        positions: the partitions under recovery; empty before their offsets are known.
        clock: seconds, only for differences.
    """

    def __init__(
        self, positions: Callable[[], Sequence[TableProgress]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._positions = positions
        self._clock = clock
        self._shown: Sequence[TableProgress] = ()
        self._began: float | None = None
        self._ended: float | None = None
        self._reading_since: float | None = None
        self._told_at: float | None = None
        #: connecting, joining, recovering, loading or ready.
        self.phase = "connecting"
        #: Whether the worker was ready once.
        self.was_ready = False

    def joining(self) -> None:
        """The brokers were reached; the group has not yet given an assignment."""
        self.phase = "joining"

    def begin(self) -> None:
        """An assignment has come: recovery begins."""
        self.phase = "recovering"
        self._began = self._clock()
        self._ended = self._reading_since = self._told_at = None
        self._shown = ()

    def look(self) -> None:
        """See how far it is, and say so every few seconds; to be called about once a second."""
        if self.phase != "recovering":
            return
        self._shown = self._positions()
        done, total = self._sums()
        if not total:
            return
        now = self._clock()
        if self._reading_since is None:
            self._reading_since = now
        if self._told_at is None or now - self._told_at >= _LINE_INTERVAL_S:
            self._told_at = now
            log.info(
                "Recovering counts: %s of %s of %s (%d %%)%s; from %s.",
                thousands(done),
                quantity(total, "record", show=thousands),
                " and ".join(sorted({each.changelog for each in self._shown if each.total})),
                100 * done // total,
                "" if (left := self.estimate_s()) is None else f", about {left:.0f} s left",
                _BECAUSE[self.source],
            )

    def recovered(self) -> None:
        """The tables are as their changelogs say; what follows is to take them up."""
        if self.phase != "recovering":
            return
        self._shown = self._positions()
        self._ended = self._clock()
        self.phase = "loading"
        if self._shown:
            log.info(
                "Recovered in %.1f s from %s: %s read for %s.",
                self.elapsed_s,
                _BECAUSE[self.source],
                quantity(self._sums()[1], "record", show=thousands),
                quantity(len(self._shown), "table partition"),
            )

    def ready(self) -> None:
        """The worker works on its assignment."""
        if self.phase == "loading":
            self.phase = "ready"
            self.was_ready = True

    # ---------------------------------------------------------------- what is shown

    @property
    def source(self) -> str:
        """Where the state as a whole comes from."""
        found = {each.source for each in self._shown if each.source != NEITHER}
        if not found:
            return NEITHER
        return found.pop() if len(found) == 1 else BOTH

    @property
    def elapsed_s(self) -> float:
        """Seconds that recovery takes, or took."""
        if self._began is None:
            return 0.0
        return (self._clock() if self._ended is None else self._ended) - self._began

    @property
    def left(self) -> int:
        """Records that are still to be read."""
        done, total = self._sums()
        return total - done if self.phase == "recovering" else 0

    def estimate_s(self) -> float | None:
        """Seconds left at the rate so far; None when there is no telling."""
        done, total = self._sums()
        if self.phase != "recovering" or self._reading_since is None or not done:
            return None
        reading = self._clock() - self._reading_since
        return reading * (total - done) / done if reading >= _ESTIMATE_AFTER_S else None

    def sentence(self) -> str:
        """What is being waited for, in words."""
        if self.phase == "connecting":
            return "The brokers have not been reached yet."
        if self.phase == "joining":
            return "The group has not assigned partitions yet."
        if self.phase == "loading":
            return "State was recovered, and is being loaded."
        done, total = self._sums()
        return f"State is being recovered: {done:,} of {quantity(total, 'record', show=thousands)}."

    def shown(self) -> dict[str, Any]:
        """All of it, for ``/startupz``; JSON types only."""
        done, total = self._sums()
        estimate = self.estimate_s()
        return {
            "phase": self.phase,
            "source": self.source if self._shown else None,
            "records": {"done": done, "total": total},
            "elapsed_s": round(self.elapsed_s, 3),
            "estimated_s": None if estimate is None else round(estimate, 1),
            "tables": [
                {
                    "table": each.table,
                    "partition": each.partition,
                    "source": each.source,
                    "done": each.done,
                    "total": each.total,
                }
                for each in self._shown
            ],
        }

    def _sums(self) -> tuple[int, int]:
        return sum(each.done for each in self._shown), sum(each.total for each in self._shown)
