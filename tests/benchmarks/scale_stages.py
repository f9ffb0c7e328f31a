"""What each structure of Tocsin needs in a fleet, as a part of what there is. Pure.

The stages know how Tocsin is built: who sends what to whom, and what is kept where. A stage's load is what it
needs over what there is: above 1, it breaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from streams.settings import Settings
from tables.buckets import FINE, HOUR, MINUTE, RETENTION_S
from tests.benchmarks.scale_fleet import PRIORITIES, Costs, Fleet, distinct_types

#: A worker's own threads share one interpreter, so this is all the processor time that it has.
CORES: Final = 1.0
#: Part of it that may be spent on other things than reading and counting records.
OVERHEAD_CORES: Final = 0.3
MEMORY_BYTES: Final = 2 * 2**30
#: Largest record that Tocsin's topics take, and that Kafka's own topic of groups takes.
ROW_BYTES: Final = 8 * 2**20
GROUP_BYTES: Final = 2**20
#: What one network interface of a broker sends, and the brokers of a cluster for it.
BROKER_BYTES_PER_S: Final = 1.25e9
BROKERS: Final = 30
REBALANCE_S: Final = 30.0
_TYPES: Final[int] = Settings.model_fields["max_event_types"].default


@dataclass(frozen=True, slots=True)
class Stage:
    """One structure: how its need grows, and what to change when it breaks.

    Attributes:
        name: for the table.
        grows: with what, in words.
        need: a function from costs and fleet to what is needed.
        limit: what there is.
        unit: of both.
        change: what to change when the need is above the limit.
    """

    name: str
    grows: str
    need: Callable[[Costs, Fleet], float]
    limit: float
    unit: str
    change: str

    def load(self, costs: Costs, fleet: Fleet) -> float:
        """Need over limit."""
        return self.need(costs, fleet) / self.limit


def _count(costs: Costs, fleet: Fleet) -> float:
    return fleet.busiest * PRIORITIES * fleet.per_source * costs.record_us / 1e6


def _flush(costs: Costs, fleet: Fleet) -> float:
    # A row holds its whole bucket, on average half of it, however little of it has changed.
    entries = max(fleet.distinct(fleet.flush_s), fleet.distinct(FINE / 2))
    sources = fleet.busiest * PRIORITIES
    return sources * (entries * costs.entry_us + costs.row_us) / fleet.flush_s / 1e6


def _changelog(costs: Costs, fleet: Fleet) -> float:
    sources = fleet.partitions * PRIORITIES
    return sources * fleet.distinct(FINE / 2) * costs.entry_bytes / fleet.flush_s


def _messages(costs: Costs, fleet: Fleet) -> float:
    # A worker sends one message to every slice that it has anything for; its slices get one of each worker.
    entries = fleet.busiest * PRIORITIES * fleet.distinct(fleet.flush_s)
    sent = fleet.partitions * -math.expm1(-entries / fleet.partitions)
    received = fleet.busiest * fleet.workers * -math.expm1(-entries / fleet.partitions)
    return (sent + received) * costs.message_us / fleet.flush_s / 1e6


def _combine(costs: Costs, fleet: Fleet) -> float:
    all_entries = fleet.partitions * PRIORITIES * fleet.distinct(fleet.flush_s) / fleet.flush_s
    return all_entries * fleet.busiest / fleet.partitions * costs.combine_us / 1e6


def _sources_of_a_type(fleet: Fleet) -> float:
    """Sources that have one event type in one bucket, on average."""
    return fleet.partitions * fleet.distinct(FINE) / max(1.0, fleet.types_per_priority)


def _combined_rows(costs: Costs, fleet: Fleet) -> float:
    types = fleet.types_per_priority * fleet.busiest / fleet.partitions
    return PRIORITIES * types * _sources_of_a_type(fleet) * costs.sum_us / fleet.flush_s / 1e6


def _combined_base(costs: Costs, fleet: Fleet) -> float:
    # The totals of a slice name every source that ever had an event type: in time, all of them.
    return fleet.event_types / fleet.partitions * fleet.partitions * costs.source_bytes


def _source_base(costs: Costs, fleet: Fleet) -> float:
    return min(fleet.types_per_priority, _TYPES) * costs.entry_bytes


def _cap(_costs: Costs, fleet: Fleet) -> float:
    return fleet.types_per_priority


def _public_entries(fleet: Fleet) -> float:
    """Event types in public rows, a second, of the whole cluster."""
    seen = distinct_types(round(fleet.event_types), fleet.records_per_s * FINE / 2)
    return seen / fleet.flush_s


def _reader(costs: Costs, fleet: Fleet) -> float:
    rows = fleet.partitions * PRIORITIES / fleet.flush_s
    return (_public_entries(fleet) * costs.total_us + rows * costs.message_us / 4) / 1e6


def _egress(costs: Costs, fleet: Fleet) -> float:
    # Counts and totals of each.
    return fleet.workers * _public_entries(fleet) * 2 * costs.entry_bytes


def _totals_memory(costs: Costs, fleet: Fleet) -> float:
    per_bucket = [
        distinct_types(round(fleet.event_types), fleet.records_per_s * r) for r in (FINE, MINUTE, HOUR)
    ]
    kept = [(RETENTION_S[r] + 2 * HOUR) // r for r in (FINE, MINUTE, HOUR)]  # as Totals.expire does
    content = sum(n * types for n, types in zip(kept, per_bucket, strict=True)) * costs.entry_bytes
    # A type's slice decides which rows there are: no more rows than entries.
    slices = min(fleet.partitions * PRIORITIES, fleet.event_types)
    return content + sum(kept) * slices * costs.stored_row_bytes


def _web(costs: Costs, fleet: Fleet) -> float:
    # A page keeps sums of every window: each new bucket is added to them, and each old one taken off.
    return 2 * 5 * fleet.event_types * costs.total_us / FINE / 1e6


def _group(costs: Costs, fleet: Fleet) -> float:
    return fleet.workers**2 * costs.host_bytes


def rebalance_s(costs: Costs, fleet: Fleet) -> float:
    """Seconds in which nobody reads."""
    # Rows of the open minutes and hours, and the base row, of every source taken over; eager, so of all.
    rows = fleet.busiest * (PRIORITIES * 60 + 60)
    exchange = fleet.workers**2 * costs.host_bytes * 2 / 1e8
    return 5.0 + rows * costs.open_us / 1e6 + exchange


def _ingress(costs: Costs, fleet: Fleet) -> float:
    return fleet.records_per_s * costs.record_bytes * 3


STAGES: Final = (
    Stage(
        "fetch, decode, count",
        "records/s / workers",
        _count,
        CORES - OVERHEAD_CORES,
        "cores",
        "more partitions and workers; a process a core",
    ),
    Stage(
        "flush of source rows",
        "sources a worker x event types a source meets in 10 s",
        _flush,
        OVERHEAD_CORES,
        "cores",
        "flush less often than each second, or write what changed in a bucket and not the whole bucket",
    ),
    Stage(
        "changelog of source rows",
        "partitions x event types",
        _changelog,
        BROKERS * BROKER_BYTES_PER_S / 4,
        "B/s",
        "the same as for the flush",
    ),
    Stage(
        "totals row of a source",
        "event types",
        _source_base,
        ROW_BYTES,
        "B",
        "split the row by slice of the event types",
    ),
    Stage(
        "cap of event types a source",
        "event types",
        _cap,
        _TYPES,
        "event types",
        "raise TOCSIN_MAX_EVENT_TYPES; beyond it they are counted as (other event types)",
    ),
    Stage(
        "partial-count messages",
        "workers + partitions, in each worker; workers x partitions in all",
        _messages,
        OVERHEAD_CORES,
        "cores",
        "fewer slices than partitions (as many as combiners are needed), or combine in two steps",
    ),
    Stage(
        "combining",
        "sources x event types / workers",
        _combine,
        OVERHEAD_CORES,
        "cores",
        "combine in two steps: within a worker first",
    ),
    Stage(
        "combined rows",
        "event types x sources / workers",
        _combined_rows,
        OVERHEAD_CORES,
        "cores",
        "combine in two steps, so that a row names workers or groups and not sources",
    ),
    Stage(
        "totals row of a slice",
        "event types a slice x sources",
        _combined_base,
        ROW_BYTES,
        "B",
        "split the row, one part for each range of sources, or combine in two steps",
    ),
    Stage(
        "totals reader, every worker",
        "event types x publications/s",
        _reader,
        OVERHEAD_CORES,
        "cores",
        "publish each 10 s, and let only a few workers (those with web views) read",
    ),
    Stage(
        "event-counts to all readers",
        "workers x event types",
        _egress,
        BROKERS * BROKER_BYTES_PER_S / 4,
        "B/s",
        "let only a few workers read it",
    ),
    Stage(
        "totals in memory, every worker",
        "event types x buckets kept, and slices x buckets kept",
        _totals_memory,
        MEMORY_BYTES,
        "B",
        "let only a few workers hold them, keep coarse buckets on disk, name event types by number",
    ),
    Stage(
        "web views", "event types x windows", _web, OVERHEAD_CORES, "cores", "views on workers of their own"
    ),
    Stage(
        "group metadata",
        "workers²",
        _group,
        GROUP_BYTES,
        "B",
        "leave table routing out of Faust's group metadata (every member carries every host's partitions), "
        "then it grows with workers alone",
    ),
    Stage(
        "rebalance",
        "partitions a worker; workers² with Faust's metadata",
        rebalance_s,
        REBALANCE_S,
        "s",
        "static membership, a cooperative protocol, several groups",
    ),
    Stage(
        "records into the brokers",
        "records/s",
        _ingress,
        BROKERS * BROKER_BYTES_PER_S / 2,
        "B/s",
        "more brokers",
    ),
)


def loads(costs: Costs, fleet: Fleet, stages: tuple[Stage, ...] = STAGES) -> dict[str, float]:
    """Load of every stage."""
    return {stage.name: stage.load(costs, fleet) for stage in stages}


def between(start: Fleet, end: Fleet, part: float) -> Fleet:
    """The fleet on the way from one to the other, growing by equal factors; ``part`` from 0 to 1."""

    def at(low: float, high: float) -> float:
        return float(low * (high / low) ** part)

    return replace(
        start,
        records_per_s=at(start.records_per_s, end.records_per_s),
        event_types=at(start.event_types, end.event_types),
        workers=at(start.workers, end.workers),
        partitions=at(start.partitions, end.partitions),
    )


def breaks_at(stage: Stage, costs: Costs, start: Fleet, end: Fleet, steps: int = 100) -> float | None:
    """How far on the way from ``start`` to ``end`` a stage breaks, 0 to 1; None when it does not."""
    for step in range(steps + 1):
        if stage.load(costs, between(start, end, step / steps)) > 1:
            return step / steps
    return None


def in_order_of_breaking(
    costs: Costs, start: Fleet, end: Fleet, stages: tuple[Stage, ...] = STAGES
) -> list[tuple[Stage, float]]:
    """The stages that break on the way, the first one first."""
    found = [(stage, breaks_at(stage, costs, start, end)) for stage in stages]
    return sorted(((stage, at) for stage, at in found if at is not None), key=lambda each: each[1])
