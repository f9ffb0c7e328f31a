"""Counts in a window of time, summed in the simplest way: what the sums of the web views must equal.

Windows end now and begin at the edge of the bucket that their beginning falls into, so that they may span
up to one bucket more. Recent time is summed from the finest buckets, which are always complete.
"""

from __future__ import annotations

from typing import Final

import orjson

from tables.buckets import FINE, HOUR, MINUTE, WINDOWS, parent
from tables.totals import Count, Totals

#: Fine buckets answer for the last ten minutes, and minutes for the last day.
_FINE_SPAN_S: Final = 600
_MINUTE_SPAN_S: Final = 86_400


def counts_in(totals: Totals, window: str, now_s: float, priority: str | None = None) -> list[Count]:
    """Counts in a window, of every event type that it has any of; in no particular order.

    Args:
        totals: what was read.
        window: one of ``tables.buckets.WINDOWS``, or ``total``.
        now_s: end of the window, in seconds since 1970.
        priority: only this one.

    Raises:
        KeyError: an unknown window.
    """
    found: list[Count] = []
    for each in [priority] if priority is not None else totals.priorities:
        since_ever = [count for some in totals.since_ever_in_steps(each) for count in some]
        if window == "total":
            found += since_ever
            continue
        seen = {count.event_type: count.last_seen_ms for count in since_ever}
        sums = _window(totals, each, now_s, WINDOWS[window])
        found += [Count(t, each, number, seen.get(t, 0)) for t, number in sums.items()]
    return found


def _window(totals: Totals, priority: str, now_s: float, span_s: int) -> dict[str, int]:
    sums: dict[str, int] = {}
    now = int(now_s)
    start = now - span_s
    if span_s <= HOUR:
        _add(totals, sums, priority, FINE, parent(start, FINE), now + HOUR)
        return sums
    fine_from = parent(now - _FINE_SPAN_S, MINUTE)
    _add(totals, sums, priority, FINE, fine_from, now + HOUR)
    if span_s <= _MINUTE_SPAN_S:
        _add(totals, sums, priority, MINUTE, parent(start, MINUTE), fine_from)
        return sums
    minutes_from = parent(now - _MINUTE_SPAN_S, HOUR)
    _add(totals, sums, priority, MINUTE, minutes_from, fine_from)
    _add(totals, sums, priority, HOUR, parent(start, HOUR), minutes_from)
    return sums


def _add(totals: Totals, sums: dict[str, int], priority: str, resolution: int, start: int, end: int) -> None:
    for bucket, slices in totals.rows.get((priority, resolution), {}).items():
        if start <= bucket < end:
            for stored in slices.values():
                for event_type, count in orjson.loads(stored.counts).items():
                    sums[event_type] = sums.get(event_type, 0) + count
