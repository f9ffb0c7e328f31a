"""Commit safety: a committed offset is never past a record whose effects are not all durable.

Effects besides counts (forwarded alerts, dead letters) end in any order, while counts become durable; and
what the simulated cluster commits is compared with what a fresh worker would find in its logs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from streams.transport.outstanding import OutstandingOffsets
from tests.property.counting_broken import CommitsWhatWasRead
from tests.property.counting_model import Cluster
from tests.property.counting_scenarios import cluster_scenario, source_scenario

SEEDS = st.integers(0, 2**48)
MANY = settings(
    max_examples=400, deadline=None, print_blob=True, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


class CommitsWhatIsCounted(OutstandingOffsets):
    """Passes effects that are under way."""

    def committable(self, durable: int) -> int:
        return durable


class ForgetsSecondEffect(OutstandingOffsets):
    """Takes an offset for done when one of its effects is."""

    def end(self, offset: int) -> None:
        if self._open[offset]:
            super().end(offset)
            while self._open[offset]:
                super().end(offset)


class RemembersTheLast(OutstandingOffsets):
    """Knows only the latest offset that began an effect."""

    def begin(self, offset: int) -> None:
        self._heap.clear()
        super().begin(offset)


def violations(seed: int, outstanding: OutstandingOffsets) -> Iterator[str]:
    """Offsets are read in order, some with effects; effects end in any order; counts become durable."""
    random = Random(seed)
    under_way: Counter[int] = Counter()
    read = durable = committed = 0
    for _ in range(random.randint(1, 80)):
        kind = random.choice(["read", "read", "end", "end", "durable", "commit", "commit"])
        if kind == "read":
            read += random.choice([1, 1, 3])
            for _ in range(random.choice([0, 1, 1, 2])):
                outstanding.begin(read - 1)
                under_way[read - 1] += 1
        elif kind == "end" and under_way:
            offset = random.choice(list(under_way.elements()))
            outstanding.end(offset)
            under_way -= Counter([offset])
        elif kind == "durable":
            durable = random.randint(durable, read)
        elif kind == "commit":
            offered = outstanding.committable(durable)
            if offered > durable:
                yield f"{offered} is offered, and counts are durable below {durable}"
            if under_way and offered > min(under_way):
                yield f"{offered} is offered, and {min(under_way)} has effects under way"
            if offered < min([durable, *under_way]):
                yield f"{offered} is offered, and nothing is in the way up to {min([durable, *under_way])}"
            if offered < committed:
                yield f"{offered} is offered after {committed}"
            committed = max(committed, offered)
    if len(outstanding) != under_way.total():
        yield f"{len(outstanding)} effects are under way, and it is {under_way.total()}"


@MANY
@given(SEEDS)
def test_commit_stops_at_the_first_effect_under_way(seed: int) -> None:
    """What is offered is the lesser of what is durable and of the lowest offset with an effect under way."""
    assert list(violations(seed, OutstandingOffsets())) == []


@pytest.mark.parametrize("variant", [CommitsWhatIsCounted, ForgetsSecondEffect, RemembersTheLast])
def test_a_variant_that_passes_an_effect_fails(variant: type[OutstandingOffsets]) -> None:
    """Negative controls of the test above."""
    assert any(True for seed in range(200) for _ in violations(seed, variant()))


def commits(found: list[str]) -> list[str]:
    return [violation for violation in found if ", committed " in violation]


@MANY
@given(SEEDS, st.booleans())
def test_no_commit_is_past_what_is_durable(seed: int, capped: bool) -> None:
    """Whatever was committed was in durable rows and sent on, or in durable totals of its slice."""
    for scenario in (source_scenario(seed, capped=capped), cluster_scenario(seed)):
        assert commits(scenario.play(Cluster)) == [], scenario


def test_commit_of_what_was_read_fails() -> None:
    """Negative control of the test above."""
    assert any(commits(cluster_scenario(seed).play(CommitsWhatWasRead)) for seed in range(100))
