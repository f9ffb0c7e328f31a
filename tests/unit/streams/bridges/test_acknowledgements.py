"""Nothing is acknowledged for its neighbour's sake."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.bridges.acknowledgements import Acknowledgements


def test_one_acknowledgement_stands_for_all_before_it_and_the_rest_are_named():
    found = Acknowledgements()
    for tag in range(1, 7):
        found.delivered(tag)
    for tag in (2, 1, 4, 6):
        found.settled(tag)
    assert found.take() == [(2, True), (4, False), (6, False)]
    assert len(found) == 2
    assert found.take() == []
    found.settled(3)
    assert found.take() == [(3, True)]


def test_what_was_given_back_or_is_unknown_is_not_acknowledged():
    found = Acknowledgements()
    found.delivered(1)
    found.returned(1)
    found.settled(1)
    found.settled(9)
    assert (found.take(), len(found)) == ([], 0)


@given(st.lists(st.tuples(st.sampled_from(["deliver", "settle", "return", "take"]), st.integers(0, 30))))
def test_exactly_what_is_settled_is_acknowledged_once(steps: list[tuple[str, int]]):
    found = Acknowledgements()
    held: dict[int, bool] = {}
    newest = 0

    def take() -> None:
        covered: list[int] = []
        for tag, all_before in found.take():
            # As RabbitMQ does: what is outstanding up to the tag, or the tag alone.
            covered += [each for each in held if each == tag or (all_before and each < tag)]
        assert sorted(covered) == [tag for tag, settled in held.items() if settled]
        for tag in covered:
            del held[tag]

    for step, number in steps:
        if step == "deliver":
            newest += 1
            held[newest] = False
            found.delivered(newest)
        elif step == "take":
            take()
        elif number in held:
            if step == "settle":
                held[number] = True
                found.settled(number)
            else:
                del held[number]
                found.returned(number)
    take()
    assert len(found) == len(held)
