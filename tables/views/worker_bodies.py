"""What ``/api/v1/workers`` answers, as types; see ``bodies``."""

from __future__ import annotations

import msgspec

from tables.fleet.memory import Member
from tables.fleet.state import ClassState
from tables.fleet.totals import ClassTotals, order_of
from tables.views.bodies import BufferedBody, LagBody, StateOfCounts, Time
from tables.views.times import rfc3339


class DueBody(msgspec.Struct, frozen=True):
    """Share of the service time, from 0 to 1: that is due, and that was got lately."""

    configured: float
    achieved: float


class WorkerClassBody(msgspec.Struct, frozen=True):
    """What a priority has and gets: counts since the start, rates of the last seconds.

    ``weight`` is null over several workers, of which each has its own.
    """

    priority: str
    workers: int
    weight: float | None
    share: DueBody
    lag: LagBody
    buffered: BufferedBody
    counted: int
    counted_per_s: float
    forwarded: int
    forwarded_per_s: float
    service_per_s: float


class PartitionsBody(msgspec.Struct, frozen=True):
    """Partitions of a topic that are in one state; ``more`` are not listed."""

    topic: str
    priority: str | None
    state: str
    numbers: list[int]
    more: int


class WorkerDeadLettersBody(msgspec.Struct, frozen=True):
    """Dead letters since the start; ``bytes`` of their values, null where a worker does not say it."""

    priority: str
    reason: str
    count: int
    bytes: int | None


class WorkerBody(msgspec.Struct, frozen=True):
    """A worker, as it says of itself. ``heard`` says whether that was within the last 15 seconds."""

    id: str
    heard: bool
    written: Time | None
    since: Time | None
    version: str
    host: str
    pool: str
    ready: bool
    reasons: list[str]
    mode: str
    profile: str
    loop_lag_seconds: float
    clock_ahead_seconds: float
    flush_seconds: float
    event_types: int
    rebalances: int
    classes: list[WorkerClassBody]
    partitions: list[PartitionsBody]
    dead_letters: list[WorkerDeadLettersBody]
    repairs: dict[str, int]


class WorkersBody(StateOfCounts, frozen=True):
    """All workers, and in ``classes``, ``dead_letters`` and ``repairs`` the sums of those heard from.

    ``trouble`` says why not all workers may be here; ``left_out`` counts rows that could not be read, by why.
    """

    trouble: str | None
    left_out: dict[str, int]
    classes: list[WorkerClassBody]
    dead_letters: list[WorkerDeadLettersBody]
    repairs: dict[str, int]
    workers: list[WorkerBody]


def class_body(priority: str, found: ClassState | ClassTotals) -> WorkerClassBody:
    """A priority on one worker, or on all of them."""
    return WorkerClassBody(
        priority=priority,
        workers=1 if isinstance(found, ClassState) else found.workers,
        weight=found.weight if isinstance(found, ClassState) else None,
        share=DueBody(found.configured_share, found.achieved_share),
        lag=LagBody(found.lag_records, found.oldest_age_s),
        buffered=BufferedBody(found.buffered_records, found.buffered_bytes),
        counted=found.counted,
        counted_per_s=found.counted_per_s,
        forwarded=found.forwarded,
        forwarded_per_s=found.forwarded_per_s,
        service_per_s=found.service_per_s,
    )


def worker_body(member: Member) -> WorkerBody:
    """A worker."""
    state = member.state
    return WorkerBody(
        id=member.id,
        heard=member.heard,
        written=rfc3339(member.written_s),
        since=rfc3339(state.since_s),
        version=state.version,
        host=state.host,
        pool=state.pool or "main",
        ready=state.ready,
        reasons=state.reasons,
        mode=state.mode,
        profile=state.profile,
        loop_lag_seconds=state.loop_lag_s,
        clock_ahead_seconds=state.clock_ahead_s,
        flush_seconds=state.flush_s,
        event_types=state.event_types,
        rebalances=state.rebalances,
        classes=[
            class_body(priority, state.classes[priority]) for priority in sorted(state.classes, key=order_of)
        ],
        partitions=[
            PartitionsBody(each.topic, each.priority, each.state, each.numbers, each.more)
            for each in state.partitions
        ],
        dead_letters=[
            WorkerDeadLettersBody(each.priority, each.reason, each.count, each.bytes)
            for each in state.dead_letters
        ],
        repairs=state.repairs,
    )
