"""The latest times of event types are those of the records, whichever way the records come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.notifications.alike_times import in_order, layout_of, prefixes_of
from tables.last_seen import LastSeen, OrderedTimes

START_MS = 1_304_978_390_000  # 2011-05-09 21:59:50
TYPES = ("a", "b", "c")
LAYOUTS = ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ")

Seen = list[tuple[str, int]]

#: Milliseconds after the start; few of them, so that equal ones and ones out of order are met.
after = st.integers(0, 30).map(lambda step: START_MS + 777 * step)
runs = st.lists(
    st.tuples(
        st.sampled_from(["one by one", "as numbers", *LAYOUTS]),
        st.lists(st.tuples(st.sampled_from(TYPES), after), min_size=1, max_size=5),
    ),
    max_size=8,
)


def ordered(layout: str, run: Seen) -> OrderedTimes:
    """As `agents.tally` makes them."""
    times = [datetime.fromtimestamp(ms / 1000, UTC) for _, ms in run]
    texts = [time.strftime(layout) for time in times]
    found = layout_of(texts)
    assert found is not None
    assert in_order(texts)
    starts = [ms - ms % 10_000 for _, ms in run]
    return OrderedTimes(found, [t for t, _ in run], texts, dict(zip(prefixes_of(texts), starts, strict=True)))


def expected(run: Sequence[tuple[str, int]]) -> dict[str, int]:
    seen: dict[str, int] = {}
    for event_type, ms in run:
        seen[event_type] = max(ms, seen.get(event_type, -1))
    return seen


def play(last_seen: LastSeen, how: str, run: Seen) -> Seen:
    """Note a run, and return it in the order in which it was noted."""
    if how == "one by one":
        for event_type, ms in run:
            last_seen.add(event_type, ms)
    elif how == "as numbers":
        last_seen.add_run(expected(run))
    else:
        run = sorted(run, key=lambda each: each[1])
        last_seen.add_run(ordered(how, run))
    return run


def check(last_seen: LastSeen, found: list[tuple[str, Seen]]) -> None:
    noted: Seen = []
    for how, run in found:
        noted += play(last_seen, how, run)
    taken = last_seen.take()
    assert taken == expected(noted)
    assert list(taken) == list(expected(noted))  # in the order of arrival
    assert last_seen.take() == {}


@given(runs, runs)
def test_the_latest_times_are_those_of_the_records(
    first: list[tuple[str, Seen]], second: list[tuple[str, Seen]]
) -> None:
    last_seen = LastSeen()
    check(last_seen, first)
    check(last_seen, second)  # nothing of the first is left


class Believing(LastSeen):
    """The control: takes every text for later than those before, of whatever layout they are."""

    def add_run(self, seen: Mapping[str, int] | OrderedTimes) -> None:
        self._latest_text = ""
        super().add_run(seen)


def test_texts_that_go_back_are_read_first() -> None:
    back = [(LAYOUTS[0], [("a", START_MS + 20_000)]), (LAYOUTS[0], [("a", START_MS)])]
    check(LastSeen(), back)
    with pytest.raises(AssertionError):
        check(Believing(), back)


@pytest.mark.parametrize(
    "texts",
    [
        ["2011-05-09 22:00:14", "2011-05-09T22:00:14"],
        ["2011-05-09 22:00:14.5"],
        ["2011-05-09 22:00:14+01:00"],
        ["2011-05-09 22:00:14", "2011-05-09 22:00:1", "42011-05-09 22:00:14"],
        ["٢011-05-09 22:00:14"],
    ],
)
def test_texts_that_do_not_sort_as_their_times_have_no_layout(texts: list[str]) -> None:
    assert layout_of(texts) is None
