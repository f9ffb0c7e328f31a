"""Event types that were not seen for long give their places back, and no count is lost or doubled by it.

The lives are those of the other tests of counting, with a clock that jumps by hours. What has lost its place
is in the total of the overflow type of its slice; of what came back, the total begins anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import example, given

from tables.combined_counter import CombinedCounter
from tables.reserved_types import OVERFLOW, PROBES
from tables.source_counter import SourceCounter
from tables.totals import Totals
from tests.property.counting_model import START_S, Cluster
from tests.property.counting_scenarios import Scenario, cluster_scenario, source_scenario
from tests.property.counting_truth import (
    PRIORITY,
    Cap,
    Record,
    Truth,
    check_source,
    sum_of,
    truth_of,
)
from tests.property.test_exact_counts import MANY, SEEDS

HOUR_S = 3600
#: Longer than 10 s rows are kept.
FORGET_S = 3 * HOUR_S


class Forgetting(Cluster):
    """A cluster in which event types are forgotten; its totals are compared otherwise, its rows as ever."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._sums: dict[int, int] = {}

    def commit(self, role: int) -> None:
        durable = self.workers[role].durable
        if durable is not None:
            self.committed[role] = max(durable, self.committed[role])

    def publish(self, key: bytes, value: bytes | None) -> None:
        super().publish(key, value)
        for slice_, total in sums_of(self.reader).items():
            if total < self._sums.get(slice_, 0):
                self.violations.append(
                    f"the totals of slice {slice_} fell from {self._sums[slice_]} to {total}"
                )
            self._sums[slice_] = total

    def _wrong(self) -> Iterator[str]:
        truths = [truth_of(records, self.cap) for records in self.inputs]
        for source, records in enumerate(self.inputs):
            yield from check_source(f"s{source}", self.workers[source].rows, records, self.now_s, self.cap)
        slices = [worker.counter for worker in self.workers[len(self.inputs) :]]
        combined: Counter[str] = Counter()
        for each in slices:
            for event_type, by_source in each.totals.get(PRIORITY, {}).items():
                combined[event_type] += sum(total.total for total in by_source.values())
        yield from wrong_totals("combined", combined, truths)
        yield from wrong_totals("reader", totals_of(self.reader), truths)
        if not self.not_healed:
            fresh = Totals()
            self.public.compact()
            for key, value in self.public.since(0):
                fresh.apply(key, value)
            yield from wrong_totals("new reader", totals_of(fresh), truths)


def sums_of(reader: Totals) -> dict[int, int]:
    """Slice -> sum of its totals, as a reader knows them now."""
    slices = reader._totals.get(PRIORITY, {})
    return {slice_: sum(each.total for each in totals.values()) for slice_, totals in slices.items()}


def totals_of(reader: Totals) -> Counter[str]:
    return Counter(
        {each.event_type: each.count for some in reader.since_ever_in_steps(PRIORITY) for each in some}
    )


def wrong_totals(who: str, found: Counter[str], truths: Sequence[Truth]) -> Iterator[str]:
    """How totals differ: what has no place has no name, and in all nothing is lost or doubled.

    An event type that a source still names, or names again at once, keeps what others have forgotten.
    """
    truth = sum_of(truths)
    forgotten = sum((each.forgotten for each in truths), Counter[str]())
    published = truth.totals.total() + forgotten.total()
    if found.total() != published:
        yield f"{who}: {found.total()} of {published} in all: {dict(found)}"
    named = truth.totals.keys() - {OVERFLOW}
    if named != found.keys() - {OVERFLOW}:
        yield f"{who}: names {found.keys()}, not {named}"
    for event_type in named:
        most = truth.totals[event_type] + forgotten[event_type]
        if not truth.totals[event_type] <= found[event_type] <= most:
            yield f"{who}: {event_type} is {found[event_type]}, not {truth.totals[event_type]} to {most}"


def of_long(seed: int) -> Scenario:
    """A life of hours and days, in which few event types have a place."""
    random = Random(seed)
    scenario = cluster_scenario(seed) if random.random() < 0.5 else source_scenario(seed, capped=True)
    gaps = random.choice([[0, 10, 4 * HOUR_S], [0, 0, 5 * HOUR_S], [HOUR_S, 2 * HOUR_S], [10, 9000, 30_000]])
    late = random.choice([[0], [0, 10], [0, 3000, -500]])
    names = [*"abcdef", PROBES][: random.choice([2, 4, 7])]
    inputs = []
    for source in scenario.inputs:
        time_s = START_S
        entries = []
        for offset, _ in source:
            time_s += random.choice(gaps)
            # The broker's clock may go back a little.
            broker_s = time_s - random.choice([0, 0, 0, 900])
            bucket = (broker_s - random.choice(late)) // 10 * 10
            entries.append((offset, Record(random.choice(names), bucket, broker_s)))
        inputs.append(entries)
    guests = random.choice([0, 70, 10**9])
    return replace(
        scenario, inputs=inputs, cap=Cap(random.choice([1, 2, 3]), guest_bytes=guests, forget_s=FORGET_S)
    )


@MANY
@example(
    15071
)  # the overflow type's total was not sent again after a crash that came after a place was given
@given(SEEDS)
def test_counts_are_exact_where_event_types_are_forgotten(seed: int) -> None:
    scenario = of_long(seed)
    assert scenario.play(Forgetting) == [], scenario


class EarlierCombiners(Forgetting):
    """Combiners of a version that knows nothing of it: what they do not know they leave out."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def merge(self, *arguments: Any, **_: Any) -> None:
            super().merge(*arguments)


@MANY
@given(SEEDS)
def test_combiners_of_an_earlier_version_lose_and_double_nothing(seed: int) -> None:
    """In a rolling upgrade: they only go on to name what was forgotten."""
    scenario = of_long(seed)
    wrong = [each for each in scenario.play(EarlierCombiners) if " in all: " in each or " fell " in each]
    assert wrong == [], scenario


def test_event_types_are_forgotten_in_many_of_these_lives() -> None:
    """The control of the lives: they would show nothing otherwise."""
    times = [
        sum(truth_of(source, of_long(seed).cap).times for source in of_long(seed).inputs)
        for seed in range(300)
    ]
    assert sum(number > 0 for number in times) > 100
    assert sum(number > 1 for number in times) > 30


# --- broken variants -----------------------------------------------------------------------------


class NoEpoch(Forgetting):
    """What comes back is counted from 0 under the name that it had."""

    class source_counter(SourceCounter):  # noqa: N801
        def flush(self, now_s: float) -> Any:
            self.totals.epochs.clear()
            return super().flush(now_s)


class ByOwnClock(Forgetting):
    """It is the worker's clock that decides when something is forgotten, at its flush."""

    class source_counter(SourceCounter):  # noqa: N801
        def reach(self, time_ms: int) -> None:
            pass

        def flush(self, now_s: float) -> Any:
            super().reach(int(now_s * 1000))
            return super().flush(now_s)


class NotWrittenBefore(Forgetting):
    """The rows of before are not written first."""

    class source_counter(SourceCounter):  # noqa: N801
        def _write_all_before(self) -> None:
            pass


class SaidOnce(Forgetting):
    """What was forgotten is not said again after a crash."""

    class source_counter(SourceCounter):  # noqa: N801
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.totals.gone.clear()


class TakesLateWord(Forgetting):
    """Combiners take up again what a worker that was behind names."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def merge(self, *arguments: Any, forgotten: int = 0, gone: Any = None) -> None:
            super().merge(*arguments, forgotten=forgotten if gone else 2**30, gone=gone)


class KnowsNoneAfterRestart(Forgetting):
    """Combiners forget with a restart how often sources had forgotten something."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._forgotten = {}


class DropsTheTotal(Forgetting):
    """What is forgotten is not moved into the overflow type."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def _forget(self, priority: str, *arguments: Any) -> None:
            super()._forget(priority, *arguments)
            self.totals[priority].get(OVERFLOW, {}).pop("forgotten", None)


class NamesStay(Forgetting):
    """What is forgotten goes to the overflow type, and its name stays."""

    class combined_counter(CombinedCounter):  # noqa: N801
        def _forget(self, priority: str, *arguments: Any) -> None:
            before = dict(self.totals.get(priority, {}))
            super()._forget(priority, *arguments)
            self.totals[priority] = before | self.totals[priority]


@pytest.mark.parametrize(
    "variant",
    [
        NoEpoch,
        ByOwnClock,
        NotWrittenBefore,
        SaidOnce,
        TakesLateWord,
        KnowsNoneAfterRestart,
        DropsTheTotal,
        NamesStay,
    ],
)
def test_variant_without_a_rule_fails(variant: type[Cluster]) -> None:
    """The same lives that the real counters pass."""
    for seed in range(3000):
        scenario = of_long(seed)
        if scenario.play(variant):
            assert scenario.play(Forgetting) == []
            return
    pytest.fail("no life told the variant apart")
