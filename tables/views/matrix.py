"""Counts as a table with a row for each event type and a column for each priority: what can be asked. Pure.

The most urgent first: rows are in the order of their counts of CRITICAL, and those with the same in that of
their counts of ERROR, and so on. In every other order, this one comes second, and the event type last.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Self

from streams.notifications.priority import Priority
from tables.reserved_types import PROBES
from tables.totals import Count, make_matcher
from tables.views.counts_query import (
    WINDOW_NAMES,
    BadQueryError,
    OrderKey,
    Parameters,
    choice,
    decode_cursor,
    encode_cursor,
    parameters,
    pattern_of,
    priority_of,
)

#: The order where none is asked for.
URGENT: Final = "urgent"
_FIELDS: Final = ("event_type", "total", "rate", "last_seen", *(each.value.lower() for each in Priority))
#: Orders; ``-`` in front turns one round, so that the largest or latest come first.
SORTS: Final = (URGENT, *_FIELDS, *(f"-{field}" for field in _FIELDS))
#: Rows of an answer, and of the table up to the end of the page that is asked for.
MOST_ROWS: Final = 2000
MOST_RANKED: Final = 10_000
_RANKS: Final = {each.value: each.rank for each in Priority}


@dataclass(slots=True, frozen=True)
class MatrixQuery:
    """Which rows, in which order, and how many.

    Attributes:
        window: one of ``WINDOW_NAMES``.
        event_type: a pattern with ``*`` and ``?``; None for all.
        priority: only the counts of it, and the rows that have some; None for all.
        sort: one of ``SORTS``.
        limit: rows of a page.
        page: number of the page, from 1.
        after: place in the order after which the first page begins; None at the beginning.
    """

    window: str = "5m"
    event_type: str | None = None
    priority: str | None = None
    sort: str = URGENT
    limit: int = 100
    page: int = 1
    after: OrderKey | None = None


def parse_matrix_query(query: Parameters, *, limit: int = 100, numbered: bool = False) -> MatrixQuery:
    """What the table is asked for.

    Args:
        query: the parameters.
        limit: rows of a page unless it is asked for another number.
        numbered: whether pages go by numbers, which stay the same whatever is counted, and not by cursors.

    Raises:
        BadQueryError: a parameter is wrong.
    """
    given = parameters(
        query, ("window", "event_type", "priority", "sort", "limit", "page" if numbered else "cursor")
    )
    sort = choice(given, "sort", URGENT, SORTS)
    rows = _whole(given.get("limit", str(limit)), 1, MOST_ROWS)
    if rows is None:
        raise BadQueryError(f"The limit is a number from 1 to {MOST_ROWS}.")
    page = _whole(given.get("page", "1"), 1, MOST_RANKED // rows)
    if page is None:
        raise BadQueryError(
            f"The page is a number from 1 to {MOST_RANKED // rows}; "
            "give an event type with wildcards to see others."
        )
    return MatrixQuery(
        window=choice(given, "window", "5m", WINDOW_NAMES),
        event_type=pattern_of(given),
        priority=priority_of(given),
        sort=sort,
        limit=rows,
        page=page,
        after=decode_cursor(given["cursor"], _example(sort)) if "cursor" in given else None,
    )


def _whole(text: str, least: int, most: int) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 6 and least <= int(text) <= most:
        return int(text)
    return None


class TypeCounts:
    """What was counted of one event type, by the places of the columns.

    Attributes:
        event_type: whose row it is.
        counts: in the window.
        lately: in the last minute, for the rate.
        seen_ms: event time of the latest, in milliseconds since 1970; 0 where there is none.
    """

    __slots__ = ("counts", "event_type", "lately", "seen_ms")

    def __init__(self, event_type: str, columns: int) -> None:
        self.event_type = event_type
        self.counts = [0] * columns
        self.lately = [0] * columns
        self.seen_ms = [0] * columns


class Matrix:
    """All rows of a window.

    Args:
        priorities: all that were ever counted.

    Attributes:
        columns: every priority, the most urgent first, and then those that this version does not know.
        rows: by event type.
        lately_s: seconds that the rate is made of.
    """

    def __init__(self, priorities: Iterable[str], lately_s: float = 60.0) -> None:
        self.columns = [*_RANKS, *sorted(set(priorities) - _RANKS.keys())]
        self.rows: dict[str, TypeCounts] = {}
        self.lately_s = lately_s
        self._places = {name: place for place, name in enumerate(self.columns)}

    def add(self, items: Iterable[Count]) -> None:
        """Take in counts of the window."""
        for item in items:
            row = self.rows.get(item.event_type)
            if row is None:
                row = self.rows[item.event_type] = TypeCounts(item.event_type, len(self.columns))
            if (place := self._places.get(item.priority)) is not None:
                row.counts[place] += item.count
                row.seen_ms[place] = max(row.seen_ms[place], item.last_seen_ms)

    def add_lately(self, items: Iterable[Count]) -> None:
        """Take in counts of the last minute, of rows that are there."""
        for item in items:
            row = self.rows.get(item.event_type)
            if row is not None and (place := self._places.get(item.priority)) is not None:
                row.lately[place] += item.count

    def places(self, priority: str | None) -> Sequence[int]:
        """Places of the columns that are asked for."""
        if priority is None:
            return range(len(self.columns))
        return [self._places[priority]]


@dataclass(slots=True, frozen=True)
class MatrixRow:
    """A row as it is shown, of the priorities that were asked for.

    Attributes:
        event_type: whose row it is.
        counts: in the window, by the places of the columns; 0 for those that were not asked for.
        total: of them.
        rate: notifications a second in the last minute.
        last_seen_ms: event time of the latest, in milliseconds since 1970.
    """

    event_type: str
    counts: tuple[int, ...]
    total: int
    rate: float
    last_seen_ms: int


class _Reversed(str):
    """Text that comes before what it comes after."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)

    def __gt__(self, other: str) -> bool:
        return str.__lt__(self, other)


def order_key(sort: str) -> Callable[[MatrixRow], OrderKey]:
    """Key of a row in an order, from low to high."""
    field = sort.removeprefix("-")
    if field == "event_type":
        kind = _Reversed if sort != field else str
        return lambda row: (kind(row.event_type),)
    sign = -1 if sort != field else 1
    if field == URGENT:
        return lambda row: (*_urgency(row), row.event_type)
    value: Callable[[MatrixRow], Any]
    if field == "total":
        value = lambda row: row.total  # noqa: E731
    elif field == "rate":
        value = lambda row: row.rate  # noqa: E731
    elif field == "last_seen":
        value = lambda row: row.last_seen_ms  # noqa: E731
    else:
        place = _RANKS[field.upper()]
        value = lambda row: row.counts[place]  # noqa: E731
    return lambda row: (sign * value(row), *_urgency(row), row.event_type)


def _urgency(row: MatrixRow) -> Iterable[int]:
    # Of the known priorities alone, so that every worker has the same keys.
    return [-count for count in row.counts[: len(_RANKS)]]


def _example(sort: str) -> list[Any]:
    key = order_key(sort)(MatrixRow("", (0,) * len(_RANKS), 0, 0.0, 0))
    return [sort, *(str(part) if isinstance(part, str) else part for part in key)]


class FirstRows:
    """Finds the page that a query asks for, among rows in any order, without sorting all of them.

    Args:
        query: what is asked.
        matrix: whose rows they are.

    Attributes:
        matched: rows that are asked for, on all pages.
    """

    def __init__(self, query: MatrixQuery, matrix: Matrix) -> None:
        self._query = query
        self._key = order_key(query.sort)
        self._places = matrix.places(query.priority)
        self._lately_s = matrix.lately_s
        self._matches = make_matcher(query.event_type) if query.event_type is not None else None
        self._with_probes = (query.event_type or "")[:1] == PROBES[0]
        after = query.after
        if after is not None and query.sort == "-event_type":
            after = (_Reversed(after[0]),)
        self._after = after
        self._wanted = query.page * query.limit + 1
        #: The first ones, in order: up to the end of the page, and one more where there is one.
        self._found: list[tuple[OrderKey, MatrixRow]] = []
        self.matched = 0

    def add(self, rows: Iterable[TypeCounts]) -> None:
        """Look at some more."""
        found, wanted, after = self._found, self._wanted, self._after
        for each in rows:
            row = self._shown(each)
            if row is None:
                continue
            self.matched += 1
            key = self._key(row)
            if (after is not None and not key > after) or (len(found) == wanted and not key < found[-1][0]):
                continue
            insort(found, (key, row), key=itemgetter(0))
            if len(found) > wanted:
                found.pop()

    def _shown(self, row: TypeCounts) -> MatrixRow | None:
        event_type = row.event_type
        if self._matches is not None and not self._matches(event_type):
            return None
        if event_type == PROBES and not self._with_probes:
            return None
        places = self._places
        if len(places) == len(row.counts):
            counts, lately, seen_ms = tuple(row.counts), sum(row.lately), max(row.seen_ms)
        else:
            counts = tuple(count if place in places else 0 for place, count in enumerate(row.counts))
            lately = sum(row.lately[place] for place in places)
            seen_ms = max(row.seen_ms[place] for place in places)
        total = sum(counts)
        if not total:
            return None
        return MatrixRow(event_type, counts, total, lately / self._lately_s, seen_ms)

    def page(self) -> tuple[list[MatrixRow], str | None]:
        """The rows of the page, and the cursor of those after them, or None at the end."""
        begin, end = (self._query.page - 1) * self._query.limit, self._query.page * self._query.limit
        page = self._found[begin:end]
        more = len(self._found) > end
        return [row for _, row in page], encode_cursor(self._query.sort, page[-1][0]) if more else None


@dataclass(slots=True, frozen=True)
class Found:
    """A page of the table.

    Attributes:
        columns: every priority, by its place.
        rows: of the page.
        matched: rows on all pages.
        after: the cursor of what comes next; None at the end.
    """

    columns: list[str]
    rows: list[MatrixRow]
    matched: int
    after: str | None

    @classmethod
    def of(cls, matrix: Matrix, first: FirstRows) -> Self:
        """What was found in ``matrix``."""
        rows, after = first.page()
        return cls(matrix.columns, rows, first.matched, after)
