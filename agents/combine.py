"""Combine: the counts of all sources, summed per event type."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tables.combined_counter import CombinedCounter
from tables.partials import decode

log = logging.getLogger(__name__)


async def run_combine(
    stream: Any,
    counters: Callable[[int], CombinedCounter],
    clock: Callable[[], float],
    failed: Callable[[BaseException], None],
) -> None:
    """The body of the Faust agent of the partials topic.

    Args:
        stream: of messages that ingest agents sent.
        counters: a function from an assigned partition to its combiner.
        clock: wall-clock time in seconds.
        failed: called with an error after which no later offset may be committed.
    """
    async for event in stream.events():
        message = event.message
        try:
            parts = decode(message.value)
        except (ValueError, TypeError, KeyError) as error:
            # Only Tocsin writes here, cumulatively: the next message of the same sources says it all again.
            log.error(  # noqa: TRY400 - the reason is in the line
                "Left out message %d/%d of partial counts: %s", message.partition, message.offset, error
            )
            parts = []
        try:
            counter = counters(message.partition)
            now_s = clock()
            for part in parts:
                counter.merge(message.offset, part.priority, part.source, part.buckets, part.totals, now_s)
            counter.processed = max(counter.processed, message.offset)
        except Exception as error:
            failed(error)
            raise
