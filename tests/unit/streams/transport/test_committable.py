"""Which offsets may be committed: the lesser of what is durable and of what is under way, by partition."""

from __future__ import annotations

import pytest
from faust.types import TP

from streams.transport.committable import CommittableOffsets

ONE, OTHER = TP("notifications.error", 0), TP("notifications.error", 1)


class PassesWhatIsUnderWay(CommittableOffsets):
    """A broken variant: only counts hold a commit back."""

    def committable(self) -> dict[TP, int]:
        return dict(self._durable)


class MixesPartitions(CommittableOffsets):
    """A broken variant: one partition's effects hold back another's."""

    def outstanding(self, tp: TP) -> object:  # type: ignore[override]
        return super().outstanding(tp._replace(partition=0))


class RemembersTheLastAssignment(CommittableOffsets):
    """A broken variant: offsets of an assignment that has ended are committed in the next."""

    def forget(self) -> None:
        self._outstanding = {}


def faults(offsets: CommittableOffsets) -> list[str]:
    """What is wrong with the offsets that are offered in the course of two assignments."""
    seen: list[tuple[str, dict[TP, int], dict[TP, int]]] = []
    seen.append(("nothing is durable", offsets.committable(), {}))
    offsets.outstanding(ONE).begin(3)
    seen.append(("under way, not counted", offsets.committable(), {}))
    offsets.counted(ONE, 10)
    offsets.counted(OTHER, 7)
    seen.append(("one is under way", offsets.committable(), {ONE: 3, OTHER: 7}))
    before = offsets.outstanding(ONE)
    before.end(3)
    seen.append(("confirmed", offsets.committable(), {ONE: 10, OTHER: 7}))
    before.begin(8)
    offsets.outstanding(OTHER).begin(4)
    seen.append(("both are under way", offsets.committable(), {ONE: 8, OTHER: 4}))
    offsets.forget()
    seen.append(("the assignment has ended", offsets.committable(), {}))
    offsets.counted(ONE, 9)
    seen.append(("of the next assignment", offsets.committable(), {ONE: 9}))
    return [f"{when}: {got} instead of {wanted}" for when, got, wanted in seen if got != wanted]


def test_nothing_is_offered_past_what_is_durable_and_confirmed() -> None:
    assert faults(CommittableOffsets()) == []


@pytest.mark.parametrize("broken", [PassesWhatIsUnderWay, MixesPartitions, RemembersTheLastAssignment])
def test_a_broken_variant_is_told(broken: type[CommittableOffsets]) -> None:
    """The controls."""
    assert faults(broken())


def test_what_was_under_way_in_another_assignment_is_not_current() -> None:
    offsets = CommittableOffsets()
    before = offsets.outstanding(ONE)
    assert offsets.is_current(ONE, before)
    offsets.forget()
    assert not offsets.is_current(ONE, before)
    assert not offsets.is_current(ONE, before), "asking makes nothing"
    assert offsets.is_current(ONE, offsets.outstanding(ONE))
