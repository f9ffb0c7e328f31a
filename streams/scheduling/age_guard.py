"""The age guard: a head that has waited longer than its class may is served next, within a cap. Pure.

Age is the time that a record has waited in this worker's buffer. A publisher writes a record's own
timestamp, and could make every record of its class look old; nobody outside can forge the time of
buffering. Under a backlog deeper than the limit every head would be old by its own time, and the guard would
be no more than another weight.

What guarded dispatches use is a budget of their own: at most `share` of the service time, and it is not
charged to the class. So all bounds of the order hold unchanged for the rest of the time. Two rules keep
CRITICAL prompt: the guard never serves twice without the order having a turn in between, and it leaves the
turn to the order when the most urgent class has just come back from being idle.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
P = TypeVar("P", bound=Hashable)

#: Share of the service time that guarded dispatches may use.
DEFAULT_GUARD_SHARE = 0.1
#: Seconds of service over which the guard may save up what it did not use.
GUARD_WINDOW_S = 1.0


class AgeGuard(Generic[K, P]):
    """Finds heads that have waited too long, and pays for serving them.

    Over any stretch of S seconds of service, guarded dispatches take at most ``share * (S + 1)`` seconds plus
    the batches in flight. While something is left of that, a head past its limit is dispatched after the
    batches in service, at most two others, and a hundredth of the least limit; several of them in the order
    in which they passed their limits.

    The heads are looked at a hundred times in the least limit and once a guarded dispatch, not at every
    batch; so the cost of a batch does not grow with the number of partitions.
    """

    def __init__(self, limits: Mapping[K, float], top: K, share: float = DEFAULT_GUARD_SHARE) -> None:
        """Watch the classes of ``limits``.

        Args:
            limits: seconds that a head of a class may wait, above 0. Classes without one are not watched.
            top: the most urgent class.
            share: of the service time for guarded dispatches, above 0 and below 1.

        Raises:
            ValueError: a value out of range.
        """
        if not 0 < share < 1:
            raise ValueError(f"the age guard's share must lie between 0 and 1, not {share!r}")
        for key, limit in limits.items():
            if not limit > 0:
                raise ValueError(f"the age limit of {key} must be above 0 seconds, not {limit!r}")
        self.limits = dict(limits)
        self.share = share
        #: Guarded dispatches so far.
        self.dispatches = 0
        #: Service time of those that are done, in seconds.
        self.service_seconds = 0.0
        self._top = top
        self._most_credit = share * GUARD_WINDOW_S
        self._credit = self._most_credit
        # No head of any watched class passes its limit before this.
        self._quiet_until = 0.0
        self._had_last_turn = False
        self._top_was_ready = False

    @property
    def credit(self) -> float:
        """Seconds of service that guarded dispatches may use now; none is begun at 0 or below."""
        return self._credit

    def pick(
        self,
        now: float,
        is_ready: Callable[[K], bool],
        oldest: Callable[[K], tuple[P, float] | None],
    ) -> tuple[K, P] | None:
        """Choose a head that must not wait any longer; to be asked before every choice of the order.

        Args:
            now: in seconds, on the clock of the buffers.
            is_ready: whether a class has records that can be served.
            oldest: a class's partition whose head has waited longest, and since when.

        Returns:
            Class and partition to serve, or None to leave the choice to the order.
        """
        came_back = is_ready(self._top) and not self._top_was_ready
        self._top_was_ready = is_ready(self._top)
        if now < self._quiet_until or self._credit <= 0 or self._had_last_turn or came_back:
            self._had_last_turn = False
            return None
        due: tuple[K, P] | None = None
        # A record that comes later passes its limit later than this.
        first = now + min(self.limits.values(), default=0.0)
        for key, limit in self.limits.items():
            head = oldest(key) if is_ready(key) else None
            if head is not None and head[1] + limit < first:
                first = head[1] + limit
                due = key, head[0]
        if due is None or first > now:
            # A class without a ready partition may get one back whose head is older than all these.
            self._quiet_until = min(first, now + self._nap())
            return None
        self._had_last_turn = True
        self.dispatches += 1
        return due

    def finish(self, cost_seconds: float, *, guarded: bool) -> None:
        """Account for any dispatch that is done, guarded or not."""
        self._credit = min(self._most_credit, self._credit + self.share * cost_seconds)
        if guarded:
            self._credit -= cost_seconds
            self.service_seconds += cost_seconds

    def _nap(self) -> float:
        return min(self.limits.values(), default=0.0) / 100
