"""Counts by event type and priority: rows, orders, and pages of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.notifications.priority import Priority
from tables.reserved_types import PROBES
from tables.totals import Count
from tables.views.counts_query import BadQueryError
from tables.views.matrix import (
    MOST_RANKED,
    MOST_ROWS,
    SORTS,
    FirstRows,
    Matrix,
    MatrixQuery,
    MatrixRow,
    parse_matrix_query,
)

_NAMES = st.sampled_from(["a", "b.c", "b.d", "longer.event.type", "é", PROBES]) | st.text(max_size=4)
_PRIORITIES = st.sampled_from([*Priority, "NOTICE"])
_COUNTS = st.lists(
    st.builds(Count, _NAMES, _PRIORITIES, st.integers(1, 4), st.integers(0, 3)),
    max_size=40,
    unique_by=lambda item: (item.event_type, item.priority),
)


def matrix_of(items: list[Count], lately: list[Count] | None = None) -> Matrix:
    """The table of some counts; what was counted lately has a column, as all that the totals know has."""
    lately = lately or []
    matrix = Matrix({item.priority for item in [*items, *lately]})
    matrix.add(items)
    matrix.add_lately(lately)
    return matrix


def page_of(
    matrix: Matrix, parameters: dict[str, str], *, numbered: bool = False, first: type[FirstRows] = FirstRows
) -> tuple[list[MatrixRow], str | None, int]:
    """A page, the cursor of the next, and how many rows there are."""
    found = first(parse_matrix_query(parameters, numbered=numbered), matrix)
    rows = [*matrix.rows.values()]
    for start in range(0, len(rows), 3):
        found.add(rows[start : start + 3])
    return *found.page(), found.matched


def expected(items: list[Count], lately: list[Count], priority: str | None, sort: str) -> list[Any]:
    """Event types and their sums in order, found in the simplest way."""
    columns = [*Priority, "NOTICE"] if priority is None else [Priority(priority)]

    def counts(event_type: str, some: list[Count]) -> list[int]:
        return [
            sum(each.count for each in some if (each.event_type, each.priority) == (event_type, column))
            for column in columns
        ]

    names = {item.event_type for item in items if item.priority in columns and item.event_type != PROBES}
    field = sort.removeprefix("-")

    def value(name: str) -> Any:
        if field == "rate":
            return sum(counts(name, lately))
        if field == "last_seen":
            return max(
                item.last_seen_ms for item in items if item.event_type == name and item.priority in columns
            )
        if field == "total":
            return sum(counts(name, items))
        if field.upper() in columns:
            return counts(name, items)[columns.index(Priority(field.upper()))]
        return 0

    def urgency(name: str) -> list[int]:
        return [
            -count
            for count, column in zip(counts(name, items), columns, strict=True)
            if column in [*Priority]
        ]

    if field == "event_type":
        found = sorted(names, reverse=sort != field)
    else:
        sign = -1 if sort != field else 1
        found = sorted(names, key=lambda name: (sign * value(name), urgency(name), name))
    return [(name, sum(counts(name, items))) for name in found]


@given(
    items=_COUNTS,
    lately=_COUNTS,
    sort=st.sampled_from(SORTS),
    priority=st.none() | st.sampled_from([*Priority]),
    limit=st.integers(1, 7),
    numbered=st.booleans(),
)
@example(
    items=[Count("a", "CRITICAL", 1, 0), Count("b", "CRITICAL", 1, 0)],
    lately=[Count("b", "NOTICE", 1, 0)],
    sort="-rate",
    priority=None,
    limit=1,
    numbered=False,
)
def test_pages_have_every_row_once_and_in_order(
    items: list[Count],
    lately: list[Count],
    sort: str,
    priority: Priority | None,
    limit: int,
    numbered: bool,
) -> None:
    matrix = matrix_of(items, lately)
    parameters = {"sort": sort, "limit": str(limit)} | ({"priority": priority.value} if priority else {})
    wanted = expected(items, lately, priority, sort)
    got: list[Any] = []
    for number in range(1, 100):
        rows, cursor, matched = page_of(matrix, parameters, numbered=numbered)
        assert matched == len(wanted)
        assert len(rows) == limit or cursor is None
        got += [(row.event_type, row.total) for row in rows]
        if cursor is None:
            break
        parameters |= {"page": str(number + 1)} if numbered else {"cursor": cursor}
    assert got == wanted


class _ForgetsTheLast(FirstRows):
    """Keeps no row beyond the page, and so does not see that there is a next one."""

    def __init__(self, query: MatrixQuery, matrix: Matrix) -> None:
        super().__init__(query, matrix)
        self._wanted -= 1


def test_pages_that_end_too_early_show() -> None:
    matrix = matrix_of([Count(name, "INFO", 1, 0) for name in "abc"])
    assert page_of(matrix, {"limit": "2"})[1] is not None
    assert page_of(matrix, {"limit": "2"}, first=_ForgetsTheLast)[1] is None


def test_the_most_urgent_come_first_whatever_there_is_of_others() -> None:
    matrix = matrix_of(
        [
            Count("much.debug", "DEBUG", 10**9, 0),
            Count("one.error", "ERROR", 1, 0),
            Count("critical", "CRITICAL", 2, 0),
            Count("critical.and.error", "CRITICAL", 2, 0),
            Count("critical.and.error", "ERROR", 1, 0),
        ]
    )
    names = [row.event_type for row in page_of(matrix, {})[0]]
    assert names == ["critical.and.error", "critical", "one.error", "much.debug"]


def test_a_priority_leaves_only_its_own_counts() -> None:
    items = [Count("a", "ERROR", 3, 1000), Count("a", "INFO", 4, 9000), Count("b", "INFO", 5, 9000)]
    matrix = matrix_of(items, [Count("a", "ERROR", 60, 0), Count("a", "INFO", 120, 0)])
    (row,), _, _ = page_of(matrix, {"priority": "error"})
    assert (row.event_type, row.total, row.rate, row.last_seen_ms) == ("a", 3, 1.0, 1000)
    assert dict(zip(matrix.columns, row.counts, strict=True))["INFO"] == 0


def test_probes_are_shown_where_they_are_asked_for() -> None:
    matrix = matrix_of([Count(PROBES, "INFO", 3, 0), Count("a", "INFO", 1, 0)])
    assert [row.event_type for row in page_of(matrix, {})[0]] == ["a"]
    assert [row.event_type for row in page_of(matrix, {"event_type": "(*"})[0]] == [PROBES]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"sort": "count"}, "There is no sort 'count'"),
        ({"limit": "0"}, f"The limit is a number from 1 to {MOST_ROWS}."),
        ({"limit": f"{MOST_ROWS + 1}"}, f"The limit is a number from 1 to {MOST_ROWS}."),
        ({"limit": "²"}, "The limit is a number"),
        ({"page": "0"}, f"The page is a number from 1 to {MOST_RANKED // 100}"),
        ({"page": "101"}, "give an event type with wildcards"),
        ({"page": "6", "limit": "2000"}, "The page is a number from 1 to 5"),
        ({"cursor": "x"}, "There is no parameter 'cursor'"),
        ({"window": "2h"}, "There is no window '2h'"),
        ({"event_type": "*" * 9}, "at most 8 wildcards"),
        ({"priority": "loud"}, "There is no priority 'loud'"),
    ],
)
def test_wrong_parameters_are_told(parameters: dict[str, str], words: str) -> None:
    with pytest.raises(BadQueryError) as told:
        parse_matrix_query(parameters, numbered=True)
    assert words in str(told.value)


@given(cursor=st.text(max_size=60), sort=st.sampled_from(SORTS))
def test_a_cursor_that_is_none_is_told(cursor: str, sort: str) -> None:
    if cursor:
        with pytest.raises(BadQueryError):
            parse_matrix_query({"cursor": cursor, "sort": sort})


def test_a_cursor_is_of_its_order_alone() -> None:
    cursor = page_of(matrix_of([Count(name, "INFO", 1, 0) for name in "ab"]), {"limit": "1"})[1]
    assert cursor is not None
    parse_matrix_query({"cursor": cursor})
    for sort in SORTS[1:]:
        with pytest.raises(BadQueryError):
            parse_matrix_query({"cursor": cursor, "sort": sort})
