"""The metrics of an archiver; values are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry

from streams.archive.archiver import Archiver
from streams.archive.files import ArchiveWriter
from tocsin.small_metrics import registry_of

#: Name, type, labels and meaning of each metric.
METRICS: Final = (
    (
        "tocsin_archive_records_total",
        "counter",
        (),
        "Records whose lines are on the disk.",
    ),
    ("tocsin_archive_bytes_total", "counter", (), "Bytes that were written to files, compressed."),
    (
        "tocsin_archive_missing_records_total",
        "counter",
        (),
        "Records that have a mark in their place: they were deleted before they were read, or are corrupt.",
    ),
    (
        "tocsin_archive_waiting_records",
        "gauge",
        ("priority",),
        "Records that lie in the topics of this archiver's share and were not read yet.",
    ),
    (
        "tocsin_archive_held_bytes",
        "gauge",
        (),
        "Bytes of lines that were read and are not on the disk yet, not compressed.",
    ),
    ("tocsin_archive_partitions", "gauge", (), "Partitions of this archiver's share."),
    ("tocsin_archive_ready", "gauge", (), "1 while /readyz passes."),
)


def make_registry(
    archiver: Callable[[], Archiver | None], writer: ArchiveWriter, ready: Callable[[], bool]
) -> CollectorRegistry:
    """A registry of the metrics, and those of the process (CPU, memory, files).

    Args:
        archiver: that there is; None before the brokers were reached.
        writer: of its files.
        ready: whether /readyz passes.
    """

    def of_archiver(value: Callable[[Archiver], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(): 0.0 if (there := archiver()) is None else value(there)}

    return registry_of(
        METRICS,
        {
            "tocsin_archive_records_total": of_archiver(lambda it: it.records),
            "tocsin_archive_bytes_total": lambda: {(): writer.written},
            "tocsin_archive_missing_records_total": of_archiver(lambda it: it.missing),
            "tocsin_archive_waiting_records": lambda: (
                {}
                if (there := archiver()) is None
                else {(priority.value,): number for priority, number in there.waiting().items()}
            ),
            "tocsin_archive_held_bytes": of_archiver(lambda it: it.held_bytes),
            "tocsin_archive_partitions": of_archiver(lambda it: it.partitions),
            "tocsin_archive_ready": lambda: {(): float(ready())},
        },
    )
