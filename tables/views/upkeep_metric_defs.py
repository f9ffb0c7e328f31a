"""Metrics of what keeps a worker going: flushes, commits, recovery, local state, Kafka, the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tables.views.metric_kinds import MetricDef, Sample, Scrape, one
from tables.views.worker_stats import StoreSize


def _by_table(value: Callable[[StoreSize], int]) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda scrape: [((table,), value(size)) for table, size in scrape.stores.items()]


UPKEEP_METRICS: Final = (
    # --- Counts: how they become durable and visible ---------------------------------------
    MetricDef(
        "tocsin_flush_seconds",
        "gauge",
        "Time that the last flush took, after which counts were durable.",
        (),
        one(lambda s: s.stats.flush_seconds),
    ),
    MetricDef("tocsin_flushes_total", "counter", "Flushes of counts.", (), one(lambda s: s.stats.flushes)),
    MetricDef(
        "tocsin_event_types",
        "gauge",
        "Pairs of event type and priority whose counts this worker adds up.",
        (),
        one(lambda s: s.stats.event_types),
    ),
    MetricDef(
        "tocsin_counts_as_of_timestamp_seconds",
        "gauge",
        "Time up to which this worker's view of all counts is current, since 1970; 0 before it is.",
        (),
        one(lambda s: s.counts.as_of),
        of_web=True,
    ),
    MetricDef(
        "tocsin_counts_complete",
        "gauge",
        "1 while this worker has read everything that was counted, but for the last seconds, else 0.",
        (),
        one(lambda s: s.counts.complete),
        of_web=True,
    ),
    # --- Kafka -----------------------------------------------------------------------------
    MetricDef(
        "tocsin_producer_retries_total",
        "counter",
        "Sends that were repeated because no broker confirmed them.",
        (),
        one(lambda s: s.stats.producer_retries),
    ),
    MetricDef(
        "tocsin_rebalances_total",
        "counter",
        "Rebalances that took this worker's partitions from it, or gave it others.",
        (),
        one(lambda s: s.stats.rebalances),
    ),
    MetricDef(
        "tocsin_clock_ahead_seconds",
        "gauge",
        "Seconds that this worker's clock is ahead of the brokers', less than 0 when behind; "
        "0 while they are less than a minute apart.",
        (),
        one(lambda s: s.stats.clock_ahead_s),
    ),
    # --- The event loop ---------------------------------------------------------------------
    MetricDef(
        "tocsin_stalls_total",
        "counter",
        "Times at which the event loop of this worker stood still for 50 ms or more: "
        "no processor was free, Python collected garbage, or some work took long.",
        ("cause",),
        lambda scrape: [((cause,), number) for cause, number in scrape.sources.stalls.counts.items()],
        of_web=True,
    ),
    MetricDef(
        "tocsin_stall_seconds_total",
        "counter",
        "How long the event loop stood still in those.",
        ("cause",),
        lambda scrape: [((cause,), seconds) for cause, seconds in scrape.sources.stalls.seconds.items()],
        of_web=True,
    ),
    # --- What keeps a worker going ------------------------------------------------------------
    MetricDef(
        "tocsin_commits_total",
        "counter",
        "Commits of offsets that the brokers confirmed.",
        (),
        one(lambda s: s.stats.commits),
    ),
    MetricDef(
        "tocsin_commit_seconds",
        "gauge",
        "Time that the last commit took.",
        (),
        one(lambda s: s.stats.commit_seconds),
    ),
    MetricDef(
        "tocsin_recovery_seconds",
        "gauge",
        "Time that the recovery of the tables takes, or took the last time.",
        (),
        one(lambda s: s.stats.recovery_seconds),
    ),
    MetricDef(
        "tocsin_recovery_left_records",
        "gauge",
        "Records of changelogs that recovery has still to read.",
        (),
        one(lambda s: s.stats.recovery_left),
    ),
    MetricDef(
        "tocsin_store_partitions",
        "gauge",
        "Local copies (RocksDB) of a table's partitions that are open.",
        ("table",),
        _by_table(lambda size: size.partitions),
    ),
    MetricDef(
        "tocsin_store_file_bytes",
        "gauge",
        "Size of their files.",
        ("table",),
        _by_table(lambda size: size.file_bytes),
    ),
    MetricDef(
        "tocsin_store_memory_bytes",
        "gauge",
        "Memory that they take for rows that are in no file yet, and for blocks that were read.",
        ("table",),
        _by_table(lambda size: size.memory_bytes),
    ),
    MetricDef(
        "tocsin_store_rows",
        "gauge",
        "About how many rows they have.",
        ("table",),
        _by_table(lambda size: size.rows),
    ),
    MetricDef(
        "tocsin_loop_lag_seconds",
        "gauge",
        "The longest that something had to wait for the event loop in the last ten to twenty seconds.",
        (),
        one(lambda s: s.stalls.lag_s),
        of_web=True,
    ),
)
