"""Start-time fair queueing over a few classes, charged by service time after the fact.

Goyal, Vin and Cheng, "Start-time Fair Queuing" (1996). A class has a start tag and a finish tag in
virtual time, which is service time divided by weight. The class with the least start tag goes next, and
the virtual time is that tag. The cost of a batch is known only when it is done, so a dispatch charges a
guess (the moving average of the class's batches) and `finish` corrects it, as Kubernetes' API priority
and fairness does (KEP-1040). With one batch in flight the correction comes before the next choice, so
the guess has no effect at all.

While classes f and m both stay backlogged, the service times T they receive obey
``|T_f/w_f - T_m/w_m| <= K (l_f/w_f + l_m/w_m)`` with the longest batches l and K batches in flight
(proved in the paper for K = 1; held by the property tests beyond).

Every operation is linear in the number of classes (five to seven) and in nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Weight of the newest batch in the moving average that is the guess.
GUESS_ALPHA = 0.25


class _Tags(Generic[K]):
    """The state of one class; ``start`` is always ``max(floor, finish)``."""

    __slots__ = (
        "active",
        "finish",
        "floor",
        "guess",
        "in_flight",
        "key",
        "measured",
        "rank",
        "ready",
        "start",
        "weight",
    )

    def __init__(self, key: K, weight: float, rank: int) -> None:
        self.key = key
        self.weight = weight
        self.rank = rank
        self.floor = 0.0
        self.finish = 0.0
        self.start = 0.0
        self.active = False
        self.ready = False
        self.guess = 0.0
        self.measured = False
        self.in_flight = 0


class FairQueue(Generic[K]):
    """Chooses which class is served next.

    A class is *active* while it is backlogged, and *ready* while it is active and not suspended (a class
    whose waiting records all belong to busy partitions is backlogged, yet cannot be served).
    """

    def __init__(self, weights: Mapping[K, float], rank: Mapping[K, int] | None = None) -> None:
        """Make a queue in which no class is backlogged.

        Args:
            weights: weight of every class; finite and above 0.
            rank: order in which equal start tags are served, least first; by default the order of
                ``weights``.

        Raises:
            ValueError: no class, a weight that is not a finite number above 0, or a class without rank.
        """
        if not weights:
            raise ValueError("a fair queue needs at least one class")
        _check_weights(weights)
        if rank is None:
            rank = {key: place for place, key in enumerate(weights)}
        if missing := [key for key in weights if key not in rank]:
            raise ValueError(f"give a rank to {', '.join(map(str, missing))} as well")
        self._classes = {key: _Tags(key, float(weight), rank[key]) for key, weight in weights.items()}
        # In order of rank, so that the first of equal start tags is the right one.
        self._by_rank = sorted(self._classes.values(), key=lambda tags: tags.rank)
        self._virtual_time = 0.0
        self._in_flight = 0
        self._active = 0

    @property
    def virtual_time(self) -> float:
        """Start tag of the latest choice: seconds of service per unit of weight. It never falls."""
        return self._virtual_time

    @property
    def keys_by_rank(self) -> list[K]:
        """All classes, the most urgent first."""
        return [tags.key for tags in self._by_rank]

    @property
    def weights(self) -> dict[K, float]:
        """Weight of every class."""
        return {key: tags.weight for key, tags in self._classes.items()}

    def share(self, key: K) -> float:
        """Share of the service time that the weights give to ``key`` when all classes are backlogged."""
        return self._classes[key].weight / sum(tags.weight for tags in self._by_rank)

    def start_tag(self, key: K) -> float:
        """Start tag of the next batch of ``key``, in virtual time."""
        return self._classes[key].start

    def guess(self, key: K) -> float:
        """Seconds that a dispatch of ``key`` is charged in advance: the moving average of its batches."""
        return self._classes[key].guess

    def is_ready(self, key: K) -> bool:
        """Whether ``key`` is backlogged and can be served now."""
        return self._classes[key].ready

    def others_active(self, key: K) -> bool:
        """Whether a class other than ``key`` is backlogged."""
        return self._active > (1 if self._classes[key].active else 0)

    def set_weights(self, weights: Mapping[K, float]) -> None:
        """Change the weights of some or all classes, at once.

        What a class is ahead or behind stays the same in seconds of service, so a class that has just used
        much under a small weight does not wait that long under a large one.

        Raises:
            ValueError: an unknown class, or a weight that is not a finite number above 0; nothing changes.
        """
        if unknown := [key for key in weights if key not in self._classes]:
            raise ValueError(f"there is no class {', '.join(map(str, unknown))} to weigh")
        _check_weights(weights)
        now = self._virtual_time
        for key, weight in weights.items():
            tags = self._classes[key]
            ratio = tags.weight / weight
            tags.weight = float(weight)
            tags.floor = now + (tags.floor - now) * ratio
            tags.finish = now + (tags.finish - now) * ratio
            tags.start = max(tags.floor, tags.finish)

    def level(self) -> None:
        """Forget who is ahead and who is behind: all classes start from the virtual time.

        For a change of mode: after an hour in which one class had everything, its debt would shut it out for
        hours.
        """
        for tags in self._by_rank:
            tags.floor = tags.finish = tags.start = self._virtual_time

    def activate(self, key: K) -> None:
        """Note that ``key`` has become backlogged; it is ready. No effect if it already was backlogged."""
        tags = self._classes[key]
        if tags.active:
            return
        if self._in_flight == 0 and self._active == 0:
            # A busy period has ended; nobody carries a debt into the next one.
            for other in self._by_rank:
                self._virtual_time = max(self._virtual_time, other.finish)
        floor = self._virtual_time
        for other in self._by_rank:
            # With several in flight a corrected class may lie below the virtual time. Starting level with
            # it widens no gap, and keeps a newcomer from waiting for its catching up.
            if other.ready and other.start < floor:
                floor = other.start
        tags.floor = floor
        tags.start = max(floor, tags.finish)
        tags.active = tags.ready = True
        self._active += 1

    def deactivate(self, key: K) -> None:
        """Note that ``key`` has nothing waiting any more. Its finish tag is kept."""
        tags = self._classes[key]
        if tags.active:
            tags.active = tags.ready = False
            self._active -= 1

    def suspend(self, key: K) -> None:
        """Note that ``key`` is backlogged but cannot be served now; it keeps its place."""
        self._classes[key].ready = False

    def resume(self, key: K) -> None:
        """Note that a backlogged ``key`` can be served again. No effect unless it was suspended.

        What it fell behind meanwhile is kept up to as much as the batches in flight can explain. Otherwise a
        class that cannot use its share, for want of a free partition, would save up credit without limit.
        """
        tags = self._classes[key]
        if tags.ready or not tags.active:
            return
        tags.ready = True
        if tags.start < self._virtual_time:
            longest = max(other.guess for other in self._by_rank)
            lightest = min(other.weight for other in self._by_rank)
            credit = (self._in_flight + 1) * longest / lightest
            if tags.start < self._virtual_time - credit:
                tags.floor = tags.start = self._virtual_time - credit
            self._level_newcomers(tags.start)

    def first(self) -> K | None:
        """The most urgent ready class by rank alone, or None. Charges nothing."""
        for tags in self._by_rank:
            if tags.ready:
                return tags.key
        return None

    def head(self, without: K | None = None) -> K | None:
        """The ready class with the least start tag, ties by rank, or None. Charges nothing.

        Args:
            without: a class to pass over.
        """
        best = None
        for tags in self._by_rank:
            if tags.ready and tags.key != without and (best is None or tags.start < best.start):
                best = tags
        return None if best is None else best.key

    def pick(self) -> K | None:
        """Choose the class to serve next and charge it its `guess`; None when no class is ready.

        The caller gives `guess` (read right after) back to `finish`.
        """
        best = None
        low = math.inf
        for tags in self._by_rank:
            if tags.ready and tags.start < low:
                best = tags
                low = tags.start
        if best is None:
            return None
        self._virtual_time = max(self._virtual_time, low)
        best.finish = best.start = low + best.guess / best.weight
        best.in_flight += 1
        self._in_flight += 1
        return best.key

    def dispatch(self, key: K, *, in_turn: bool) -> None:
        """Charge ``key`` as `pick` does, though chosen by someone else.

        Args:
            key: the chosen class.
            in_turn: whether `head` chose it, so that the virtual time moves; a class served out of turn
                must not drag the others' time along.
        """
        tags = self._classes[key]
        if in_turn and tags.start > self._virtual_time:
            self._virtual_time = tags.start
        tags.finish = tags.start = tags.start + tags.guess / tags.weight
        tags.in_flight += 1
        self._in_flight += 1

    def finish(self, key: K, guess: float, cost_seconds: float) -> None:
        """Correct the charge of a dispatch by what it really took.

        Args:
            key: the class that was served.
            guess: what `guess` said at the dispatch, in seconds.
            cost_seconds: service time, in seconds, 0 or more.
        """
        tags = self._classes[key]
        tags.in_flight -= 1
        self._in_flight -= 1
        if tags.measured:
            tags.guess += GUESS_ALPHA * (cost_seconds - tags.guess)
        else:
            tags.guess = cost_seconds
            tags.measured = True
        tags.finish += (cost_seconds - guess) / tags.weight
        tags.start = tags.finish if tags.finish > tags.floor else tags.floor
        if tags.ready and tags.start < self._virtual_time:
            self._level_newcomers(tags.start)

    def _level_newcomers(self, start: float) -> None:
        """Let classes that wait for their first service start no later than ``start``.

        A class has come (back) below the virtual time that they were given on arrival.
        """
        for tags in self._by_rank:
            if tags.active and tags.finish < tags.floor and start < tags.floor:
                tags.floor = start
                tags.start = max(start, tags.finish)


def _check_weights(weights: Mapping[K, float]) -> None:
    for key, weight in weights.items():
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"the weight of {key} must be a finite number above 0, not {weight!r}")
