"""Costs of what workers do with counts, measured on the pure parts themselves; takes a second or two."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from faust.assignor.client_assignment import ClientAssignment, ClientMetadata

from tables.buckets import FINE
from tables.combined_counter import CombinedCounter
from tables.partials import cut, decode, encode, make_slicer
from tables.public_rows import encode_key, encode_value
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter
from tables.totals import Totals
from tests.benchmarks.aged_state import MemoryStore
from tests.benchmarks.measure import median_and_spread
from tests.benchmarks.scale_fleet import Costs

_TYPES = 500
_SOURCES = 20
_REPEATS = 5
_NOW_S = 1_700_000_000
_TOPICS = (
    *(f"notifications.{name}" for name in ("critical", "error", "warn", "info", "debug")),
    *(f"tocsin-{name}" for name in ("partials", "partial-counts-changelog", "combined-counts-changelog")),
)


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = act()
    return 1e6 * (time.process_time() - began), result


def _source(number: int) -> str:
    return f"AAAAAAAAAAAAAAAAAAAAAA:{number}"


def _measured_once(types: list[str]) -> dict[str, float]:
    bucket = _NOW_S - _NOW_S % FINE
    flush_us = combine_us = row_bytes = 0.0
    combiner = CombinedCounter(VersionedRows(MemoryStore(), "w"), lateness_s=3600)
    slice_of = make_slicer(1)
    for number in range(_SOURCES):
        counter = SourceCounter(
            _source(number), VersionedRows(MemoryStore(), "w"), max_event_types=10_000, lateness_s=3600
        )
        for offset, event_type in enumerate(types):
            counter.add(offset, event_type, bucket, _NOW_S * 1000)

        def flush(counter: SourceCounter = counter) -> Any:
            planned = counter.flush(float(_NOW_S))
            assert planned is not None
            return planned, encode(cut("DEBUG", counter.source, planned.emission, slice_of).values())

        spent, (planned, messages) = _timed(flush)
        flush_us += spent
        row_bytes = len(planned.then[0][1] or b"")

        def combine(messages: list[bytes] = messages, number: int = number) -> None:
            for message in messages:
                for part in decode(message):
                    combiner.merge(
                        number, part.priority, part.source, part.buckets, part.totals, float(_NOW_S)
                    )

        combine_us += _timed(combine)[0]
    sum_us, combined = _timed(lambda: combiner.flush(float(_NOW_S)))
    public = [
        (encode_key(row.priority, row.resolution_s, row.bucket, 0), encode_value(row, _NOW_S * 1000))
        for row in combined.public
        if row.bucket is not None
    ]
    totals = Totals()
    total_us, _ = _timed(lambda: [totals.apply(key, value) for key, value in public])
    entries = _TYPES * _SOURCES
    return {
        "entry_us": flush_us / entries,
        "combine_us": combine_us / entries,
        "sum_us": sum_us / entries,
        "total_us": total_us / _TYPES,
        "entry_bytes": row_bytes / _TYPES,
        "source_bytes": len(combined.first[0][1] or b"") / entries,
    }


def host_bytes(hosts: int = 50, partitions_each: int = 1) -> float:
    """Bytes of one host in Faust's group metadata, as a member publishes it."""
    placed = {
        f"http://tocsin-{number}:1": {topic: list(range(partitions_each)) for topic in _TOPICS}
        for number in range(hosts)
    }
    changelogs = [topic for topic in _TOPICS if topic.endswith("changelog")]
    metadata = ClientMetadata(
        assignment=ClientAssignment(actives=placed["http://tocsin-0:1"], standbys={}),
        url="http://tocsin-0:1",
        changelog_distribution={h: {t: tps[t] for t in changelogs} for h, tps in placed.items()},
        external_topic_distribution={
            h: {t: p for t, p in tps.items() if t not in changelogs} for h, tps in placed.items()
        },
        topic_groups=dict.fromkeys(_TOPICS, 0),
    )
    return len(metadata.dumps()) / hosts


def measured(costs: Costs) -> Costs:
    """``costs`` with what can be measured here in their places."""
    types = [f"compute.instance.operation_{number:04d}.end" for number in range(_TYPES)]
    runs = [_measured_once(types) for _ in range(_REPEATS)]
    found = {name: median_and_spread(run[name] for run in runs)[0] for name in runs[0]}
    return replace(costs, host_bytes=host_bytes(), **found)


def newest_record_us(results: Path) -> tuple[float, str] | None:
    """Processor time a record from the newest growth benchmark, and its file; None when there is none."""
    for path in sorted(results.glob("growth-*.json"), reverse=True):
        for each in json.loads(path.read_text()).get("results", []):
            if each["dimension"] == "partitions" and each["value"] == 8:
                return median_and_spread(run["cpu_us"] for run in each["runs"])[0], path.name
    return None
