"""What can be asked of the counts: parameters, order, pages. Pure.

A cursor holds the place of the last item in the order, not its number, so any worker can continue
what another began. When sorted by event type, paging misses and repeats nothing whatever is counted
meanwhile; in the other orders an item whose own value changes between two pages may move past the cursor.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Protocol

import orjson

from streams.notifications.priority import Priority
from tables.buckets import FINE, HOUR, MINUTE, RETENTION_S, WINDOWS
from tables.reserved_types import PROBES
from tables.totals import Count, make_matcher
from tables.views.problems import plain
from tables.views.times import parse_time

WINDOW_NAMES: Final = (*WINDOWS, "total")
SORT_FIELDS: Final = ("count", "event_type", "priority", "last_seen")
#: sort parameter -> (field, descending)
ORDERS: Final = {name: (name, False) for name in SORT_FIELDS} | {
    f"-{name}": (name, True) for name in SORT_FIELDS
}

MOST_ITEMS: Final = 1000
_MOST_CURSOR: Final = 20_000
#: Each wildcard multiplies the work of a match.
_MOST_WILDCARDS: Final = 8
MOST_PATTERN: Final = 4096

#: Resolution of a chart, in seconds, where none is asked for.
_CHART: Final = {"1m": FINE, "5m": FINE, "1h": MINUTE, "24h": HOUR, "30d": HOUR}

OrderKey = tuple[Any, ...]


class BadQueryError(ValueError):
    """The parameters are wrong; the message is one sentence that says what to change.

    A handler that lets it pass answers with status 400 and that sentence.
    """


class Parameters(Protocol):
    """The query of an address; a multidict."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values; a name may be there more than once."""


def parameters(query: Parameters, allowed: Iterable[str]) -> dict[str, str]:
    """The parameters that are given, empty ones left out.

    Raises:
        BadQueryError: one is unknown or there twice.
    """
    found: dict[str, str] = {}
    known = list(allowed)
    seen: set[str] = set()
    for name, value in query.items():
        if name not in known:
            some = f"use {', '.join(known)}" if known else "this address takes none"
            raise BadQueryError(f"There is no parameter {plain(name)}; {some}.")
        if name in seen:
            raise BadQueryError(f"Give '{name}' once.")
        seen.add(name)
        if value:
            found[name] = value
    return found


def choice(given: Mapping[str, str], name: str, default: str, choices: Iterable[str]) -> str:
    """The value of a parameter that is one of some.

    Raises:
        BadQueryError: it is none of them.
    """
    value = given.get(name, default)
    allowed = list(choices)
    if value not in allowed:
        raise BadQueryError(f"There is no {name} {plain(value)}; use one of {', '.join(allowed)}.")
    return value


def priority_of(given: Mapping[str, str]) -> Priority | None:
    """The parameter ``priority``; None where it is not given.

    Raises:
        BadQueryError: there is no such priority.
    """
    if "priority" not in given:
        return None
    priority = Priority.parse(given["priority"])
    if priority is None:
        raise BadQueryError(
            f"There is no priority {plain(given['priority'])}; use one of {', '.join(Priority)}."
        )
    return priority


def limit_of(given: Mapping[str, str], default: int, most: int) -> int:
    """The parameter ``limit``, at least 1 and at most ``most``.

    Raises:
        BadQueryError: it is another.
    """
    limit = given.get("limit", str(default))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= most):
        raise BadQueryError(f"The limit is a number from 1 to {most}.")
    return int(limit)


# -------------------------------------------------------------------- a list of counts


@dataclass(slots=True, frozen=True)
class CountsQuery:
    """Which counts, in which order, and how many.

    Attributes:
        window: one of ``WINDOW_NAMES``.
        event_type: a pattern with ``*`` and ``?``; None for all.
        priority: None for all.
        sort: one of ``ORDERS``.
        limit: items of a page.
        after: place in the order after which the page begins; None at the beginning.
    """

    window: str = "5m"
    event_type: str | None = None
    priority: str | None = None
    sort: str = "-count"
    limit: int = 100
    after: OrderKey | None = None

    def filtered(self, items: list[Count]) -> list[Count]:
        """Those of ``items`` that match event type and priority; probes only where the pattern names them."""
        if self.priority is not None:
            items = [item for item in items if item.priority == self.priority]
        if self.event_type is not None:
            matches = make_matcher(self.event_type)
            items = [item for item in items if matches(item.event_type)]
        if self.event_type is None or self.event_type[:1] != PROBES[0]:
            items = [item for item in items if item.event_type != PROBES]
        return items


def parse_counts_query(
    query: Parameters, limit: int = 100, most: int = MOST_ITEMS, sort: str = "-count"
) -> CountsQuery:
    """What ``/api/v1/counts`` is asked for; ``limit`` and ``most`` are the default and the bound of items.

    Raises:
        BadQueryError: a parameter is wrong.
    """
    given = parameters(query, ("window", "event_type", "priority", "sort", "limit", "cursor"))
    limit = limit_of(given, limit, most)
    sort = choice(given, "sort", sort, ORDERS)
    return CountsQuery(
        window=choice(given, "window", "5m", WINDOW_NAMES),
        event_type=pattern_of(given),
        priority=priority_of(given),
        sort=sort,
        limit=limit,
        after=decode_cursor(given["cursor"], [sort, *order_key(sort)(Count("", "ERROR", 0, 0))])
        if "cursor" in given
        else None,
    )


def parse_stream_query(query: Parameters) -> CountsQuery:
    """What ``/api/v1/events`` is asked for: window, event type and priority.

    Raises:
        BadQueryError: a parameter is wrong.
    """
    given = parameters(query, ("window", "event_type", "priority"))
    return CountsQuery(
        window=choice(given, "window", "5m", WINDOW_NAMES),
        event_type=pattern_of(given),
        priority=priority_of(given),
    )


def pattern_of(given: Mapping[str, str]) -> str | None:
    """The parameter ``event_type``, a pattern; None where it is not given.

    Raises:
        BadQueryError: it is too long, or has too many wildcards.
    """
    pattern = given.get("event_type")
    if pattern is not None and (
        len(pattern) > MOST_PATTERN or pattern.count("*") + pattern.count("?") > _MOST_WILDCARDS
    ):
        raise BadQueryError(
            f"An event_type pattern has at most {_MOST_WILDCARDS} wildcards and {MOST_PATTERN} characters."
        )
    return pattern


def rank_of(priority: str) -> int:
    """Place of a priority in the order of urgency; after all of them where there is no such one."""
    known = Priority.parse(priority)
    return len(Priority) if known is None else known.rank


def order_key(sort: str) -> Callable[[Count], OrderKey]:
    """Key of a count in an order. ``-event_type`` is the one order that wants its keys from high to low."""
    field, descending = ORDERS[sort]
    sign = -1 if descending else 1
    if field == "count":
        return lambda item: (sign * item.count, item.event_type, rank_of(item.priority))
    if field == "last_seen":
        return lambda item: (sign * item.last_seen_ms, item.event_type, rank_of(item.priority))
    if field == "priority":
        return lambda item: (sign * rank_of(item.priority), -item.count, item.event_type)
    return lambda item: (item.event_type, sign * rank_of(item.priority))


class FirstOf:
    """Finds the page that a query asks for, among counts in any order, without sorting all of them."""

    def __init__(self, query: CountsQuery) -> None:
        self._query = query
        self._key = order_key(query.sort)
        self._down = query.sort == "-event_type"
        #: The first ones after the cursor, in order: those of the page, and one more where there is one.
        self._found: list[tuple[OrderKey, Count]] = []

    def add(self, items: Iterable[Count]) -> None:
        """Look at some more."""
        after, found, wanted = self._query.after, self._found, self._query.limit + 1
        new = [(self._key(item), item) for item in items]
        if after is not None:
            new = [each for each in new if (each[0] < after if self._down else each[0] > after)]
        if len(found) == wanted:
            last = found[-1][0]
            new = [each for each in new if (each[0] > last if self._down else each[0] < last)]
        if new:
            self._found = sorted(found + new, key=itemgetter(0), reverse=self._down)[:wanted]

    def page(self) -> tuple[list[Count], str | None]:
        """The page, and the cursor of the next one, or None at the end."""
        page = self._found[: self._query.limit]
        more = len(self._found) > self._query.limit
        return [item for _, item in page], encode_cursor(self._query.sort, page[-1][0]) if more else None


def cursor_of(parts: Sequence[Any]) -> str:
    """A cursor that holds ``parts``, as text for an address."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def cursor_parts(text: str, example: Sequence[Any], most: int, wrong: BadQueryError) -> list[Any]:
    """What a cursor holds.

    Args:
        text: the cursor.
        example: parts of the same number and types.
        most: characters of the longest cursor.
        wrong: raised for what is no such cursor.

    Raises:
        BadQueryError: it is ``wrong``.
    """
    if len(text) > most or not text.isascii():
        raise wrong
    try:
        body = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        raise wrong from None
    if not isinstance(body, list) or [type(part) for part in body] != [type(part) for part in example]:
        raise wrong
    return body


def encode_cursor(sort: str, key: OrderKey) -> str:
    """The place in an order, as text for an address."""
    return cursor_of([sort, *key])


def decode_cursor(text: str, example: Sequence[Any]) -> OrderKey:
    """The place that a cursor is of.

    Args:
        text: the cursor.
        example: the name of the order, and a key of it.

    Raises:
        BadQueryError: it is none of this order.
    """
    wrong = BadQueryError("The cursor is not one that this address gave for this order; begin without it.")
    body = cursor_parts(text, example, _MOST_CURSOR, wrong)
    if body[0] != example[0]:
        raise wrong
    return tuple(body[1:])


# -------------------------------------------------------------------- a chart of one event type


@dataclass(slots=True, frozen=True)
class SeriesQuery:
    """Which buckets of an event type; times in seconds since 1970."""

    priority: str | None
    resolution_s: int
    start_s: int
    end_s: int


def parse_series_query(query: Parameters, now_s: float) -> SeriesQuery:
    """What ``/api/v1/counts/{event_type}`` is asked for, at ``now_s``.

    Raises:
        BadQueryError: a parameter is wrong, or the buckets are no longer kept.
    """
    given = parameters(query, ("window", "priority", "resolution", "from", "to"))
    window = choice(given, "window", "1h", WINDOWS)
    resolution = int(choice(given, "resolution", str(_CHART[window]), map(str, RETENTION_S)))
    end = min(_time(given, "to", now_s), now_s + HOUR)
    start = _time(given, "from", end - WINDOWS[window])
    if start >= end:
        raise BadQueryError("'from' must be before 'to', and not in the future.")
    if start < now_s - RETENTION_S[resolution]:
        coarser = [str(each) for each in RETENTION_S if RETENTION_S[each] > RETENTION_S[resolution]]
        advice = f"a resolution of {' or '.join(coarser)}, or " if coarser else ""
        raise BadQueryError(
            f"Buckets of {resolution} s are kept for {RETENTION_S[resolution] // MINUTE} minutes; "
            f"ask for {advice}a later 'from'."
        )
    return SeriesQuery(priority_of(given), resolution, int(start), int(-(-end // 1)))


def _time(given: Mapping[str, str], name: str, default: float) -> float:
    if name not in given:
        return default
    try:
        return parse_time(given[name])
    except (ValueError, OverflowError):
        raise BadQueryError(
            f"'{name}' is a time such as 2026-11-01T12:00:00Z, or seconds since 1970 (write + as %2B)."
        ) from None
