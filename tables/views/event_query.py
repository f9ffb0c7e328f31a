"""What can be asked of one event type: which one, and which span of time in which steps. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tables.buckets import FINE, HOUR, MINUTE, RETENTION_S, WINDOWS, parent
from tables.views.counts_query import (
    BadQueryError,
    Parameters,
    SeriesQuery,
    choice,
    parameters,
    priority_of,
)
from tables.views.times import parse_time

#: Steps of a chart, and the buckets that each is made of. The first one is taken of which there are no more
#: than so many, and whose buckets are still kept.
_STEPS: Final = (
    (FINE, FINE),
    (MINUTE, MINUTE),
    (5 * MINUTE, MINUTE),
    (HOUR, HOUR),
    (6 * HOUR, HOUR),
    (24 * HOUR, HOUR),
)
_MOST_STEPS: Final = 120
#: A field for a date and a time sends it without an offset; it is in UTC here.
_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?", re.ASCII)
_ID: Final = re.compile(r"[0-9a-f]{24}", re.ASCII)


@dataclass(slots=True, frozen=True)
class EventQuery:
    """Which event type, and how its chart is made.

    Attributes:
        event_type: its name; "" where it goes by its id.
        event_id: its id, where its name is too long for an address; else "".
        window: one of ``WINDOWS``; "" where begin or end were given.
        series: the buckets that are needed; its priority is the one that is asked for.
        step_s: seconds of one value of the chart.
    """

    event_type: str
    event_id: str
    window: str
    series: SeriesQuery
    step_s: int

    @property
    def starts(self) -> range:
        """Start of every value, in seconds since 1970."""
        return range(self.series.start_s, self.series.end_s, self.step_s)

    def summed(self, buckets: Iterable[tuple[int, int]]) -> list[int]:
        """The values of the chart, of start and count of buckets in any order."""
        values = [0] * len(self.starts)
        for bucket, count in buckets:
            place = (bucket - self.series.start_s) // self.step_s
            if 0 <= place < len(values):
                values[place] += count
        return values


def parse_event_query(query: Parameters, now_s: float) -> EventQuery:
    """What the page of an event type is asked for, at ``now_s``.

    Raises:
        BadQueryError: a parameter is wrong, or the counts of that time are no longer kept.
    """
    given = parameters(query, ("type", "id", "priority", "window", "from", "to"))
    if ("type" in given) == ("id" in given):
        raise BadQueryError("Give the event type as 'type', or, where it is long, its 'id'.")
    if "id" in given and _ID.fullmatch(given["id"]) is None:
        raise BadQueryError("The 'id' of an event type is 24 hexadecimal digits; take it from the table.")
    window = choice(given, "window", "1h", WINDOWS)
    end_s = min(_time(given, "to", now_s), now_s + HOUR)
    start_s = _time(given, "from", end_s - WINDOWS[window])
    if start_s >= end_s:
        raise BadQueryError("'from' must be before 'to', and not in the future.")
    step_s, resolution_s = _steps(start_s, end_s, now_s)
    series = SeriesQuery(
        priority_of(given),
        resolution_s,
        parent(int(start_s), step_s),
        parent(-int(-end_s // 1) + step_s - 1, step_s),
    )
    is_window = "from" not in given and "to" not in given
    return EventQuery(given.get("type", ""), given.get("id", ""), window if is_window else "", series, step_s)


def _steps(start_s: float, end_s: float, now_s: float) -> tuple[int, int]:
    if start_s < now_s - RETENTION_S[HOUR]:
        days = RETENTION_S[HOUR] // (24 * HOUR)
        raise BadQueryError(f"Counts over time are kept for {days} days; ask for a later 'from'.")
    for step_s, resolution_s in _STEPS:
        fits = (end_s - start_s) / step_s <= _MOST_STEPS
        if fits and start_s >= now_s - RETENTION_S[resolution_s]:
            return step_s, resolution_s
    return _STEPS[-1]


def _time(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name)
    if text is None:
        return default
    if match := _LOCAL.fullmatch(text):
        text = f"{text}{'' if match[1] else ':00'}Z"
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise BadQueryError(
            f"'{name}' is a time in UTC such as 2026-11-01T12:00, or seconds since 1970."
        ) from None
