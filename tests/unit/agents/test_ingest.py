"""Ingest: when it tells the counter that a new period begins, however records come in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from agents.ingest import Ingest
from streams.notifications import Priority, encode
from streams.settings import load_settings
from streams.transport.batch import RecordBatch
from tables.forgetting import PERIOD_MS
from tables.reserved_types import OVERFLOW
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter

SETTINGS = load_settings(brokers="127.0.0.1:1")
NOW_MS = 1_700_000_000_000 // PERIOD_MS * PERIOD_MS
DAY_MS = 86_400_000


class Nothing:
    def scan(self, _start: bytes, _end: bytes) -> list[tuple[bytes, bytes]]:
        return []


class Nowhere:
    def send_now(self, *_: Any) -> bool:
        return True

    async def send(self, *_: Any) -> None:
        return


def record(offset: int, event_type: str, time_ms: int | None) -> Any:
    value = encode("p", event_type, Priority.INFO, {}, time_ms or NOW_MS, "1")
    return SimpleNamespace(
        offset=offset, value=value, timestamp=time_ms, timestamp_type=1, key=None, headers=()
    )


RECORDS = [
    *(record(offset, name, NOW_MS - 9 * DAY_MS) for offset, name in enumerate(["a", "b", "c"])),
    record(3, "late", NOW_MS - 2 * DAY_MS),  # within eight days of the others: there is no place
    record(4, "d", NOW_MS),  # first of its hour: a, b and c are forgotten before it
    record(5, "e", NOW_MS + 1),
    record(6, "late", NOW_MS - 1),
    record(7, "a", NOW_MS + 2),
]


async def counted(sizes: Sequence[int]) -> dict[str, int]:
    """The totals when the records come in batches of these sizes."""
    ingest = Ingest(SETTINGS, Nowhere())  # type: ignore[arg-type]
    rows = VersionedRows(Nothing(), "w")
    counter = SourceCounter("s:0", rows, max_event_types=3, lateness_s=3600, forget_s=8 * 86_400)
    start = 0
    for size in sizes:
        some = RECORDS[start : start + size]
        await ingest.handle(RecordBatch(Priority.INFO, "notifications.info", 0, some, None), counter)
        start += size
    assert counter.processed == RECORDS[-1].offset
    counter.flush(NOW_MS / 1000)
    assert counter.totals.forgotten == 1
    return dict(counter.totals.counts)


@pytest.mark.parametrize("sizes", [[8], [4, 4], [1] * 8, [3, 2, 3], [5, 3], [2, 6]])
def test_what_is_forgotten_does_not_depend_on_batches(sizes: list[int]) -> None:
    assert asyncio.run(counted(sizes)) == {OVERFLOW: 2, "d": 1, "e": 1, "late": 1}


def test_records_without_a_time_are_counted() -> None:
    async def count() -> SourceCounter:
        ingest = Ingest(SETTINGS, Nowhere())  # type: ignore[arg-type]
        counter = SourceCounter(
            "s:0", VersionedRows(Nothing(), "w"), max_event_types=3, lateness_s=3600, forget_s=8 * 86_400
        )
        some = [record(0, "a", None), record(1, "a", NOW_MS), record(2, "b", None)]
        await ingest.handle(RecordBatch(Priority.INFO, "notifications.info", 0, some, None), counter)
        counter.flush(NOW_MS / 1000)
        return counter

    assert asyncio.run(count()).totals.counts == {"a": 2, "b": 1}
