"""Exact counts of a source, through crashes at any point, lost stores, workers that wake up, and the cap.

After everything was consumed, rows of 10 s, a minute and an hour and the totals equal the number of distinct
offsets: in the source's rows, combined, and in public. Every rule that this rests on has a fixed scenario
that a variant without the rule fails.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tables.buckets import HOUR, MINUTE
from tables.rows import VersionedRows, base_name, bucket_name
from tables.source_counter import SourceCounter
from tests.property import counting_broken as broken
from tests.property.counting_model import ALL, START_S, Cluster, Store
from tests.property.counting_scenarios import Event, play, source_scenario
from tests.property.counting_truth import NO_CAP, Record

#: A failing seed says enough: it can be played again, and shrinking a seed finds nothing simpler.
MANY = settings(
    max_examples=1000,
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
SEEDS = st.integers(0, 2**48)


@MANY
@given(SEEDS, st.booleans())
def test_counts_of_a_source_are_exact(seed: int, capped: bool) -> None:
    """Whatever happens to the workers of a source, with and without a cap on event types."""
    scenario = source_scenario(seed, capped=capped)
    assert scenario.play() == [], scenario


def records(*each: tuple[str, int] | tuple[str, int, int]) -> list[tuple[int, Record]]:
    """Records at offsets 0, 1, ...: event type, bucket, and the broker's time where it is later."""
    return [
        (offset, Record(event_type, START_S + bucket, START_S + (broker[0] if broker else bucket)))
        for offset, (event_type, bucket, *broker) in enumerate(each)
    ]


def read(count: int) -> list[Event]:
    """Read so many, and flush them."""
    return [("read", 0, count), ("flush", 0, ALL)]


DIE: Event = ("die", 0, None)
COMMIT: Event = ("commit", 0)
PAUSE: Event = ("pause", 0, None)


def later(seconds: int) -> Event:
    return ("clock", seconds)


SCENARIOS = {
    "repeated records": (
        # Everything is durable but the commit.
        broken.NoReplayCheck,
        NO_CAP,
        records(("a", 0)),
        [*read(1), DIE],
    ),
    "crash between rows and sending": (
        broken.NoResend,
        NO_CAP,
        records(("a", 10), ("a", 520)),
        [("read", 0, 2), ("flush", 0, 3), DIE],
    ),
    "one key for all writers": (
        # The first worker wakes up with one record of two.
        broken.OneKey,
        NO_CAP,
        records(("a", 0), ("a", 0)),
        [PAUSE, ("turn", 0), ("wake", 0, 1, ALL)],
    ),
    "writers' names come back": (
        # The second worker is paused before it deletes what it superseded: keys of the first. The third has
        # the first one's name.
        broken.NamesComeBack,
        NO_CAP,
        records(("a", 0), ("a", 0), ("a", 0)),
        [
            *(*read(1), COMMIT, ("die", 1, None), DIE),
            *(("read", 0, 1), ("flush", 0, 3), PAUSE),
            ("turn", 0),
        ],
    ),
    "the base row forgets a minute": (
        # A crash leaves the row of bucket 0 ahead of the records. The next worker, while it repeats them,
        # closes its minute, writes a base row and dies too.
        broken.ClosesWhileReplaying,
        NO_CAP,
        records(("a", 0), ("b", 300), ("b", 300), ("b", 300), ("a", 310), ("a", 0)),
        [
            *(later(301), *read(2), COMMIT),
            *(later(1), ("read", 0, 4), ("flush", 0, 1), later(1000), DIE),
            *(*read(1), later(61), *read(1), later(61), DIE),
        ],
    ),
    "a base row that shadows another": (
        # The first worker closed minute 0 and wakes up with a base row that is newer than the second one's,
        # while the second counted another record in minute 0.
        broken.NewestBaseOnly,
        NO_CAP,
        records(("a", 0), ("b", 2000), ("a", 0), ("b", 2000), ("a", 0)),
        [
            *(later(961), *read(2), COMMIT, *read(1), later(39), ("flush", 0, ALL)),
            *(later(61), ("read", 0, 1), ("flush", 0, 0), PAUSE),
            *(later(1), *read(1), COMMIT, later(1), *read(2), COMMIT),
            *(("wake", 0, 0, ALL), DIE),
        ],
    ),
    "a row that a paused worker left": (
        # The second worker closed minute 0; then the first one's row of it, with the last record, arrives.
        broken.NoLookAhead,
        NO_CAP,
        records(("a", 0), ("b", 960), ("b", 960), ("a", 0)),
        [
            *(*read(2), COMMIT, *read(1), ("read", 0, 1), ("flush", 0, 0), PAUSE),
            *(later(90), *read(1), later(90), ("flush", 0, ALL)),
            *(COMMIT, ("wake", 0, 0, ALL), DIE),
        ],
    ),
    "a run over a row that a paused worker left": (
        broken.RunsWithoutALook,
        NO_CAP,
        records(("a", 0), ("b", 960), ("b", 960), ("a", 0)),
        [
            *(*read(2), COMMIT, *read(1), ("read", 0, 1), ("flush", 0, 0), PAUSE),
            *(later(90), *read(1), later(90), ("flush", 0, ALL)),
            *(COMMIT, ("wake", 0, 0, ALL), DIE),
        ],
    ),
    "a store that jumps over what others wrote": (
        # The first worker sleeps with a flush planned. The second counts another record; then the first wakes
        # up, writes, learns that it was replaced, and gets the source back with the store that it has.
        broken.OffsetJumps,
        NO_CAP,
        records(("a", 0), ("b", 0), ("c", 0)),
        [
            *(("read", 0, 1), ("flush", 0, 0), PAUSE),
            *(*read(2), COMMIT),
            *(("wake", 0, 0, ALL), ("rejoin", 0), ("die", 0, 0)),
        ],
    ),
    "expired before it was rolled up": (
        # Broker times jump by hours, so that bucket 0 is old at once; a crash comes after the base row.
        broken.HastyExpiry,
        NO_CAP,
        records(("a", 0), ("a", 20_000)),
        [later(20_000), ("read", 0, 2), ("flush", 0, 1), DIE],
    ),
    "places under the cap": (
        broken.CapByBucket,
        2,
        records(("a", 0), ("c", 10), ("b", 0)),
        [],
    ),
    "a total beyond the cap": (
        # c has a row of its own, and no total of its own.
        broken.NoOverflowTotal,
        1,
        records(("a", 0), ("c", 10), ("c", 10)),
        [*read(1), *read(1), *read(1), COMMIT, DIE],
    ),
    "a row beyond the cap": (
        # a has a total of its own, and no place in the row.
        broken.NoBaseBeyondCap,
        1,
        records(("a", 0), ("d", 10), ("a", 10), ("a", 10)),
        [*read(1), *read(1), *read(1), *read(1), COMMIT, DIE],
    ),
    "base row last": (
        # A crash comes when the row of a new minute is durable, and the base row does not yet name it.
        broken.BaseLast,
        NO_CAP,
        records(("a", 0), ("a", 960)),
        [*read(1), COMMIT, ("read", 0, 1), ("flush", 0, 1), DIE],
    ),
    "commit of what was read": (
        broken.CommitsWhatWasRead,
        NO_CAP,
        records(("a", 0)),
        [("read", 0, 1), COMMIT, DIE],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_rule_holds_and_a_variant_without_it_fails(name: str) -> None:
    """The real counter passes the scenario, and the one that leaves out the rule does not."""
    variant, cap, source, events = SCENARIOS[name]
    for rising in (True, False):
        assert play(Cluster([source, []], cap, rising=rising), events) == []
    outcomes = [play(variant([source, []], cap, rising=rising), events) for rising in (True, False)]
    assert any(outcomes)


def test_hour_takes_the_largest_of_its_minutes() -> None:
    """A newer version of a minute, made when its fine rows had gone, takes nothing from the hour."""
    store = Store()
    for writer, offset, counts in (("v", 1, {"a": 2, "b": 1}), ("w", 5, {"a": 1})):
        rows = VersionedRows(store, writer)
        base = {"totals": {}, "minutes": [], "hours": [START_S], "expired_before": 0}
        store.apply(
            [
                rows.encode(base_name("s"), offset, base),
                rows.encode(bucket_name("s", MINUTE, START_S + 60), offset, counts),
            ],
            [0, 1],
        )
    counter = SourceCounter("s", VersionedRows(store, "x"), max_event_types=NO_CAP, lateness_s=0)
    counter.processed = 5
    flush = counter.flush(START_S + 2 * HOUR)
    assert flush is not None
    assert flush.emission.buckets[HOUR, START_S] == {"a": 2, "b": 1}
