"""The scheduler: buffers, order and batch sizes of all classes, joined.

It decides what the agents get next, just before they get it. Pure: it is told what was fetched, what was
done and how long it took. It has no clock of its own; for the age guard it is given one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from streams.scheduling.age_guard import DEFAULT_GUARD_SHARE, AgeGuard
from streams.scheduling.batch_size import BatchSize
from streams.scheduling.buffers import ClassBuffer
from streams.scheduling.fair_queue import FairQueue
from streams.scheduling.modes import DEFAULT_FLOOR, Mode, make_order
from streams.scheduling.share_window import ShareWindow

K = TypeVar("K", bound=Hashable)
P = TypeVar("P", bound=Hashable)
R = TypeVar("R")

#: Seconds of service over which the achieved share is reported.
SHARE_WINDOW_SECONDS = 10.0
#: Most bytes of a batch, by the average record size of its chunk.
DEFAULT_MAX_BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ClassSpec(Generic[K]):
    """One class: its name, its weight, its rank (least is most urgent) and the bounds of its buffer."""

    name: K
    weight: float
    rank: int
    bound_bytes: int
    bound_records: int | None = None


class Dispatch(Generic[K, P, R]):
    """A batch in service: consecutive records of one partition. Give it to `Scheduler.done`, once."""

    __slots__ = ("guarded", "nbytes", "parked", "partition", "priority_class", "records", "token")

    def __init__(
        self,
        priority_class: K,
        partition: P,
        records: list[R],
        nbytes: int,
        token: float,
        *,
        guarded: bool = False,
    ) -> None:
        """Made by `Scheduler.next`."""
        self.priority_class = priority_class
        self.partition = partition
        self.records = records
        self.nbytes = nbytes
        #: What the class was charged in advance, in seconds; None when done.
        self.token: float | None = token
        #: Chosen by the age guard, and paid from its budget.
        self.guarded = guarded
        #: It waits for something outside, without a slot; see `Scheduler.park`.
        self.parked = False


@dataclass(frozen=True, slots=True)
class ClassSnapshot(Generic[K]):
    """What a class has and gets.

    Shares are parts of the service time, 0 to 1; ``achieved_share`` is over the latest 10 s of service.
    """

    name: K
    weight: float
    configured_share: float
    achieved_share: float
    buffered_records: int
    buffered_bytes: int
    dispatched_records: int
    service_seconds: float
    #: Start tag of its next batch, in seconds of service per unit of weight.
    virtual_time: float


class _Lane(Generic[K, P, R]):
    """All about one class."""

    __slots__ = ("buffer", "name", "parked", "records", "service_seconds", "size")

    def __init__(self, spec: ClassSpec[K], size: BatchSize) -> None:
        self.name = spec.name
        self.buffer: ClassBuffer[P, R] = ClassBuffer(spec.bound_bytes, spec.bound_records)
        self.size = size
        #: Its batches that are parked.
        self.parked = 0
        self.records = 0
        self.service_seconds = 0.0


class Scheduler(Generic[K, P, R]):
    """Chooses the next batch.

    At most ``max_in_flight`` batches are in service, and at most one of each partition, which keeps the
    records of a partition in order. While there is a free slot and a record of a partition that is not in
    service, `next` returns a batch. A batch that waits for something outside is parked: it has no slot
    meanwhile, and no further batch of its class is served.
    """

    def __init__(
        self,
        classes: Sequence[ClassSpec[K]],
        mode: Mode | str = Mode.WEIGHTED,
        batch_seconds: float = 0.002,
        max_in_flight: int = 1,
        *,
        max_batch_records: int = 2000,
        max_batch_bytes: int = DEFAULT_MAX_BATCH_BYTES,
        floor: float = DEFAULT_FLOOR,
        age_limits: Mapping[K, float] | None = None,
        guard_share: float = DEFAULT_GUARD_SHARE,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Make a scheduler without partitions.

        Args:
            classes: the classes, with different names.
            mode: the order in which they are served.
            batch_seconds: service time batches are cut to.
            max_in_flight: batches in service at once, 1 or more.
            max_batch_records: most records of a batch.
            max_batch_bytes: most bytes of a batch, by the average record size of its chunk; a single record
                may be larger.
            floor: share kept for the other classes in strict-with-floor mode.
            age_limits: seconds that a head of a class may wait in its buffer; without any there is no age
                guard.
            guard_share: share of the service time that the age guard may use.
            clock: any steady clock in seconds, for the age guard.

        Raises:
            ValueError: a value out of range, two classes of one name, or an age guard without a clock.
        """
        if len({spec.name for spec in classes}) != len(classes):
            raise ValueError("the classes must have different names")
        if max_in_flight < 1 or max_batch_bytes < 1:
            raise ValueError("max_in_flight and max_batch_bytes must be 1 or more")
        self._queue: FairQueue[K] = FairQueue(
            {spec.name: spec.weight for spec in classes}, {spec.name: spec.rank for spec in classes}
        )
        self._floor = floor
        self._top = self._queue.keys_by_rank[0]
        self._order = make_order(mode, self._queue, floor)
        self._mode = Mode(mode)
        self._max_in_flight = max_in_flight
        self._max_batch_bytes = max_batch_bytes
        self._lanes: dict[K, _Lane[K, P, R]] = {
            spec.name: _Lane(spec, BatchSize(batch_seconds, max_batch_records)) for spec in classes
        }
        self._window = ShareWindow(self._lanes, SHARE_WINDOW_SECONDS)
        self._in_flight = 0
        self._guard: AgeGuard[K, P] | None = None
        self._clock = clock
        if age_limits:
            if clock is None:
                raise ValueError("the age guard needs a clock")
            if unknown := [key for key in age_limits if key not in self._lanes]:
                raise ValueError(f"there is no class {', '.join(map(str, unknown))} to guard")
            self._guard = AgeGuard(age_limits, self._queue.keys_by_rank[0], guard_share)

    def __len__(self) -> int:
        """Records that wait, over all classes."""
        return sum(len(lane.buffer) for lane in self._lanes.values())

    @property
    def mode(self) -> Mode:
        """The order in which classes are served."""
        return self._mode

    @property
    def virtual_time(self) -> float:
        """Start tag of the latest choice; see `FairQueue.virtual_time`."""
        return self._queue.virtual_time

    @property
    def guard(self) -> AgeGuard[K, P] | None:
        """The age guard, to be asked; None without age limits."""
        return self._guard

    @property
    def in_flight(self) -> int:
        """Batches in service that are not parked."""
        return self._in_flight

    def buffer(self, priority_class: K) -> ClassBuffer[P, R]:
        """The buffer of a class, to be asked. Only the scheduler may change it."""
        return self._lanes[priority_class].buffer

    def wanted(self, priority_class: K) -> list[P]:
        """The partitions of ``priority_class`` to fetch now; see `ClassBuffer.wanted`."""
        return self._lanes[priority_class].buffer.wanted()

    def assign(self, priority_class: K, partitions: Iterable[P]) -> None:
        """Accept records of ``partitions`` for ``priority_class``, besides those assigned before."""
        self._lanes[priority_class].buffer.assign(partitions)

    def revoke(self, priority_class: K, partitions: Iterable[P]) -> None:
        """Forget ``partitions`` and what they hold. A batch in service stays so until it is `done`."""
        lane = self._lanes[priority_class]
        lane.buffer.revoke(partitions)
        self._refresh(lane)

    def add(self, priority_class: K, partition: P, records: Sequence[R], nbytes: int) -> bool:
        """Append fetched records; see `ClassBuffer.add`. False when the partition is not assigned."""
        lane = self._lanes[priority_class]
        now = 0.0 if self._guard is None or self._clock is None else self._clock()
        kept = lane.buffer.add(partition, records, nbytes, now)
        if kept and not self._queue.is_ready(priority_class):
            self._refresh(lane)
        return kept

    def first(self) -> K | None:
        """The most urgent class that has a record to serve, whatever its share; None when there is none."""
        return self._queue.first()

    def next(self) -> Dispatch[K, P, R] | None:
        """The batch to serve next; None when all slots are taken or no record can be served."""
        if self._in_flight >= self._max_in_flight:
            return None
        due = self._overdue()
        priority_class = self._order.pick() if due is None else due[0]
        if priority_class is None:
            return None
        return self._dispatch(priority_class, None if due is None else due[1], guarded=due is not None)

    def may_interrupt(self) -> bool:
        """Whether `interrupting` has a batch, as soon as there is a record of the most urgent class."""
        return self._order.goes_before(self._top)

    def interrupting(self) -> Dispatch[K, P, R] | None:
        """A batch of the most urgent class, to be served in the middle of one of another class; else None.

        It needs no free slot. There is one when the order would have chosen the class before that other, had
        its records been there by then. So it is served earlier, and nobody gets more or less: in weighted
        mode, by its charge it is behind the other, until that is done.
        """
        if not self._queue.is_ready(self._top) or not self.may_interrupt():
            return None
        self._queue.dispatch(self._top, in_turn=False)
        return self._dispatch(self._top)

    def _dispatch(
        self, priority_class: K, partition: P | None = None, *, guarded: bool = False
    ) -> Dispatch[K, P, R]:
        queue = self._queue
        lane = self._lanes[priority_class]
        buffer = lane.buffer
        partition, records, nbytes = buffer.take(
            lane.size.limit, self._max_batch_bytes, hold=True, partition=partition
        )
        self._in_flight += 1
        lane.records += len(records)
        if not buffer.ready:
            if len(buffer):
                queue.suspend(priority_class)
            else:
                queue.deactivate(priority_class)
        return Dispatch(
            priority_class, partition, records, nbytes, queue.guess(priority_class), guarded=guarded
        )

    def _overdue(self) -> tuple[K, P] | None:
        guard = self._guard
        if guard is None or self._clock is None:
            return None
        return guard.pick(
            self._clock(),
            self._queue.is_ready,
            lambda priority_class: self._lanes[priority_class].buffer.oldest(),
        )

    def done(self, dispatch: Dispatch[K, P, R], service_seconds: float) -> None:
        """Free the slot of a batch and charge its class, also when its partition has been revoked meanwhile.

        Args:
            dispatch: from `next`.
            service_seconds: time it took, from dispatch to the end, but for what it was parked, 0 or more.

        Raises:
            ValueError: done before, or a time that is not 0 or more; nothing changes.
        """
        guess = dispatch.token
        if guess is None:
            raise ValueError("this dispatch is done already")
        if not service_seconds >= 0:
            raise ValueError(f"the service time must be 0 or more, not {service_seconds!r}")
        dispatch.token = None
        self.resume(dispatch)
        priority_class = dispatch.priority_class
        lane = self._lanes[priority_class]
        self._in_flight -= 1
        lane.service_seconds += service_seconds
        lane.size.learn(len(dispatch.records), service_seconds)
        self._window.add(priority_class, service_seconds)
        if self._guard is not None:
            self._guard.finish(service_seconds, guarded=dispatch.guarded)
        if not dispatch.guarded:
            self._order.finish(priority_class, guess, service_seconds)
        lane.buffer.release(dispatch.partition)
        if not self._queue.is_ready(priority_class) and lane.buffer.ready:
            self._refresh(lane)

    def park(self, dispatch: Dispatch[K, P, R]) -> None:
        """Take the slot from a batch in service that waits for something outside, and serve other classes.

        No effect on one that is parked or done.
        """
        if dispatch.parked or dispatch.token is None:
            return
        dispatch.parked = True
        self._in_flight -= 1
        lane = self._lanes[dispatch.priority_class]
        lane.parked += 1
        self._refresh(lane)

    def resume(self, dispatch: Dispatch[K, P, R]) -> None:
        """Give a parked batch a slot again, besides those that were taken meanwhile; else no effect."""
        if not dispatch.parked:
            return
        dispatch.parked = False
        self._in_flight += 1
        lane = self._lanes[dispatch.priority_class]
        lane.parked -= 1
        self._refresh(lane)

    def set_weights(self, weights: Mapping[K, float]) -> None:
        """Change weights of some or all classes, at once; see `FairQueue.set_weights`."""
        self._queue.set_weights(weights)

    def set_mode(self, mode: Mode | str) -> None:
        """Change the order at once; nobody carries a debt or credit over.

        Raises:
            ValueError: an unknown mode; nothing changes.
        """
        order = make_order(mode, self._queue, self._floor)
        if Mode(mode) is not self._mode:
            self._queue.level()
            self._order = order
            self._mode = Mode(mode)

    def snapshot(self) -> dict[K, ClassSnapshot[K]]:
        """What every class has and gets now."""
        weights = self._queue.weights
        return {
            name: ClassSnapshot(
                name=name,
                weight=weights[name],
                configured_share=self._queue.share(name),
                achieved_share=self._window.share(name),
                buffered_records=len(lane.buffer),
                buffered_bytes=lane.buffer.buffered_bytes,
                dispatched_records=lane.records,
                service_seconds=lane.service_seconds,
                virtual_time=self._queue.start_tag(name),
            )
            for name, lane in self._lanes.items()
        }

    def _refresh(self, lane: _Lane[K, P, R]) -> None:
        """Tell the queue whether the class is backlogged, and whether it can be served."""
        queue = self._queue
        if not len(lane.buffer):
            queue.deactivate(lane.name)
            return
        queue.activate(lane.name)
        if lane.buffer.ready and not lane.parked:
            queue.resume(lane.name)
        else:
            queue.suspend(lane.name)
