"""How far the times of notifications lie from their records', in the last minute or two. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from streams.notifications import Priority

#: Notifications that are dated earlier than this many seconds before the time of their record are late.
LATE_S: Final = 300
_SPAN_S: Final = 60.0


@dataclass(slots=True)
class Skew:
    """The largest distances, in seconds, that were seen: at least so far, and up to 10 s more.

    Attributes:
        behind_s: of a notification that is dated before its record.
        ahead_s: of one that is dated after it.
    """

    behind_s: float = 0.0
    ahead_s: float = 0.0


class RecentSkew:
    """Keeps the largest distances of the present minute and of the one before.

    Args:
        clock: seconds, only for differences.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._now: dict[Priority, Skew] = {}
        self._before: dict[Priority, Skew] = {}

    def note(self, priority: Priority, behind_s: float, ahead_s: float) -> None:
        """Some notifications of a priority were so far behind, and so far ahead."""
        self._turn()
        known = self._now.get(priority)
        if known is None:
            known = self._now[priority] = Skew()
        known.behind_s = max(known.behind_s, behind_s)
        known.ahead_s = max(known.ahead_s, ahead_s)

    def most(self) -> Mapping[Priority, Skew]:
        """The largest distances by priority."""
        self._turn()
        none = Skew()
        found = {}
        for priority in self._now.keys() | self._before.keys():
            now, before = self._now.get(priority, none), self._before.get(priority, none)
            found[priority] = Skew(max(now.behind_s, before.behind_s), max(now.ahead_s, before.ahead_s))
        return found

    def _turn(self) -> None:
        passed = self._clock() - self._since
        if passed >= _SPAN_S:
            self._before = self._now if passed < 2 * _SPAN_S else {}
            self._now = {}
            self._since += passed
