"""Offsets whose effects are under way."""

from __future__ import annotations

import pytest

from streams.transport.outstanding import OutstandingOffsets


def under_way(*offsets: int) -> OutstandingOffsets:
    outstanding = OutstandingOffsets()
    for offset in offsets:
        outstanding.begin(offset)
    return outstanding


def test_nothing_under_way() -> None:
    outstanding = OutstandingOffsets()
    assert outstanding.floor() is None
    assert outstanding.committable(7) == 7
    assert len(outstanding) == 0


def test_commit_stops_at_the_lowest_offset_under_way() -> None:
    outstanding = under_way(3, 5)
    assert outstanding.committable(10) == 3
    outstanding.end(3)
    assert outstanding.committable(10) == 5
    outstanding.end(5)
    assert outstanding.committable(10) == 10


def test_commit_stops_at_what_is_durable() -> None:
    assert under_way(5).committable(2) == 2


def test_effects_that_end_out_of_order() -> None:
    outstanding = under_way(1, 2, 3)
    outstanding.end(2)
    outstanding.end(3)
    assert outstanding.floor() == 1
    outstanding.end(1)
    assert outstanding.floor() is None


def test_offset_with_two_effects_waits_for_both() -> None:
    outstanding = under_way(4, 4)
    assert len(outstanding) == 2
    outstanding.end(4)
    assert outstanding.floor() == 4
    outstanding.end(4)
    assert outstanding.floor() is None


def test_offset_that_begins_again_after_it_ended() -> None:
    """As when the second effect of a record starts after the first was confirmed."""
    outstanding = under_way(4)
    outstanding.end(4)
    outstanding.begin(4)
    assert outstanding.floor() == 4
    outstanding.end(4)
    assert outstanding.floor() is None


def test_lower_offset_may_begin_later() -> None:
    assert under_way(9, 2).floor() == 2


@pytest.mark.parametrize("begun", [(), (1,), (1, 2)])
def test_end_of_what_did_not_begin_is_refused(begun: tuple[int, ...]) -> None:
    outstanding = under_way(*begun)
    with pytest.raises(ValueError, match="offset 3 has no effect under way"):
        outstanding.end(3)
    assert len(outstanding) == len(begun)
