"""What a metric is, and what a scrape reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from streams.notifications.priority import Priority
from tables.views.sources import Sources
from tables.views.worker_stats import StoreSize

if TYPE_CHECKING:
    from streams.transport.class_traffic import ClassTraffic

#: Values of the labels, and the value.
Sample = tuple[tuple[str, ...], float]


@dataclass(slots=True)
class Scrape:
    """What one scrape reads; the scheduler and the stores are asked once for all metrics."""

    sources: Sources
    classes: Mapping[Priority, ClassTraffic]
    stores: Mapping[str, StoreSize]


@dataclass(slots=True, frozen=True)
class MetricDef:
    """One metric. The name of a counter ends in ``_total``; units are seconds, bytes and ratios of 1."""

    name: str
    type: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    values: Callable[[Scrape], Iterable[Sample]]
    #: Whether ``tocsin web`` has it, too.
    of_web: bool = False


def one(value: Callable[[Sources], float]) -> Callable[[Scrape], Iterable[Sample]]:
    """The values of a metric that has no labels."""
    return lambda scrape: [((), float(value(scrape.sources)))]
