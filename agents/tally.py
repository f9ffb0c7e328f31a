"""Counting runs of tidy records: what most records need, and no more. Pure.

A run ends where a record needs a closer look (see `streams.notifications.tidy`), which the caller then
takes. Made for speed: this is where a busy worker spends most of its time. Batches whose records are all
alike (plain text, times of one layout, event types met before) are checked as a whole, by functions that
loop in C; all others record by record.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import attrgetter
from typing import Any, Final

from agents.skew import LATE_S, Skew
from streams.notifications import Limits, Priority, RecordTime, bucket_time_ms, record_time
from streams.notifications.alike_times import (
    in_order,
    latest,
    layout_of,
    milliseconds,
    of_one_prefix,
    prefixes_of,
)
from streams.notifications.record_time import BELOW_MS, CREATE_TIME, LEAST_MS
from streams.notifications.tidy import NOT_TIDY, Tidy, make_plain_check, make_tidy_readers
from streams.notifications.timestamps import make_timestamp_parser
from streams.records import Record
from tables.buckets import FINE, FUTURE_S, bucket_of
from tables.last_seen import OrderedTimes, SeenTimes

_FUTURE_MS: Final = FUTURE_S * 1000
_LIST: Final = ord("[")
#: Records looked at together, at most, and after one that was not tidy.
_MOST_TOGETHER: Final = 2048
_FEW_TOGETHER: Final = 8
#: Most bytes of event types that a tally has learnt, about.
_MOST_KNOWN_BYTES: Final = 8 * 2**20
#: After records that were not alike, so many looks go record by record.
_LOOKS_APART: Final = 16

_value_of = attrgetter("value")
_timestamp_of = attrgetter("timestamp")
_event_type_of = attrgetter("event_type")
_FINE_MS: Final = FINE * 1000


@dataclass(slots=True)
class Run:
    """Counts of consecutive records.

    Attributes:
        end: index after the last record that is counted here.
        stopped: whether the record at ``end`` needs a closer look.
        types: start of the 10 s bucket -> event type of each of its records, as they came.
        seen: when the event types were seen.
        time_replaced: records whose stated time lies too far from the broker's.
        read: what was read of each record; empty unless the tally keeps it.
        times_ms: event time of each record in milliseconds since 1970; empty likewise.
        record_times: what became of record times that are not the brokers'.
        late: records that are dated long before the time of their record, see ``agents.skew``.
        skew: how far they lie apart.
        latest_ms: the latest time of the records in milliseconds, as it stands there.
    """

    end: int
    stopped: bool = False
    latest_ms: int = 0
    types: dict[int, list[str]] = field(default_factory=dict)
    seen: SeenTimes = field(default_factory=dict)
    time_replaced: int = 0
    read: list[Tidy] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    record_times: dict[RecordTime, int] = field(default_factory=dict)
    late: int = 0
    skew: Skew = field(default_factory=Skew)


class RunTally:
    """Counts runs of records of one priority.

    Args:
        priority: of the topic.
        limits: of what is accepted.
        lateness_ms: how far back in time a record may fall.
        known: what is remembered of event types, to share with tallies of the same limits.
        keep: whether runs say of each record what was read of it, its message id included, for what else is
            done with it.
    """

    def __init__(
        self,
        priority: Priority,
        limits: Limits,
        lateness_ms: int,
        known: dict[str, str] | None = None,
        *,
        keep: bool = False,
    ) -> None:
        self._keep = keep
        self._read, self._other = make_tidy_readers(priority, named=keep)
        self._is_plain = make_plain_check(limits)
        self._parse_timestamp = make_timestamp_parser()
        self._lateness_ms = lateness_ms
        self._max_bytes, self._max_depth = limits.max_bytes, limits.max_depth
        self._most_known = limits.remembered_event_types
        self._known_bytes = 0
        self._known: dict[str, str] = {} if known is None else known
        self._together = _MOST_TOGETHER
        self._looks_apart = 0

    def learn(self, event_type: str) -> None:
        """Remember an event type as the full decoder returned it, without a repair, to be taken here."""
        if event_type in self._known:
            return
        # Shared by several tallies, each of which keeps account of what it has learnt.
        if len(self._known) >= self._most_known or self._known_bytes > _MOST_KNOWN_BYTES:
            self._known.clear()
            self._known_bytes = 0
        self._known_bytes += sys.getsizeof(event_type)
        self._known[event_type] = event_type

    def run(self, records: Sequence[Record], first: int) -> Run:
        """Count the tidy records from index ``first`` on, up to one that is not.

        The run may end before such a record, too; then there is another run to count.
        """
        together = records[first : first + self._together]
        run = Run(first + len(together))
        if self._looks_apart:
            self._looks_apart -= 1
        elif self._count_alike(together, run):
            self._together = _MOST_TOGETHER
            return run
        else:
            self._looks_apart = _LOOKS_APART
            run.types, run.record_times = {}, {}
        counted = self._count_each(together, run)
        run.end = first + counted
        run.stopped = counted < len(together)
        self._together = _FEW_TOGETHER if run.stopped else min(2 * self._together, _MOST_TOGETHER)
        return run

    # ---------------------------------------------------------------- all at once

    def _count_alike(self, records: Sequence[Record], run: Run) -> bool:
        """Count all; False when they are not alike, and then ``run`` is to be thrown away."""
        try:
            values = list(map(_value_of, records))
            joined = b"".join(values)
            if max(map(len, values)) > self._max_bytes or not joined.isascii():
                return False
            # Each level costs a bracket, so with few brackets none can be too deep.
            brackets = max(map(bytes.count, values, repeat(b"{")))
            if _LIST in joined:
                brackets += max(map(bytes.count, values, repeat(b"[")))
            if brackets > self._max_depth:
                return False
            tidies = list(map(self._read, values))
            broker_ms = list(map(_timestamp_of, records))
            earliest, latest_ms = min(broker_ms), max(broker_ms)
            run.latest_ms = latest_ms
            believed_from, believed_to = latest_ms - self._lateness_ms, earliest + _FUTURE_MS
        except NOT_TIDY:
            return False
        # A topic's type changes rarely, and a run of both types is not alike by its times.
        types_of_time = {records[0].timestamp_type, records[-1].timestamp_type}
        if CREATE_TIME in types_of_time:
            if len(types_of_time) > 1 or earliest < LEAST_MS or latest_ms >= BELOW_MS:
                return False
            run.record_times = {RecordTime.PUBLISHERS: len(records)}
        texts = list(map(_timestamp_of, tidies))
        layout = layout_of(texts)
        if layout is None:
            return False
        known = self._known
        try:
            # The strings that were met first, so that no copies are kept.
            types = list(map(known.__getitem__, map(_event_type_of, tidies)))
        except KeyError:
            return False
        # Most runs are in order, and of one bucket.
        ordered = in_order(texts)
        if ordered and (prefix := of_one_prefix(texts)) is not None:
            prefixes, by_prefix = [], {prefix: texts[0]}
        else:
            prefixes = prefixes_of(texts)
            by_prefix = dict(zip(prefixes, texts, strict=True))
        starts_ms: dict[str, int] = {}
        for prefix, text in by_prefix.items():
            event_ms = self._parse_timestamp(text)
            if event_ms is None or event_ms < 0:
                return False
            start_ms = starts_ms[prefix] = bucket_of(event_ms, FINE) * 1000
            if start_ms < believed_from or start_ms + _FINE_MS > believed_to:
                return False
        if len(starts_ms) == 1:
            run.types[start_ms // 1000] = types
        else:
            for prefix, event_type in zip(prefixes, types, strict=True):
                run.types.setdefault(starts_ms[prefix] // 1000, []).append(event_type)
        if ordered:
            run.seen = OrderedTimes(layout, types, texts, starts_ms)
        else:
            last = latest(types, texts)
            run.seen = dict(zip(last, milliseconds(layout, last.values(), starts_ms), strict=True))
        if self._keep:
            run.read, run.times_ms = tidies, list(milliseconds(layout, texts, starts_ms))
        _note_skew(run, earliest / 1000, latest_ms / 1000)
        return True

    # ---------------------------------------------------------------- one by one

    def _count_each(self, records: Sequence[Record], run: Run) -> int:
        """Count up to a record that is not tidy; return how many were counted."""
        number = 0
        seen: dict[str, int] = {}
        run.seen = seen
        for record in records:
            value: Any = record.value  # one without a value is not tidy
            try:
                tidy = self._read(value)
            except NOT_TIDY:
                if (tidy := self._read_otherwise(value)) is None:
                    break
            event_type = self._known.get(tidy.event_type)
            if event_type is None or not self._is_plain(value):
                break
            event_ms, broker_ms = self._parse_timestamp(tidy.timestamp), record.timestamp
            if event_ms is None or broker_ms is None:
                break
            run.latest_ms = max(run.latest_ms, broker_ms)
            if broker_ms < 0 or record.timestamp_type == CREATE_TIME:
                broker_ms, whose = record_time(broker_ms, record.timestamp_type)
                if whose is not None:
                    run.record_times[whose] = run.record_times.get(whose, 0) + 1
            event_ms, replaced = bucket_time_ms(event_ms, broker_ms, self._lateness_ms, _FUTURE_MS)
            run.time_replaced += replaced
            # Most are within a second, which nobody asks about.
            if broker_ms >= 0 and not -1000 <= broker_ms - event_ms <= 1000:
                behind_s = (broker_ms - event_ms) / 1000
                run.late += behind_s > LATE_S
                run.skew.behind_s = max(run.skew.behind_s, behind_s)
                run.skew.ahead_s = max(run.skew.ahead_s, -behind_s)
            run.types.setdefault(bucket_of(event_ms, FINE), []).append(event_type)
            if event_ms > seen.get(event_type, -1):
                seen[event_type] = event_ms
            if self._keep:
                run.read.append(tidy)
                run.times_ms.append(event_ms)
            number += 1
        return number

    def _read_otherwise(self, value: bytes) -> Any:
        """Read a record in the other form, and expect that form from now on; None when it is not tidy."""
        try:
            tidy = self._other(value)
        except NOT_TIDY:
            return None
        self._read, self._other = self._other, self._read
        return tidy


def _note_skew(run: Run, earliest_s: float, latest_s: float) -> None:
    """By the buckets, so that it costs nothing for each record: what is certain, whatever they hold."""
    run.skew = Skew(max(0.0, earliest_s - (min(run.types) + FINE)), max(0.0, max(run.types) - latest_s))
    if run.skew.behind_s > LATE_S:
        late_before = earliest_s - LATE_S - FINE
        run.late = sum(len(types) for bucket, types in run.types.items() if bucket < late_before)
