"""What can be asked of the alerts: filters, pages. Pure.

A cursor holds the place of the last item in the order, not its number, so any worker can continue what
another began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlencode

from streams.notifications.priority import Priority
from tables.buckets import WINDOWS
from tables.recent_alerts import Alert, AlertKey
from tables.views.counts_query import (
    MOST_ITEMS,
    MOST_PATTERN,
    BadQueryError,
    Parameters,
    choice,
    cursor_of,
    cursor_parts,
    limit_of,
    parameters,
    priority_of,
)

#: Each wildcard multiplies the work of a match.
MOST_WILDCARDS: Final = 8
_MOST_CURSOR: Final = 1000
#: (time in ms, topic, partition, offset)
_KEY: Final = (0, "", 0, 0)
#: Offsets and partitions of Kafka.
MOST_OFFSET: Final = 2**63 - 1
MOST_PARTITION: Final = 2**31 - 1

_Item = TypeVar("_Item")


@dataclass(slots=True, frozen=True)
class AlertsQuery:
    """Which alerts, or groups of them, and how many.

    Attributes:
        priority: None for all.
        event_type: a pattern with ``*`` and ``?``; None for all.
        publisher: a pattern with ``*`` and ``?``; None for all.
        window: that the buckets of groups span, one of ``WINDOWS``.
        limit: items of a page.
        after: key of the alert after which the page begins, in the order; None at the beginning.
    """

    priority: Priority | None = None
    event_type: str | None = None
    publisher: str | None = None
    window: str = "1h"
    limit: int = 100
    after: AlertKey | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether it is looked for by patterns."""
        return self.event_type is not None or self.publisher is not None


def parse_alerts_query(
    query: Parameters, *, groups: bool = False, limit: int = 100, most: int = MOST_ITEMS
) -> AlertsQuery:
    """What ``/api/v1/alerts`` and, with ``groups``, ``/api/v1/alerts/groups`` are asked for.

    Args:
        query: of the address.
        groups: whether there is a window, too.
        limit: items of a page where nothing is said.
        most: at most.

    Raises:
        BadQueryError: a parameter is wrong.
    """
    names = ("priority", "event_type", "publisher", *(("window",) if groups else ()), "limit", "cursor")
    given = parameters(query, names)
    limit = limit_of(given, limit, most)
    return AlertsQuery(
        window=choice(given, "window", "1h", WINDOWS),
        priority=priority_of(given),
        event_type=_pattern(given, "event_type"),
        publisher=_pattern(given, "publisher"),
        limit=limit,
        after=_decode_cursor(given["cursor"]) if "cursor" in given else None,
    )


def parse_place(topic: str, partition: str, offset: str) -> tuple[str, int, int]:
    """The place of an alert, as it stands in an address.

    Raises:
        BadQueryError: partition or offset is no number that there can be.
    """
    return (
        topic,
        _number("partition", partition, MOST_PARTITION),
        _number("offset", offset, MOST_OFFSET),
    )


def alert_address(alert: Alert) -> str:
    """The address of an alert's own page, relative to any other page."""
    place = {"topic": alert.topic, "partition": alert.partition, "offset": alert.offset}
    return f"alert?{urlencode(place)}"


def page_of(
    items: Sequence[_Item], query: AlertsQuery, key_of: Callable[[_Item], AlertKey]
) -> tuple[list[_Item], str | None]:
    """The page that a query asks for, and the cursor of the next one, or None at the end.

    Args:
        items: newest first.
        query: says after which alert the page begins.
        key_of: of an item; they are in the order of these keys, from high to low.
    """
    start, end = 0, len(items)
    while query.after is not None and start < end:
        middle = (start + end) // 2
        if key_of(items[middle]) >= query.after:
            start = middle + 1
        else:
            end = middle
    page = list(items[start : start + query.limit])
    more = start + query.limit < len(items)
    return page, cursor_of(key_of(page[-1])) if more else None


def _decode_cursor(text: str) -> AlertKey:
    wrong = BadQueryError("The cursor is not one that this address gave; begin without it.")
    time_ms, topic, partition, offset = cursor_parts(text, _KEY, _MOST_CURSOR, wrong)
    return time_ms, topic, partition, offset


def _number(name: str, text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= most):
        raise BadQueryError(f"The {name} is a number from 0 to {most}.")
    return int(text)


def _pattern(given: Mapping[str, str], name: str) -> str | None:
    pattern = given.get(name)
    if pattern is not None and (
        len(pattern) > MOST_PATTERN or pattern.count("*") + pattern.count("?") > MOST_WILDCARDS
    ):
        raise BadQueryError(
            f"A pattern for {name} has at most {MOST_WILDCARDS} wildcards and {MOST_PATTERN} characters."
        )
    return pattern
