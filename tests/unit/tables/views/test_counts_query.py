"""Orders and pages of counts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.totals import Count
from tables.views.counts_query import ORDERS, CountsQuery, FirstOf, order_key, parse_counts_query

_TYPES = st.sampled_from(["a", "b.c", "b.d", "longer.event.type", "é"])
_PRIORITIES = st.sampled_from(["CRITICAL", "INFO", "DEBUG"])
_COUNTS = st.lists(
    st.builds(
        Count, _TYPES | st.text(min_size=1, max_size=5), _PRIORITIES, st.integers(1, 4), st.integers(0, 3)
    ),
    max_size=40,
    unique_by=lambda item: (item.event_type, item.priority),
)


def page_of(items: Iterable[Count], query: CountsQuery) -> tuple[list[Count], str | None]:
    """A page of them, and the cursor of the next one."""
    found = FirstOf(query)
    found.add(items)
    return found.page()


@given(items=_COUNTS, sort=st.sampled_from(list(ORDERS)), limit=st.integers(1, 7))
def test_pages_have_every_item_once_and_in_order(items: list[Count], sort: str, limit: int) -> None:
    reverse = sort == "-event_type"
    ordered = sorted(items, key=order_key(sort), reverse=reverse)
    got: list[Count] = []
    parameters = {"sort": sort, "limit": str(limit)}
    while True:
        page, cursor = page_of(ordered, parse_counts_query(parameters))
        assert len(page) <= limit
        got += page
        if cursor is None:
            break
        assert len(page) == limit
        parameters["cursor"] = cursor
    assert got == ordered


@given(
    items=_COUNTS,
    gone=st.sets(st.integers(0, 40)),
    more=_COUNTS,
    sort=st.sampled_from(["event_type", "-event_type"]),
    limit=st.integers(1, 7),
)
def test_pages_by_event_type_keep_what_stays_while_others_come_and_go(
    items: list[Count], gone: set[int], more: list[Count], sort: str, limit: int
) -> None:
    ordered = sorted(items, key=order_key(sort), reverse=sort == "-event_type")
    page, cursor = page_of(ordered, CountsQuery(sort=sort, limit=limit))
    names = {(item.event_type, item.priority) for item in items}
    stays = [item for number, item in enumerate(ordered) if number not in gone]
    later = sorted(
        stays + [item for item in more if (item.event_type, item.priority) not in names],
        key=order_key(sort),
        reverse=sort == "-event_type",
    )
    got = list(page)
    while cursor is not None:
        page, cursor = page_of(
            later, parse_counts_query({"sort": sort, "limit": str(limit), "cursor": cursor})
        )
        got += page
    assert len(got) == len({(item.event_type, item.priority) for item in got})
    assert [item for item in stays if item not in got] == []


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("-count", ["b/INFO", "a/ERROR", "a/INFO", "c/DEBUG"]),
        ("count", ["c/DEBUG", "a/ERROR", "a/INFO", "b/INFO"]),
        ("event_type", ["a/ERROR", "a/INFO", "b/INFO", "c/DEBUG"]),
        ("-event_type", ["c/DEBUG", "b/INFO", "a/ERROR", "a/INFO"]),
        ("priority", ["a/ERROR", "b/INFO", "a/INFO", "c/DEBUG"]),
        ("-priority", ["c/DEBUG", "b/INFO", "a/INFO", "a/ERROR"]),
        ("-last_seen", ["c/DEBUG", "b/INFO", "a/INFO", "a/ERROR"]),
        ("last_seen", ["a/ERROR", "a/INFO", "b/INFO", "c/DEBUG"]),
    ],
)
def test_orders(sort: str, expected: list[str]) -> None:
    items = [
        Count("a", "INFO", 2, 20),
        Count("c", "DEBUG", 1, 40),
        Count("b", "INFO", 9, 30),
        Count("a", "ERROR", 2, 10),
    ]
    ordered = sorted(items, key=order_key(sort), reverse=sort == "-event_type")
    assert [f"{item.event_type}/{item.priority}" for item in ordered] == expected
