"""Counting runs of tidy records: what most records need, and no more. Pure.

A run ends where a record needs a closer look (see `streams.notifications.tidy`), which the caller then
takes. Made for speed: this loop is where a busy worker spends most of its time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from streams.notifications import Limits, Priority
from streams.notifications.tidy import NOT_TIDY, make_plain_check, make_tidy_readers
from streams.notifications.timestamps import make_timestamp_parser
from tables.buckets import FINE, FUTURE_S

_FINE_MS = FINE * 1000


@dataclass(slots=True)
class Run:
    """Counts of consecutive records.

    Attributes:
        end: index after the last record that is counted here.
        counts: start of the 10 s bucket -> event type -> records.
        seen: event type -> latest event time in milliseconds, in the order of arrival.
        time_replaced: records whose stated time lies too far from the broker's.
    """

    end: int
    counts: dict[int, dict[str, int]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    time_replaced: int = 0


class Tally:
    """Counts runs of records of one priority."""

    def __init__(self, priority: Priority, limits: Limits, lateness_ms: int) -> None:
        self._read, self._other = make_tidy_readers(priority)
        self._is_plain = make_plain_check(limits)
        self._parse_timestamp = make_timestamp_parser()
        self._lateness_ms = lateness_ms
        self._most_known = limits.remembered_event_types
        self._known: dict[str, str] = {}

    def learn(self, event_type: str) -> None:
        """Remember an event type as the full decoder returned it, without a repair, to be taken here."""
        if len(self._known) >= self._most_known:
            self._known.clear()
        self._known[event_type] = event_type

    def run(self, records: list[Any], first: int) -> Run:
        """Count the tidy records from index ``first`` on, up to one that is not."""
        read, known = self._read, self._known
        is_plain, parse, lateness_ms = self._is_plain, self._parse_timestamp, self._lateness_ms
        future_ms = FUTURE_S * 1000
        run = Run(first)
        all_counts, seen = run.counts, run.seen
        counts: dict[str, int] = {}
        begin_ms = end_ms = 0  # of the bucket that ``counts`` are of
        for record in islice(records, first, None):
            value = record.value
            try:
                tidy = read(value)
            except NOT_TIDY:
                if (tidy := self._read_otherwise(value)) is None:
                    break
                read = self._read
            event_type = known.get(tidy.event_type)
            if event_type is None or not is_plain(value):
                break
            event_ms, broker_ms = parse(tidy.timestamp), record.timestamp
            if event_ms is None or broker_ms is None:
                break
            # As in bucket_time_ms, which would cost a call and a tuple.
            replaced = broker_ms >= 0 and not broker_ms - lateness_ms <= event_ms <= broker_ms + future_ms
            if replaced:
                event_ms = broker_ms
            if not begin_ms <= event_ms < end_ms:
                if event_ms < 0:
                    break
                begin_ms = event_ms - event_ms % _FINE_MS
                end_ms = begin_ms + _FINE_MS
                counts = all_counts.setdefault(begin_ms // 1000, {})
            run.time_replaced += replaced
            counts[event_type] = counts.get(event_type, 0) + 1
            if event_ms > seen.get(event_type, -1):
                seen[event_type] = event_ms
            run.end += 1
        return run

    def _read_otherwise(self, value: bytes) -> Any:
        """Read a record in the other form, and expect that form from now on; None when it is not tidy."""
        try:
            tidy = self._other(value)
        except NOT_TIDY:
            return None
        self._read, self._other = self._other, self._read
        return tidy
