"""What all workers together have and get. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from streams.notifications.priority import Priority
from tables.fleet.state import ClassState, WorkerState

#: Names over all workers, as many as one of them may have: anybody may write rows. The others are summed up.
MOST_CLASSES: Final = 32
MOST_DEAD_LETTERS: Final = 512
MOST_REPAIRS: Final = 128
OTHER: Final = "other"
#: Times so many are held while rows are summed up, which may have a hundred thousand names together.
_HELD: Final = 2

_Name = TypeVar("_Name", bound=Hashable)
_Ended = TypeVar("_Ended")


@dataclass(frozen=True, slots=True)
class ClassTotals:
    """What a priority has and gets on all workers together.

    Attributes:
        workers: how many of them serve it.
        configured_share: of the service time of all, that is due to it where each goes by its own weights.
        achieved_share: that it got lately.
        oldest_age_s: of the oldest record that any of them has buffered.
    """

    workers: int
    configured_share: float
    achieved_share: float
    lag_records: int
    oldest_age_s: float
    buffered_records: int
    buffered_bytes: int
    counted: int
    forwarded: int
    counted_per_s: float
    forwarded_per_s: float
    service_per_s: float


@dataclass(frozen=True, slots=True)
class FleetTotals:
    """Sums over some workers.

    Attributes:
        workers: how many.
        ready: how many of them work on their share.
        classes: by priority, the most urgent first, then any that are not known here.
        dead_letters: by priority and reason, the most frequent ones, since each worker started.
        dead_letter_bytes: of the values of these; None where a worker does not say it.
        repairs: by name, the most frequent ones, since each worker started.
    """

    workers: int = 0
    ready: int = 0
    classes: dict[str, ClassTotals] = field(default_factory=dict)
    dead_letters: dict[tuple[str, str], int] = field(default_factory=dict)
    dead_letter_bytes: dict[tuple[str, str], int | None] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)


def order_of(priority: str) -> tuple[int, str]:
    """To sort names of priorities by: the most urgent first, then those that are not known here."""
    known = Priority.parse(priority)
    return (len(Priority), priority) if known is None else (known.rank, priority)


def merged(workers: Iterable[WorkerState]) -> FleetTotals:
    """Sums over these workers, in whatever order they come; but see `merging` for very many names."""
    return at_once(merging(workers))


def at_once(steps: Generator[None, None, _Ended]) -> _Ended:
    """Take all steps, one right after the other, and return what they end in."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            found: _Ended = ended.value
            return found


def merging(workers: Iterable[WorkerState]) -> Generator[None, None, FleetTotals]:
    """Do as `merged`, a step for each worker and for each class: with many workers it takes milliseconds.

    What is rare is summed up as soon as there are too many names, whichever workers come later: a step looks
    at some of them, never at all that the rows have.
    """
    states = list(workers)
    dead: Counter[tuple[str, str]] = Counter()
    sizes: dict[tuple[str, str], int | None] = {}
    repairs: Counter[str] = Counter()
    #: Class -> the workers that serve it, by their places in ``states``.
    serving: defaultdict[str, list[tuple[int, ClassState]]] = defaultdict(list)
    service = []
    for place, state in enumerate(states):
        for name, found in state.classes.items():
            serving[name].append((place, found))
        for name, count in state.repairs.items():
            repairs[name] += count
        for each in state.dead_letters:
            key = each.priority, each.reason
            dead[key] += each.count
            sizes[key] = _added(sizes.get(key, 0), each.bytes)
        if len(serving) > _HELD * MOST_CLASSES:
            for name in sorted(serving, key=order_of)[MOST_CLASSES:]:
                del serving[name]
        if len(dead) > _HELD * MOST_DEAD_LETTERS:
            dead, sizes = _letters(dead, sizes)
        if len(repairs) > _HELD * MOST_REPAIRS:
            repairs = _bounded(repairs, MOST_REPAIRS, OTHER)
        service.append(math.fsum(each.service_per_s for each in state.classes.values()))
        yield
    all_service = math.fsum(service)
    # Where nothing is done, each worker that serves anything counts as much as another.
    idle = all_service <= 0
    weights = [float(bool(state.classes)) for state in states] if idle else service
    all_weights = math.fsum(weights)
    yield
    classes = {}
    for name in sorted(serving, key=order_of)[:MOST_CLASSES]:
        due = math.fsum(weights[place] * each.configured_share for place, each in serving[name])
        share = min(1.0, due / all_weights) if all_weights > 0 else 0.0
        yield
        classes[name] = yield from _class_totals([each for _, each in serving[name]], share, all_service)
    yield
    dead, sizes = _letters(dead, sizes)
    return FleetTotals(
        workers=len(states),
        ready=sum(state.ready for state in states),
        classes=classes,
        dead_letters=dict(dead),
        dead_letter_bytes=sizes,
        repairs=dict(sorted(_bounded(repairs, MOST_REPAIRS, OTHER).items())),
    )


def _added(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _letters(
    counts: Counter[tuple[str, str]], sizes: dict[tuple[str, str], int | None]
) -> tuple[Counter[tuple[str, str]], dict[tuple[str, str], int | None]]:
    """The most frequent dead letters with their bytes, in order, and all others in one."""
    kept = _bounded(counts, MOST_DEAD_LETTERS, (OTHER, OTHER))
    ordered = Counter({key: kept[key] for key in sorted(kept, key=lambda key: (*order_of(key[0]), key[1]))})
    summed: dict[tuple[str, str], int | None] = dict.fromkeys(ordered, 0)
    for key, size in sizes.items():
        listed = key if key in summed else (OTHER, OTHER)
        summed[listed] = _added(summed[listed], size)
    return ordered, summed


def _bounded(counts: Counter[_Name], most: int, other: _Name) -> Counter[_Name]:
    """The largest counts, of equal ones those whose names come first, and all others in one."""
    if len(counts) <= most:
        return counts
    largest = sorted((-count, name) for name, count in counts.items() if name != other)[: most - 1]
    kept = Counter({name: -less for less, name in largest})
    kept[other] = counts.total() - kept.total()
    return kept


def _class_totals(
    have: Sequence[ClassState], share: float, all_service: float
) -> Generator[None, None, ClassTotals]:
    """Of the states of a class on the workers that serve it, a step for each sum or two."""
    service = _sum(have, lambda each: each.service_per_s)
    counted_per_s = _sum(have, lambda each: each.counted_per_s)
    yield
    forwarded_per_s = _sum(have, lambda each: each.forwarded_per_s)
    lag, oldest_s = sum(each.lag_records for each in have), max(each.oldest_age_s for each in have)
    yield
    buffered = sum(each.buffered_records for each in have), sum(each.buffered_bytes for each in have)
    yield
    counted, forwarded = sum(each.counted for each in have), sum(each.forwarded for each in have)
    yield
    return ClassTotals(
        workers=len(have),
        configured_share=share,
        achieved_share=min(1.0, service / all_service) if all_service > 0 else 0.0,
        lag_records=lag,
        oldest_age_s=oldest_s,
        buffered_records=buffered[0],
        buffered_bytes=buffered[1],
        counted=counted,
        forwarded=forwarded,
        counted_per_s=counted_per_s,
        forwarded_per_s=forwarded_per_s,
        service_per_s=service,
    )


def _sum(have: Sequence[ClassState], amount: Callable[[ClassState], float]) -> float:
    # Exact, so that the order of the workers changes nothing.
    return math.fsum(map(amount, have))
