"""Combine: the counts of all sources, summed per event type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.flush_pace import FlushPace
from streams.log_lines import LimitedLog
from streams.records import PlacedRecord
from streams.transport.turns import let_others_pass
from tables.combined_counter import CombinedCounter
from tables.partials import decode

log = LimitedLog(__name__)


async def run_combine(
    stream: Any,
    counters: Callable[[int], CombinedCounter | None],
    clock: Callable[[], float],
    pace: FlushPace,
    failed: Callable[[BaseException], None],
) -> None:
    """The body of the Faust agent of the partials topic.

    Args:
        stream: of lists of records that ingest agents sent, each of one partition.
        counters: a function from partition to its combiner, or None when revoked.
        clock: wall-clock time in seconds.
        pace: of the flushes, which this is a part of.
        failed: called with an error after which no later offset may be committed.
    """
    async for records in stream:
        try:
            counter = counters(records[0].partition)
            if counter is not None:
                for record in records:
                    with pace:
                        _combine(record, counter, clock())
                    await let_others_pass()
        except Exception as error:
            failed(error)
            raise


def _combine(record: PlacedRecord, counter: CombinedCounter, now_s: float) -> None:
    try:
        parts = decode(record.value or b"")
    except (ValueError, TypeError, KeyError) as error:
        # Only Tocsin writes here: it is of a later release, and some other message will not say the same.
        log.warning(
            "Message %d/%d of partial counts cannot be read, and its sources will be asked again: %s",
            record.partition,
            record.offset,
            error,
        )
        counter.unread(now_s)
        parts = []
    if record.timestamp is not None:
        counter.reach(record.timestamp)
    for part in parts:
        counter.merge(
            record.offset,
            part.priority,
            part.source,
            part.buckets,
            part.totals,
            now_s,
            forgotten=part.forgotten,
            gone=part.gone,
        )
    counter.processed = max(counter.processed, record.offset)
