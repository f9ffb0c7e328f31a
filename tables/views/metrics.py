"""``/metrics`` in Prometheus' formats. Values are read when they are asked for; nothing is kept twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from tables.views.access import METRICS_ROUTE
from tables.views.answers import Answers
from tables.views.changes import CHANGE_OUTCOMES, CHANGES, REPLAY_OUTCOMES, Changes
from tables.views.histogram_defs import HISTOGRAMS
from tables.views.live_stream import LiveStream
from tables.views.metric_defs import METRICS
from tables.views.metric_kinds import Scrape
from tables.views.page_changes import PageChanges
from tables.views.reader_lane import ReaderLane
from tables.views.sources import Sources


class WorkerCollector:
    """Collects what ``METRICS`` and ``HISTOGRAMS`` define."""

    def __init__(self, sources: Sources, *, of_worker: bool = True) -> None:
        self._sources = sources
        self._histograms = HISTOGRAMS if of_worker else ()
        self._metrics = [metric for metric in METRICS if of_worker or metric.of_web]

    def describe(self) -> list[Any]:
        """Nothing: the worker is not asked when this is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """All metrics, as of now."""
        sources = self._sources
        scrape = Scrape(sources, sources.scheduler.snapshot(), sources.stats.stores())
        for metric in self._metrics:
            family_of = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = family_of(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.values(scrape):
                family.add_metric(labels, value)
            yield family
        for histogram in self._histograms:
            yield histogram.family(self._sources)


class WebStats:
    """What readers of the web views had."""

    def __init__(self, stream: LiveStream, pages: PageChanges, answers: Answers, changes: Changes) -> None:
        self._stream = stream
        self._pages = pages
        self._answers = answers
        self._changes = changes

    @property
    def live_clients(self) -> int:
        """Readers of the live stream, and pages that are open."""
        return self._stream.readers + self._pages.readers

    @property
    def live_dropped(self) -> int:
        """Those that were dropped."""
        return self._stream.dropped + self._pages.dropped

    @property
    def live_refused(self) -> int:
        """Those that were refused."""
        return self._stream.refused + self._pages.refused

    @property
    def answers_made(self) -> int:
        """Answers that were made."""
        return self._answers.made

    @property
    def answers_used_again(self) -> int:
        """Answers that were there already."""
        return self._answers.used_again

    @property
    def changes(self) -> Mapping[tuple[str, str], int]:
        """Changes that were asked for, by what and by what became of them."""
        counts = self._changes.counts
        return {
            (change, outcome): counts[change, outcome] for change in CHANGES for outcome in CHANGE_OUTCOMES
        }

    @property
    def replayed(self) -> Mapping[str, int]:
        """Dead letters that were to be replayed, by what became of them."""
        return {outcome: self._changes.replayed[outcome] for outcome in REPLAY_OUTCOMES}


def make_registry(sources: Sources, *, of_worker: bool = True) -> CollectorRegistry:
    """A registry of the metrics, and those of the process (CPU, memory, files).

    Args:
        sources: of their values.
        of_worker: whether those of a worker are among them, or only those that ``tocsin web`` has, too.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkerCollector(sources, of_worker=of_worker))
    ProcessCollector(registry=registry)
    return registry


#: What a whole answer ends with in the format of OpenMetrics.
_END: Final = b"# EOF\n"


class _One:
    """A registry of one metric, for a step of the work."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]


class Metrics:
    """Handler of the metrics.

    Args:
        registry: of what there is.
        lane: in which they are put together, a metric a step.
    """

    def __init__(self, registry: CollectorRegistry, lane: ReaderLane) -> None:
        self._registry = registry
        self._lane = lane

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_get("/metrics", self.metrics, name=METRICS_ROUTE)

    async def metrics(self, request: web.Request) -> web.Response:
        """All metrics, as of now."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        parts, end = [], b""
        async with self._lane.work() as pieces:
            for metric in self._registry.collect():
                part: bytes = encode(_One(metric))
                if part.endswith(_END):
                    end = _END
                parts.append(part.removesuffix(_END))
                await pieces.rest()
        return web.Response(body=b"".join(parts) + end, headers={"Content-Type": content_type})
