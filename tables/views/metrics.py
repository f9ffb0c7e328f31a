"""``/metrics`` in Prometheus' formats. Values are read when they are asked for; nothing is kept twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from tables.views.access import METRICS_ROUTE
from tables.views.metric_defs import METRICS, Scrape
from tables.views.sources import Sources


class WorkerCollector:
    """Collects what ``METRICS`` defines."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> list[Any]:
        """Nothing: the worker is not asked when this is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """All metrics, as of now."""
        scrape = Scrape(self._sources, self._sources.scheduler.snapshot())
        for metric in METRICS:
            family_of = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
            family = family_of(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.values(scrape):
                family.add_metric(labels, value)
            yield family


def make_registry(sources: Sources) -> CollectorRegistry:
    """A registry of the worker's metrics, and those of its process (CPU, memory, files)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkerCollector(sources))
    ProcessCollector(registry=registry)
    return registry


def add_metrics(router: web.UrlDispatcher, registry: CollectorRegistry) -> None:
    """Add the route."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    router.add_get("/metrics", metrics, name=METRICS_ROUTE)
