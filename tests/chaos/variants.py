"""Workers that are wrong on purpose: each leaves out one safeguard, and the suite shows what it is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from faust.types import TP

from agents.ingest import Ingest
from tables.durable_table import DurableTable
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter
from tocsin.worker import Worker


@dataclass(frozen=True)
class Variant:
    """A worker without one safeguard.

    Attributes:
        without: the safeguard.
        fault: the line of the suite that shows what it guards against.
        shows: the finding that must not be zero.
        install: changes the product's classes in the worker's process.
        settings: of its workers, where others would show it too seldom.
    """

    without: str
    fault: str
    shows: str
    install: Callable[[], None]
    settings: Mapping[str, str] = field(default_factory=dict)


def _no_replay_check() -> None:
    """Every record is applied, whatever offset its row is as of."""
    begin = SourceCounter.__init__

    def begin_and_trust(self: SourceCounter, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        self.replay_until = -1

    SourceCounter.__init__ = begin_and_trust  # type: ignore[method-assign]
    SourceCounter._is_counted = lambda self, offset, bucket: False  # type: ignore[method-assign]


def _no_emission_again() -> None:
    """What a repeated record touched, and did not change, is not sent on again."""
    add_again = SourceCounter._add_again

    def add_silently(self: SourceCounter, offset: int, event_type: str, bucket: int, seen_ms: int) -> None:
        row = self._fine.row(bucket)
        known = offset <= row.offset
        before, touched = (row.dirty, row.resend), set(self.totals.touched)
        add_again(self, offset, event_type, bucket, seen_ms)
        if known:
            (row.dirty, row.resend), self.totals.touched = before, touched

    SourceCounter._add_again = add_silently  # type: ignore[method-assign]


def _no_fencing() -> None:
    """All workers write the same keys, so that whoever writes last overwrites the others."""

    def rows(self: DurableTable, partition: int) -> VersionedRows:
        from streams.upstream.stores import TablePartition

        return VersionedRows(TablePartition(self._table, partition), "everybody")

    DurableTable.rows = rows  # type: ignore[method-assign]


def _commit_what_was_read() -> None:
    """Offsets are committed when their records were read, durable or not."""

    def committable(self: Worker) -> Mapping[TP, int]:
        return {tp: counter.processed + 1 for tp, counter in self.counting.sources().items()}

    Worker.committable = committable  # type: ignore[method-assign]


def _hang() -> None:
    """A handler that never returns once it meets the event type ``chaos.hang``."""
    handle = Ingest.handle

    async def hang(self: Ingest, batch: Any, counter: SourceCounter) -> None:
        if any(b'"chaos.hang"' in (record.value or b"") for record in batch.records):
            await asyncio.Event().wait()
        await handle(self, batch, counter)

    Ingest.handle = hang  # type: ignore[method-assign]


def _no_unpacking_limit() -> None:
    """Batches are unpacked by aiokafka, whatever they take."""
    from streams.upstream.lenient_records import _Batch

    _Batch.parsed = lambda self, _most: (islice(self._fast, None), 0)  # type: ignore[method-assign]


#: Name -> variant; the first four are safeguards.
VARIANTS: dict[str, Variant] = {
    "no-replay-check": Variant("the replay check", "kill-flush", "twice", _no_replay_check),
    "no-emission-again": Variant("re-emission after recovery", "kill-flush", "lost", _no_emission_again),
    "no-fencing": Variant("fencing", "sigstop", "lost", _no_fencing),
    # With the flushes of every day, most of what was committed early is durable before a kill comes.
    "commit-early": Variant(
        "the wait for durability before commits",
        "kill",
        "lost",
        _commit_what_was_read,
        {"flush_interval_s": "5"},
    ),
    # Shows in the memory of the workers, which is no finding of the checker.
    "no-unpacking-limit": Variant("the limit of unpacking", "poison", "", _no_unpacking_limit),
    "hang": Variant("a handler that returns", "hung-handler", "", _hang),
}
SAFEGUARDS = tuple(VARIANTS)[:4]
