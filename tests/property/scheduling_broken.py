"""Schedulers that are wrong on purpose: each breaks a rule that a checker must notice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.property.scheduling_simulator import WEIGHTS


@dataclass(slots=True)
class NaiveDispatch:
    priority_class: str
    partition: int
    records: Sequence[int]


class Naive:
    """Records one by one from unbounded queues; `choose` says from which class. Work conserving and in
    order."""

    def __init__(self, weights: Mapping[str, float] = WEIGHTS, max_in_flight: int = 1) -> None:
        self.weights = dict(weights)
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.busy: set[tuple[str, int]] = set()
        # Per class: chunks as [partition, records, index], in order of arrival.
        self.chunks: dict[str, deque[list]] = {priority_class: deque() for priority_class in weights}
        self.arrivals = 0

    def assign(self, priority_class: str, partitions: Iterable[int]) -> None:
        pass

    def revoke(self, priority_class: str, partitions: Iterable[int]) -> None:
        gone = set(partitions)
        self.chunks[priority_class] = deque(
            chunk for chunk in self.chunks[priority_class] if chunk[0] not in gone
        )

    def set_weights(self, weights: Mapping[str, float]) -> None:
        self.weights.update(weights)

    def add(self, priority_class: str, partition: int, records: Sequence[int], nbytes: int) -> bool:
        self.arrivals += 1
        self.chunks[priority_class].append([partition, records, 0, self.arrivals])
        return True

    def next(self) -> NaiveDispatch | None:
        if self.in_flight >= self.max_in_flight:
            return None
        heads = {
            priority_class: chunk
            for priority_class in self.chunks
            if (chunk := self.head(priority_class)) is not None
        }
        if not heads:
            return None
        priority_class = self.choose(heads)
        chunk = heads[priority_class]
        partition, records, index, _ = chunk
        chunk[2] += 1
        if chunk[2] == len(records):
            self.chunks[priority_class].remove(chunk)
        self.in_flight += 1
        self.busy.add((priority_class, partition))
        return NaiveDispatch(priority_class, partition, [records[index]])

    def done(self, dispatch: NaiveDispatch, service_seconds: float) -> None:
        self.in_flight -= 1
        self.busy.discard((dispatch.priority_class, dispatch.partition))
        self.charge(dispatch.priority_class, service_seconds)

    def head(self, priority_class: str) -> list | None:
        passed = set()
        for chunk in self.chunks[priority_class]:
            if (priority_class, chunk[0]) not in self.busy and chunk[0] not in passed:
                return chunk
            passed.add(chunk[0])
        return None

    def choose(self, heads: Mapping[str, list]) -> str:
        raise NotImplementedError

    def charge(self, priority_class: str, service_seconds: float) -> None:
        pass


class Fifo(Naive):
    """Serves in order of arrival, as one queue for everything does."""

    def choose(self, heads: Mapping[str, list]) -> str:
        return min(heads, key=lambda priority_class: heads[priority_class][3])


class RoundRobin(Naive):
    """One record of each class in turn, as stock Faust does."""

    last = -1

    def choose(self, heads: Mapping[str, list]) -> str:
        order = list(self.weights)
        for step in range(1, len(order) + 1):
            priority_class = order[(self.last + step) % len(order)]
            if priority_class in heads:
                self.last = order.index(priority_class)
                return priority_class
        raise AssertionError


class CountCharged(Naive):
    """Smooth weighted round robin: shares by weight of the number of records, not of the time."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.credit = dict.fromkeys(self.weights, 0.0)

    def choose(self, heads: Mapping[str, list]) -> str:
        for priority_class in heads:
            self.credit[priority_class] += self.weights[priority_class]
        priority_class = max(heads, key=lambda priority_class: self.credit[priority_class])
        self.credit[priority_class] -= sum(self.weights[one] for one in heads)
        return priority_class


class StrictByRank(Naive):
    """The most urgent class always."""

    def choose(self, heads: Mapping[str, list]) -> str:
        return next(priority_class for priority_class in self.weights if priority_class in heads)


class DeafToWeights(Naive):
    """Fair in time by the weights it started with; ignores changes."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.used = dict.fromkeys(self.weights, 0.0)

    def set_weights(self, weights: Mapping[str, float]) -> None:
        pass

    def choose(self, heads: Mapping[str, list]) -> str:
        return min(heads, key=lambda priority_class: self.used[priority_class])

    def charge(self, priority_class: str, service_seconds: float) -> None:
        self.used[priority_class] += service_seconds / self.weights[priority_class]


class ArrearsPaid(DeafToWeights):
    """Fair over all time: a class that was idle gets the arrears, and the others starve meanwhile."""


class Forgetful(DeafToWeights):
    """Fair, but a class that comes back from being idle starts level, whatever it has used."""

    def add(self, priority_class: str, partition: int, records: Sequence[int], nbytes: int) -> bool:
        if not self.chunks[priority_class]:
            self.used[priority_class] = min(
                self.used[other] for other in self.chunks if self.chunks[other] or other == priority_class
            )
        return super().add(priority_class, partition, records, nbytes)


class Idler(RoundRobin):
    """Takes a break every third time."""

    asked = 0

    def next(self) -> NaiveDispatch | None:
        self.asked += 1
        return None if self.asked % 3 == 0 else super().next()


class Shuffler(RoundRobin):
    """Serves the newest chunk of a partition before the older ones."""

    def head(self, priority_class: str) -> list | None:
        return next(
            (
                chunk
                for chunk in reversed(self.chunks[priority_class])
                if (priority_class, chunk[0]) not in self.busy
            ),
            None,
        )


class Repeater(RoundRobin):
    """Gives every tenth record twice."""

    asked = 0

    def next(self) -> NaiveDispatch | None:
        dispatch = super().next()
        if dispatch is not None:
            self.asked += 1
            if self.asked % 10 == 0:
                dispatch.records = [dispatch.records[0]] * 2
        return dispatch


class Skipper(RoundRobin):
    """Loses every tenth record."""

    asked = 0

    def next(self) -> NaiveDispatch | None:
        self.asked += 1
        if self.asked % 10 == 0 and (dispatch := super().next()) is not None:
            self.done(dispatch, 0.0)
        return super().next()


class Overtaker(RoundRobin):
    """Puts two batches of one partition into service at once."""

    def head(self, priority_class: str) -> list | None:
        return self.chunks[priority_class][0] if self.chunks[priority_class] else None


class Rememberer(RoundRobin):
    """Still serves what was revoked."""

    def revoke(self, priority_class: str, partitions: Iterable[int]) -> None:
        pass
