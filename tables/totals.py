"""Counts of the whole cluster in memory, as read from the public topic: any worker answers any query. Pure.

Windows end now and begin at the edge of the bucket that their beginning falls into, so that they may span
up to one bucket more. Recent time is summed from the finest buckets, which are always complete; a coarse
bucket misses a lagging source's share until that source has moved on, which takes at most a minute.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from tables.buckets import FINE, HOUR, MINUTE, RETENTION_S, WINDOWS, parent
from tables.public_rows import PublicKey, decode_key

#: Fine buckets answer for the last ten minutes, and minutes for the last day.
_FINE_SPAN_S: Final = 600
_MINUTE_SPAN_S: Final = 86_400
#: Buckets are forgotten so many seconds after workers give them up, which may lag.
_MARGIN_S = 2 * HOUR


@dataclass(slots=True, frozen=True)
class Count:
    """Count of one event type in one priority.

    ``last_seen_ms`` is the event time of the latest notification, in milliseconds since 1970.
    """

    event_type: str
    priority: str
    count: int
    last_seen_ms: int


@dataclass(slots=True)
class _Stored:
    offset: int
    counts: bytes


class Totals:
    """Sums per event type, priority and bucket."""

    def __init__(self) -> None:
        #: (priority, resolution) -> bucket -> slice -> row
        self._rows: dict[tuple[str, int], dict[int, dict[int, _Stored]]] = {}
        self._totals: dict[str, dict[str, list[int]]] = {}
        #: (priority, slice) -> input offset that its row of totals is as of
        self._total_offsets: dict[tuple[str, int], int] = {}
        #: Rows taken in, for the metrics.
        self.applied = 0
        #: Rows left out because a newer one was known.
        self.outdated = 0
        self._parse: Callable[[bytes], dict[str, int]] = lru_cache(maxsize=4096)(orjson.loads)

    # ---------------------------------------------------------------- taking in

    def apply(self, key: bytes, value: bytes | None) -> bool:
        """Take in a row of the public topic.

        Returns:
            False when it is older than what is known: a worker that lost its partitions wrote it late.

        Raises:
            ValueError: it is not such a row.
        """
        name = decode_key(key)
        if value is None:
            self._forget(name)
            return True
        body = orjson.loads(value)
        if not isinstance(body, dict) or "offset" not in body:
            raise ValueError(f"the value of {key!r} is not a row of counts")
        self.applied += 1
        part = (name.priority, name.slice)
        if name.resolution_s is None:
            if body["offset"] < self._total_offsets.get(part, -1):
                self.outdated += 1
                return False
            self._total_offsets[part] = body["offset"]
        for event_type, (total, seen) in body.get("totals", {}).items():
            self._merge_total(name.priority, event_type, total, seen)
        if name.resolution_s is None or name.bucket is None:
            return True
        buckets = self._rows.setdefault((name.priority, name.resolution_s), {})
        slices = buckets.setdefault(name.bucket, {})
        known = slices.get(name.slice)
        if known is not None and known.offset > body["offset"]:
            self.outdated += 1
            return False
        slices[name.slice] = _Stored(body["offset"], orjson.dumps(body["counts"]))
        return True

    def _merge_total(self, priority: str, event_type: str, total: int, seen: int) -> None:
        known = self._totals.setdefault(priority, {}).get(event_type)
        if known is None:
            self._totals[priority][event_type] = [total, seen]
        else:
            known[0] = max(known[0], total)
            known[1] = max(known[1], seen)

    def _forget(self, name: PublicKey) -> None:
        if name.resolution_s is None or name.bucket is None:
            return
        buckets = self._rows.get((name.priority, name.resolution_s), {})
        slices = buckets.get(name.bucket)
        if slices is not None:
            slices.pop(name.slice, None)
            if not slices:
                del buckets[name.bucket]

    def expire(self, now_s: float) -> None:
        """Forget buckets that no window reaches."""
        for (_, resolution), buckets in self._rows.items():
            before = now_s - RETENTION_S[resolution] - _MARGIN_S
            for bucket in [b for b in buckets if b < before]:
                del buckets[bucket]

    # ---------------------------------------------------------------- answering

    @property
    def priorities(self) -> list[str]:
        """Priorities that were ever counted."""
        return list(self._totals)

    def counts(
        self,
        window: str,
        now_s: float,
        *,
        priority: str | None = None,
        matches: Callable[[str], bool] | None = None,
    ) -> list[Count]:
        """Counts in a window, of every event type that it has any of; in no particular order.

        Args:
            window: one of ``tables.buckets.WINDOWS``, or ``total``.
            now_s: end of the window, in seconds since 1970.
            priority: only this one.
            matches: only event types for which it is true.

        Raises:
            KeyError: an unknown window.
        """
        found = []
        for each in [priority] if priority is not None else list(self._totals):
            totals = self._totals.get(each, {})
            if window == "total":
                sums: dict[str, int] = {event_type: total for event_type, (total, _) in totals.items()}
            else:
                sums = self._window(each, now_s, WINDOWS[window])
            for event_type, count in sums.items():
                if matches is None or matches(event_type):
                    seen = totals.get(event_type, (0, 0))[1]
                    found.append(Count(event_type, each, count, seen))
        return found

    def series(
        self, event_type: str, priority: str, resolution_s: int, start_s: int, end_s: int
    ) -> Iterator[tuple[int, int]]:
        """Bucket start and count of one event type, for every bucket from ``start_s`` to before ``end_s``."""
        buckets = self._rows.get((priority, resolution_s), {})
        for bucket in range(parent(start_s, resolution_s), end_s, resolution_s):
            stored = buckets.get(bucket, {}).values()
            yield bucket, sum(self._parse(row.counts).get(event_type, 0) for row in stored)

    def known(self, event_type: str) -> dict[str, tuple[int, int]]:
        """Priority -> (total, last seen in ms) of an event type."""
        return {
            priority: (types[event_type][0], types[event_type][1])
            for priority, types in self._totals.items()
            if event_type in types
        }

    def _window(self, priority: str, now_s: float, span_s: int) -> dict[str, int]:
        sums: dict[str, int] = {}
        now = int(now_s)
        start = now - span_s
        if span_s <= HOUR:
            self._add(sums, priority, FINE, parent(start, FINE), now + HOUR)
            return sums
        fine_from = parent(now - _FINE_SPAN_S, MINUTE)
        self._add(sums, priority, FINE, fine_from, now + HOUR)
        if span_s <= _MINUTE_SPAN_S:
            self._add(sums, priority, MINUTE, parent(start, MINUTE), fine_from)
            return sums
        minutes_from = parent(now - _MINUTE_SPAN_S, HOUR)
        self._add(sums, priority, MINUTE, minutes_from, fine_from)
        self._add(sums, priority, HOUR, parent(start, HOUR), minutes_from)
        return sums

    def _add(self, sums: dict[str, int], priority: str, resolution: int, start: int, end: int) -> None:
        buckets = self._rows.get((priority, resolution))
        if not buckets:
            return
        span = (end - start) // resolution
        chosen: Iterable[Any]
        if span > len(buckets):
            chosen = [slices for bucket, slices in buckets.items() if start <= bucket < end]
        else:
            chosen = [buckets[b] for b in range(start, end, resolution) if b in buckets]
        for slices in chosen:
            for stored in slices.values():
                for event_type, count in self._parse(stored.counts).items():
                    sums[event_type] = sums.get(event_type, 0) + count


def make_matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate for event types: ``*`` and ``?`` are wildcards, as in ``compute.*``; case matters."""
    if not any(mark in pattern for mark in "*?["):
        return pattern.__eq__
    matches = re.compile(fnmatch.translate(pattern.replace("[", "[[]"))).match
    return lambda event_type: matches(event_type) is not None
