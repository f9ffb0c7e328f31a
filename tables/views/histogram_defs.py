"""The metrics that are histograms, as data; see `tables.views.metric_defs` for the others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from streams.notifications.priority import Priority
from tables.views.sources import Sources
from tables.views.worker_stats import Histogram


@dataclass(slots=True, frozen=True)
class HistogramDef:
    """One metric; units are seconds."""

    name: str
    help: str
    histograms: Callable[[Sources], Mapping[Priority, Histogram]]
    labels: tuple[str, ...] = ("priority",)
    type: Literal["histogram"] = "histogram"

    def family(self, sources: Sources) -> HistogramMetricFamily:
        """The metric, as of now."""
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        found = self.histograms(sources)
        for priority in sources.settings.priorities:
            if (histogram := found.get(priority)) is not None:
                family.add_metric((priority.value,), list(_buckets(histogram)), histogram.sum_s)
        return family


def _buckets(histogram: Histogram) -> Iterable[tuple[str, float]]:
    """Upper bound of each bucket, and how many lie in it or below."""
    bounds = [floatToGoString(bound) for bound in (*histogram.bounds_s, math.inf)]
    # A copy: the worker goes on counting.
    return zip(bounds, itertools.accumulate([*histogram.counts]), strict=True)


HISTOGRAMS: Final = (
    HistogramDef(
        "tocsin_publish_to_counted_seconds",
        "From the time of a record, the publisher's or the broker's as its topic has it, until it is "
        "counted; the next flush makes that durable and public.",
        lambda sources: sources.stats.counted_latencies,
    ),
    HistogramDef(
        "tocsin_publish_to_alert_seconds",
        "From the time of a record, likewise, until its alert is confirmed.",
        lambda sources: sources.stats.alerted_latencies,
    ),
)
