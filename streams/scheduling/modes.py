"""Orders in which classes are served: by weight, strictly by rank, or strictly with a floor for the rest.

All of them work on one `FairQueue`, which knows who is backlogged and keeps the accounts. An order only
chooses; so the scheduler does not care which one it has, and one that looks at the age of records can be put
around another.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from streams.scheduling.fair_queue import FairQueue
from streams.scheduling.share_window import ShareWindow

K = TypeVar("K", bound=Hashable)

#: Share of the service time kept for the other classes in strict-with-floor mode.
DEFAULT_FLOOR = 0.05
#: Seconds of service over which the floor is held.
DEFAULT_FLOOR_WINDOW = 1.0


class Mode(enum.StrEnum):
    """The names of the orders."""

    WEIGHTED = "weighted"
    STRICT_WITH_FLOOR = "strict-with-floor"
    STRICT = "strict"


class Order(Protocol[K]):
    """Chooses the class to serve next."""

    def pick(self) -> K | None:
        """Choose among the ready classes and charge the choice; None only when no class is ready."""

    def finish(self, key: K, guess: float, cost_seconds: float) -> None:
        """Account for a dispatch that is done; see `FairQueue.finish`."""

    def goes_before(self, top: K) -> bool:
        """Whether the top class would have been chosen in place of the latest choice, had it been ready then.

        If so, what has come of it since may as well be served in the middle of what was chosen.
        """


class Weighted(Generic[K]):
    """Shares of the service time by weight: plain start-time fair queueing."""

    def __init__(self, queue: FairQueue[K]) -> None:
        """Serve the classes of ``queue``."""
        self._queue = queue
        self.pick = queue.pick
        self.finish = queue.finish

    def goes_before(self, top: K) -> bool:
        """Whether its start tag is not behind that of the latest choice: of equal ones it goes first."""
        return self._queue.start_tag(top) <= self._queue.virtual_time


class Strict(Generic[K]):
    """The most urgent ready class, always. Less urgent classes can starve; that is what was asked for."""

    def __init__(self, queue: FairQueue[K]) -> None:
        """Serve the classes of ``queue``."""
        self._queue = queue
        self.finish = queue.finish

    def pick(self) -> K | None:
        """Choose by rank."""
        key = self._queue.first()
        if key is not None:
            self._queue.dispatch(key, in_turn=True)
        return key

    def goes_before(self, top: K) -> bool:  # noqa: ARG002 -- always, whichever it is
        """Always."""
        return True


class StrictWithFloor(Generic[K]):
    """The most urgent class first, while it leaves the others a floor; the others share by weight.

    Over any ``window`` seconds of service during which another class is backlogged all the time, the others
    get at least ``floor * window`` less one batch (K batches with K in flight) and a hundredth of the window.
    Service that the top class has while no other is backlogged is not held against it.
    """

    def __init__(
        self, queue: FairQueue[K], floor: float = DEFAULT_FLOOR, window: float = DEFAULT_FLOOR_WINDOW
    ) -> None:
        """Serve the classes of ``queue``.

        Args:
            queue: the classes; the one with the least rank is the top class.
            floor: share of the service time for the others, between 0 and 1.
            window: seconds of service over which the floor is held.

        Raises:
            ValueError: a floor outside 0 to 1, or a window that is not above 0.
        """
        if not 0 < floor < 1:
            raise ValueError(f"the floor must lie between 0 and 1, not {floor!r}")
        self._queue = queue
        self._top = queue.keys_by_rank[0]
        self._window = ShareWindow(queue.keys_by_rank, window)
        self._limit = (1 - floor) * window

    def pick(self) -> K | None:
        """Choose the top class unless it is idle or has used up its part; else the others by weight."""
        queue = self._queue
        top = self._top
        top_ready = queue.is_ready(top)
        if not queue.others_active(top):
            # What the top class uses while no other waits is not held against it.
            self._window.clear()
        if not top_ready or self._window.used(top) >= self._limit:
            other = queue.head(without=top)
            if other is not None:
                queue.dispatch(other, in_turn=True)
                return other
        if not top_ready:
            return None
        queue.dispatch(top, in_turn=False)
        return top

    def finish(self, key: K, guess: float, cost_seconds: float) -> None:
        """Account for a dispatch that is done."""
        self._queue.finish(key, guess, cost_seconds)
        self._window.add(key, cost_seconds)

    def goes_before(self, top: K) -> bool:
        """Whether it has left the others their floor."""
        return self._window.used(top) < self._limit


def make_order(mode: Mode | str, queue: FairQueue[K], floor: float = DEFAULT_FLOOR) -> Order[K]:
    """The order that ``mode`` names, over ``queue``.

    Raises:
        ValueError: an unknown mode, or a floor outside 0 to 1.
    """
    try:
        mode = Mode(mode)
    except ValueError:
        raise ValueError(f"there is no mode {mode!r}; use one of {', '.join(Mode)}") from None
    if mode is Mode.STRICT:
        return Strict(queue)
    if mode is Mode.STRICT_WITH_FLOOR:
        return StrictWithFloor(queue, floor)
    return Weighted(queue)
