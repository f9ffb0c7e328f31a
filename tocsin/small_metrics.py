"""What the metrics of the bridges and of the archiver share: values are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

#: Name, type, labels and meaning of a metric.
Metric = tuple[str, str, Sequence[str], str]
#: Name of a metric -> its values now, by those of its labels.
Values = Mapping[str, Callable[[], Mapping[tuple[str, ...], float]]]


class _Collector:
    def __init__(self, metrics: Sequence[Metric], values: Values) -> None:
        self._metrics = metrics
        self._values = values

    def describe(self) -> list[Any]:
        """Nothing: it is not asked when it is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """All metrics, as of now."""
        for name, kind, labels, meaning in self._metrics:
            family_of = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            family = family_of(name, meaning, labels=labels)
            for values, value in self._values[name]().items():
                family.add_metric(values, value)
            yield family


def registry_of(metrics: Sequence[Metric], values: Values) -> CollectorRegistry:
    """A registry of the metrics, and those of the process (CPU, memory, files)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(metrics, values))
    ProcessCollector(registry=registry)
    return registry
