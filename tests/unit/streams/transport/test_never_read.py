"""How many records nobody read, told by the offset that is committed."""

from __future__ import annotations

from faust.types import TP

from streams.transport.never_read import NeverRead

ONE, OTHER = TP("notifications.debug", 0), TP("notifications.debug", 1)


def test_a_hole_counts_once_the_record_behind_it_may_be_committed() -> None:
    """Before that a crash leads to the same hole again, which must not count twice."""
    never = NeverRead()
    never.begin({ONE: 5})
    never.skipped(ONE, 90, 70)
    assert [never.up_to(ONE, offset) for offset in (0, 20, 90, 91)] == [5, 5, 5, 75]
    never.skipped(ONE, 200, 10)
    assert [never.up_to(ONE, offset) for offset in (91, 200, 201)] == [75, 75, 85]
    assert never.up_to(OTHER, 1000) == 0


def test_an_assignment_begins_with_what_was_committed() -> None:
    never = NeverRead()
    never.skipped(ONE, 90, 70)
    never.begin({ONE: 70})
    assert never.up_to(ONE, 1000) == 70
    # The control: a hole of the assignment before would count twice.
    never.skipped(ONE, 90, 70)
    assert never.up_to(ONE, 1000) == 140
