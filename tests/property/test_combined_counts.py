"""Exact counts of the whole cluster: two sources, two slices, the public topic, whatever happens to any.

Combined rows and totals, and what readers of the public topic answer, equal the number of distinct offsets.
Every rule that this rests on has a fixed scenario that a variant without the rule fails.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tables.partials import make_slicer
from tables.reserved_types import OVERFLOW
from tests.property import counting_broken as broken
from tests.property.counting_model import ALL, SLICES, START_S, Cluster
from tests.property.counting_scenarios import Event, cluster_scenario, play
from tests.property.counting_truth import NO_CAP, Record

MANY = settings(
    max_examples=800,
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
SEEDS = st.integers(0, 2**48)


@MANY
@given(SEEDS)
def test_counts_of_the_cluster_are_exact(seed: int) -> None:
    """Whatever happens to the workers of two sources and two slices."""
    scenario = cluster_scenario(seed)
    assert scenario.play() == [], scenario


SOURCE = 0
#: Event types of the slice that the overflow belongs to, so that all that a scenario says is of one slice.
SLICE_OF = make_slicer(SLICES)
FIRST, SECOND = [t for t in "abcdefgh" if SLICE_OF(t) == SLICE_OF(OVERFLOW)][:2]
SLICE = 2 + SLICE_OF(OVERFLOW)


def records(*each: tuple[str, int]) -> list[tuple[int, Record]]:
    """Records at offsets 0, 1, ...: event type and bucket."""
    return [(o, Record(t, START_S + bucket, START_S + bucket)) for o, (t, bucket) in enumerate(each)]


def messages(*counts: int) -> list[Event]:
    """The source sends a message for so many records, one after the other."""
    return [
        event
        for count in counts
        for event in (("read", SOURCE, count), ("flush", SOURCE, ALL), ("commit", SOURCE))
    ]


def combine(*counts: int) -> list[Event]:
    """The slice takes in so many messages, flushing after each number."""
    return [event for count in counts for event in (("read", SLICE, count), ("flush", SLICE, ALL))]


COMMIT: Event = ("commit", SLICE)
DIE: Event = ("die", SLICE, None)
PAUSE: Event = ("pause", SLICE, None)

SCENARIOS = {
    "cumulative counts": (
        broken.AddsUp,
        NO_CAP,
        records((FIRST, 0), (FIRST, 0)),
        [*messages(1, 1), *combine(1, 1)],
    ),
    "one key for all writers": (
        # The paused worker wakes up with the first message of two.
        broken.OneKey,
        NO_CAP,
        records((FIRST, 0), (FIRST, 0)),
        [
            *(*messages(1, 1), ("read", SLICE, 1), ("flush", SLICE, 0), PAUSE),
            *(*combine(2), COMMIT, ("wake", 0, 0, ALL), DIE),
        ],
    ),
    "as of what the row holds": (
        # A crash leaves one row of two as of message 2. The next worker is paused when it has taken in
        # message 1, and wakes up when message 2 is committed.
        broken.PromisesTooMuch,
        NO_CAP,
        records((FIRST, 0), (FIRST, 0), (FIRST, 10), (FIRST, 0), (FIRST, 10)),
        [
            *(*messages(1, 2, 2), *combine(1), COMMIT),
            *(("read", SLICE, 2), ("flush", SLICE, 1), DIE),
            *(("read", SLICE, 1), ("flush", SLICE, 0), PAUSE),
            *(*combine(2), COMMIT, ("wake", 0, 0, ALL), DIE),
        ],
    ),
    "a base row that ties with another": (
        # Both were written as of message 2; the paused worker's does not name the minute of bucket 0.
        broken.NewestBaseOnly,
        NO_CAP,
        records((FIRST, 0), (FIRST, 960), (FIRST, 0), (FIRST, 960), (FIRST, 0)),
        [
            *(*messages(2, 1, 1, 1), *combine(1), COMMIT, *combine(1)),
            *(("clock", 61), ("read", SLICE, 1), ("flush", SLICE, 0), PAUSE),
            *(*combine(2), *combine(1), COMMIT, ("wake", 0, 0, ALL), DIE),
        ],
    ),
    "a total that no row carries": (
        # Beyond the cap the second type has a row of its own, and no total of its own.
        broken.TotalsOnTheWay,
        1,
        records((FIRST, 0), (SECOND, 10)),
        [*messages(1), *combine(1), COMMIT, *messages(1), *combine(1), COMMIT, DIE],
    ),
    "totals are published before their rows expire": (
        broken.SilentAfterRestart,
        NO_CAP,
        records((FIRST, 0), (FIRST, 0)),
        [*messages(1), *combine(1), *messages(1), *combine(1), COMMIT, DIE, ("clock", 9000)],
    ),
    "commit of what was read": (
        broken.CommitsWhatWasRead,
        NO_CAP,
        records((FIRST, 0)),
        [("read", SOURCE, 1), ("flush", SOURCE, ALL), ("read", SLICE, 1), COMMIT, DIE],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_rule_holds_and_a_variant_without_it_fails(name: str) -> None:
    """The real counters pass the scenario, and those that leave out the rule do not."""
    variant, cap, source, events = SCENARIOS[name]
    for rising in (True, False):
        assert play(Cluster([source, []], cap, rising=rising), events) == []
    outcomes = [play(variant([source, []], cap, rising=rising), events) for rising in (True, False)]
    assert any(outcomes)
