"""Every metric of a worker, as data: name, type, help, labels, and where its values come from.

Labels have few values, all known beforehand: priorities, reasons, names of repairs. An event type is never
a label, because publishers choose it: there may be any number of them. Counters begin at 0 with the
process, and every series is there before its first increase, so that the increase shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, get_args

from streams import __version__
from streams.notifications.notification import Reason, Repair
from streams.notifications.priority import Priority
from streams.notifications.record_time import RecordTime
from streams.settings import ModeName
from tables.feeds import PING_RESULTS
from tables.views.healthz import ask
from tables.views.metric_kinds import MetricDef, Sample, Scrape, one
from tables.views.sources import Sources, WebStats
from tables.views.upkeep_metric_defs import UPKEEP_METRICS
from tables.views.worker_stats import TimeSkew

if TYPE_CHECKING:
    from streams.transport.class_traffic import ClassTraffic


def _by_priority(counts: Callable[[Sources], Mapping[Priority, int]]) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda scrape: [
        ((priority.value,), counts(scrape.sources).get(priority, 0))
        for priority in scrape.sources.settings.priorities
    ]


def _by_skew(value: Callable[[TimeSkew], float]) -> Callable[[Scrape], Iterable[Sample]]:
    def values(scrape: Scrape) -> Iterable[Sample]:
        found = scrape.sources.stats.skew
        for priority in scrape.sources.settings.priorities:
            yield (priority.value,), value(found[priority]) if priority in found else 0.0

    return values


def _by_class(value: Callable[[ClassTraffic], float]) -> Callable[[Scrape], Iterable[Sample]]:
    return lambda scrape: [((priority.value,), value(state)) for priority, state in scrape.classes.items()]


def _web(value: Callable[[WebStats], int]) -> Callable[[Scrape], Iterable[Sample]]:
    return one(lambda sources: 0 if sources.web is None else value(sources.web))


def _mode(sources: Sources) -> str:
    profile = sources.scheduler.profile
    return (sources.settings if profile is None else profile.settings).effective_mode


def _changes(sources: Sources) -> Mapping[str, int]:
    profile = sources.scheduler.profile
    changes = {} if profile is None else profile.changes
    return {"settings": changes.get("settings", 0), "call": changes.get("call", 0)}


METRICS: Final = (
    # --- What became of records ------------------------------------------------------------
    MetricDef(
        "tocsin_records_counted_total",
        "counter",
        "Records of notification topics that this worker counted, dead letters included; "
        "records read again after a crash or rebalance count again here, never in the counts.",
        ("priority",),
        _by_priority(lambda s: s.stats.counted),
    ),
    MetricDef(
        "tocsin_records_forwarded_total",
        "counter",
        "Records forwarded to alert topics.",
        ("priority",),
        _by_priority(lambda s: s.stats.forwarded),
    ),
    MetricDef(
        "tocsin_dead_letters_total",
        "counter",
        "Records that could not be read and went to the dead-letter topic, by priority and reason.",
        ("priority", "reason"),
        lambda scrape: [
            ((priority.value, reason.value), scrape.sources.stats.dead_letters.get((priority, reason), 0))
            for priority in scrape.sources.settings.priorities
            for reason in Reason
        ],
    ),
    MetricDef(
        "tocsin_repairs_total",
        "counter",
        "Untidy things that were put right in notifications, by name of the repair.",
        ("repair",),
        lambda scrape: [((repair.value,), scrape.sources.stats.repairs.get(repair, 0)) for repair in Repair],
    ),
    MetricDef(
        "tocsin_records_never_read_total",
        "counter",
        "Records that retention deleted before this worker had read them: they are in no count.",
        ("priority",),
        _by_priority(lambda s: s.stats.never_read),
    ),
    MetricDef(
        "tocsin_records_counted_and_lost_total",
        "counter",
        "Records that were counted, and that the brokers then lost with the end of a log: they stay counted.",
        ("priority",),
        _by_priority(lambda s: s.stats.counted_lost),
    ),
    MetricDef(
        "tocsin_time_replaced_total",
        "counter",
        "Records counted under the broker's time, because their own was too far from it.",
        (),
        one(lambda s: s.stats.time_replaced),
    ),
    MetricDef(
        "tocsin_record_times_total",
        "counter",
        "Records whose Kafka time is not the broker's, by what became of it: a publisher's, which was "
        "believed, or taken in another unit, or one that could not be used.",
        ("priority", "reason"),
        lambda scrape: [
            ((priority.value, kind.value), scrape.sources.stats.record_times.get((priority, kind), 0))
            for priority in scrape.sources.settings.priorities
            for kind in RecordTime
        ],
    ),
    MetricDef(
        "tocsin_records_late_total",
        "counter",
        "Records dated more than five minutes before their Kafka time: no window of five minutes shows them.",
        ("priority",),
        _by_priority(lambda s: s.stats.late),
    ),
    MetricDef(
        "tocsin_class_time_behind_seconds",
        "gauge",
        "How far notifications were dated before their Kafka time, at most, in the last minute or two.",
        ("priority",),
        _by_skew(lambda skew: skew.behind_s),
    ),
    MetricDef(
        "tocsin_class_time_ahead_seconds",
        "gauge",
        "How far notifications were dated after their Kafka time, at most, in the last minute or two.",
        ("priority",),
        _by_skew(lambda skew: skew.ahead_s),
    ),
    # --- Priority classes: what the scheduler gives them -----------------------------------
    MetricDef(
        "tocsin_class_weight",
        "gauge",
        "Weight of a priority class in the scheduler.",
        ("priority",),
        _by_class(lambda c: c.weight),
    ),
    MetricDef(
        "tocsin_class_share_configured_ratio",
        "gauge",
        "Share of the service time that a class is due while all classes have a backlog, from 0 to 1.",
        ("priority",),
        _by_class(lambda c: c.configured_share),
    ),
    MetricDef(
        "tocsin_class_share_achieved_ratio",
        "gauge",
        "Share of the service time that a class got lately, from 0 to 1.",
        ("priority",),
        _by_class(lambda c: c.achieved_share),
    ),
    MetricDef(
        "tocsin_class_buffered_records",
        "gauge",
        "Records fetched and waiting for the scheduler.",
        ("priority",),
        _by_class(lambda c: c.buffered_records),
    ),
    MetricDef(
        "tocsin_class_buffered_bytes",
        "gauge",
        "Bytes fetched and waiting for the scheduler.",
        ("priority",),
        _by_class(lambda c: c.buffered_bytes),
    ),
    # Alert on the age, not on the number: 1,000 records are nothing for DEBUG and a disaster for CRITICAL.
    MetricDef(
        "tocsin_class_lag_records",
        "gauge",
        "Records in the assigned partitions that were not yet handed to an agent.",
        ("priority",),
        _by_class(lambda c: c.lag_records),
    ),
    MetricDef(
        "tocsin_class_lag_seconds",
        "gauge",
        "Age of the oldest record that waits for the scheduler.",
        ("priority",),
        _by_class(lambda c: c.oldest_age_s),
    ),
    MetricDef(
        "tocsin_class_dispatched_records_total",
        "counter",
        "Records handed to agents.",
        ("priority",),
        _by_class(lambda c: c.dispatched_records),
    ),
    MetricDef(
        "tocsin_class_service_seconds_total",
        "counter",
        "Time that agents spent on the records of a class.",
        ("priority",),
        _by_class(lambda c: c.service_seconds),
    ),
    MetricDef(
        "tocsin_class_virtual_time_seconds",
        "gauge",
        "Start tag of a class's next batch: seconds of service per unit of weight.",
        ("priority",),
        _by_class(lambda c: c.virtual_time),
    ),
    MetricDef(
        "tocsin_scheduler_mode",
        "gauge",
        "1 for the order in which classes are served now, 0 for the others.",
        ("mode",),
        lambda scrape: [((mode,), float(mode == _mode(scrape.sources))) for mode in get_args(ModeName)],
    ),
    MetricDef(
        "tocsin_scheduler_changes_total",
        "counter",
        "Changes of weights or mode while the worker ran, by where they came from.",
        ("source",),
        lambda scrape: [((source,), count) for source, count in _changes(scrape.sources).items()],
    ),
    MetricDef(
        "tocsin_age_guard_dispatches_total",
        "counter",
        "Batches that the age guard served out of turn.",
        (),
        one(lambda s: 0 if s.scheduler.guard is None else s.scheduler.guard.dispatches),
    ),
    MetricDef(
        "tocsin_age_guard_service_seconds_total",
        "counter",
        "Time that agents spent on batches of the age guard.",
        (),
        one(lambda s: 0 if s.scheduler.guard is None else s.scheduler.guard.service_seconds),
    ),
    # --- Feeds -----------------------------------------------------------------------------
    MetricDef(
        "tocsin_hub_pings_total",
        "counter",
        "Times the WebSub hub was told of new entries of a feed, by what became of it: it took that, "
        "refused, or was not reached in time. The worker that has the first slice tells.",
        ("result",),
        lambda scrape: [((result,), scrape.sources.hub.results.get(result, 0)) for result in PING_RESULTS],
    ),
    MetricDef(
        "tocsin_hub_untold_seconds",
        "gauge",
        "Seconds for which the WebSub hub has not been told of an entry that there is; 0 while it knows all.",
        (),
        one(lambda s: s.hub.untold_s),
    ),
    # --- Readers of the web views -------------------------------------------------------------
    MetricDef(
        "tocsin_web_answers_total",
        "counter",
        "Answers of the counts by what was done for them: made, or kept from before.",
        ("how",),
        lambda scrape: [
            *((("made",), value) for _, value in _web(lambda w: w.answers_made)(scrape)),
            *((("kept",), value) for _, value in _web(lambda w: w.answers_used_again)(scrape)),
        ],
        of_web=True,
    ),
    MetricDef(
        "tocsin_web_live_clients",
        "gauge",
        "Readers of the live stream, and pages that are open.",
        (),
        _web(lambda w: w.live_clients),
        of_web=True,
    ),
    MetricDef(
        "tocsin_web_live_dropped_total",
        "counter",
        "Of those readers, the ones that were cut off because they were slow.",
        (),
        _web(lambda w: w.live_dropped),
        of_web=True,
    ),
    MetricDef(
        "tocsin_web_live_refused_total",
        "counter",
        "Of those readers, the ones that were refused because there were too many.",
        (),
        _web(lambda w: w.live_refused),
        of_web=True,
    ),
    MetricDef(
        "tocsin_web_changes_total",
        "counter",
        "Changes that were asked for on the web views, by what and by what became of them.",
        ("change", "outcome"),
        lambda scrape: [] if scrape.sources.web is None else [*scrape.sources.web.changes.items()],
        of_web=True,
    ),
    MetricDef(
        "tocsin_web_replayed_total",
        "counter",
        "Dead letters that were to be replayed from the web views, by what became of them.",
        ("outcome",),
        lambda scrape: (
            []
            if scrape.sources.web is None
            else [((outcome,), value) for outcome, value in scrape.sources.web.replayed.items()]
        ),
        of_web=True,
    ),
    # --- Health: the same as the health checks answer ----------------------------------------
    MetricDef(
        "tocsin_live",
        "gauge",
        "1 while /livez passes.",
        (),
        one(lambda s: ask(s.health.live).ok),
        of_web=True,
    ),
    MetricDef(
        "tocsin_ready",
        "gauge",
        "1 while /readyz passes.",
        (),
        one(lambda s: ask(s.health.ready).ok),
        of_web=True,
    ),
    MetricDef(
        "tocsin_started",
        "gauge",
        "1 once /startupz passes.",
        (),
        one(lambda s: ask(s.health.started).ok),
        of_web=True,
    ),
    MetricDef(
        "tocsin_build_info",
        "gauge",
        "Always 1; the label has the version.",
        ("version",),
        lambda _: [((__version__,), 1)],
        of_web=True,
    ),
    *UPKEEP_METRICS,
)
