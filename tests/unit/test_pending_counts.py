"""Counts since the last flush: the same however they were taken in."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables import pending_counts
from tables.pending_counts import PendingCounts

TYPES = st.sampled_from(["a", "b", "c", "d"])
ADDED = st.lists(TYPES | st.lists(TYPES), max_size=30)


@given(ADDED, st.integers(1, 8))
def test_counts_are_those_of_each_record_in_the_order_of_arrival(
    added: list[str | list[str]], most: int
) -> None:
    """The cap on event types hits those that came last, so their order matters."""
    each: list[str] = []
    counts = PendingCounts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending_counts, "_MOST_LISTED", most)
        for some in added:
            if isinstance(some, str):
                counts.add(some)
            else:
                counts.add_all(some)
            each += some
            assert len(counts._listed) < most
    assert list(counts.take().items()) == list(Counter(each).items())
    assert counts.take() == Counter(each)
