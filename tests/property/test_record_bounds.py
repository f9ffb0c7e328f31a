"""No record is too large, whatever is counted: rows and messages in parts, and names bounded in bytes.

The lives are those of the other tests of counting; here nearly every row is written in several records,
which a worker may stop between, and names of very different lengths compete for places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given

from tables.row_bodies import read_fine
from tables.rows import Change, VersionedRows
from tables.source_counter import SourceCounter
from tests.property.counting_model import Cluster
from tests.property.counting_scenarios import Scenario, cluster_scenario, play, source_scenario
from tests.property.counting_truth import NO_CAP, Cap, Record
from tests.property.test_exact_counts import MANY, SEEDS

_ROW_BYTES = 40
_LARGEST_BYTES = 300


class InParts(Cluster):
    """Rows of more than 40 bytes are written in parts."""

    row_bytes = _ROW_BYTES
    largest_bytes = _LARGEST_BYTES


def too_large(cluster: Cluster) -> Iterator[str]:
    """Records of a cluster that are larger than they may be."""
    for log in (cluster.partial_log, *cluster.combined_logs):
        yield from (f"{key!r}" for _, key, value in log.entries if value and len(value) > _ROW_BYTES)
    for messages in cluster.partials:
        yield from (f"{message!r}" for message in messages if len(message) > _LARGEST_BYTES)
    for _, key, value in cluster.public.entries:
        if value and len(value) > _LARGEST_BYTES:
            yield f"{key!r}"


def lived(scenario: Scenario, kind: type[Cluster] = InParts) -> list[str]:
    """Play a scenario; return what is wrong, and what is too large."""
    cluster = kind(scenario.inputs, scenario.cap, rising=scenario.rising)
    return [*play(cluster, scenario.events), *too_large(cluster)]


@MANY
@given(SEEDS)
def test_counts_of_a_source_in_parts_are_exact(seed: int) -> None:
    scenario = source_scenario(seed, capped=seed % 2 == 0)
    assert lived(scenario) == [], scenario


@MANY
@given(SEEDS)
def test_counts_of_a_cluster_in_parts_are_exact(seed: int) -> None:
    scenario = cluster_scenario(seed)
    assert lived(scenario) == [], scenario


# --- broken variants -----------------------------------------------------------------------------


class HeadFirst(InParts):
    """The record that names the parts is written before them."""

    class versioned_rows(VersionedRows):  # noqa: N801
        def changes(self, *arguments: Any) -> list[Change]:
            return super().changes(*arguments)[::-1]


class PartsOverwritten(InParts):
    """Every version of a row has the same parts."""

    class versioned_rows(VersionedRows):  # noqa: N801
        def changes(self, *arguments: Any) -> list[Change]:
            self._number = 0
            return super().changes(*arguments)

        def take_superseded(self) -> list[bytes]:
            super().take_superseded()
            return []


class WholeRows(InParts):
    """Rows are written as they are, however large."""

    row_bytes = 10**9
    largest_bytes = 10**9


@pytest.mark.parametrize("variant", [HeadFirst, PartsOverwritten, WholeRows])
def test_variant_without_a_rule_of_parts_fails(variant: type[Cluster]) -> None:
    """The same lives that the real rows pass."""
    for seed in range(400):
        scenario = source_scenario(seed, capped=False)
        try:
            wrong = lived(scenario, variant)
        except ValueError as error:  # a row that cannot be read
            wrong = [str(error)]
        if wrong:
            assert lived(scenario) == []
            return
    pytest.fail("no life told the variant apart")


# --- names of all lengths ------------------------------------------------------------------------

#: Of 67, 109, 146 and 466 bytes, as they are accounted.
LENGTHS = {"a": "a", "b": "b" * 43, "c": "ü" * 40, "d": "\U0001f4a5" * 100}


def of_all_lengths(seed: int) -> Scenario:
    """A life in which a few of these names find no place for their bytes."""
    random = Random(seed)
    scenario = cluster_scenario(seed) if random.random() < 0.3 else source_scenario(seed, capped=False)
    names = [random.choice([*LENGTHS.values(), 'quo"te\\']) for _ in range(4)]
    inputs = [
        [
            (offset, Record(names["abc(".index(each.event_type[0])], each.bucket, each.broker_s))
            for offset, each in source
        ]
        for source in scenario.inputs
    ]
    cap = Cap(
        random.choice([1, 2, NO_CAP]), random.choice([0, 70, 180, 260, 600]), random.choice([0, 70, 500])
    )
    return replace(scenario, inputs=inputs, cap=cap)


@MANY
@given(SEEDS)
def test_counts_are_exact_where_names_find_no_place_for_their_bytes(seed: int) -> None:
    scenario = of_all_lengths(seed)
    assert scenario.play() == [], scenario


class ForgetsTheTotalsBytes(Cluster):
    """After a restart there is room again."""

    class source_counter(SourceCounter):  # noqa: N801
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.totals._bytes = 0


class ForgetsTheGuestsBytes(Cluster):
    """A row that is loaded has room again."""

    class source_counter(SourceCounter):  # noqa: N801
        def _admitted(self, event_type: str, row: Any) -> str:
            if row.guest_bytes is None:
                row.guest_bytes = 0
            return super()._admitted(event_type, row)


class NoBytes(Cluster):
    """Names are counted and not measured."""

    class source_counter(SourceCounter):  # noqa: N801
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options | {"max_type_bytes": 10**9, "max_guest_bytes": 10**9})


@pytest.mark.parametrize("variant", [ForgetsTheTotalsBytes, ForgetsTheGuestsBytes, NoBytes])
def test_variant_that_does_not_measure_names_fails(variant: type[Cluster]) -> None:
    for seed in range(400):
        scenario = of_all_lengths(seed)
        if scenario.play(variant):
            assert scenario.play() == []
            return
    pytest.fail("no life told the variant apart")


# --- what no flush has taken yet ------------------------------------------------------------------


class MergesEarly(Cluster):
    """Counts go into rows as soon as there are two, whether or not a flush is under way."""

    class source_counter(SourceCounter):  # noqa: N801
        most_pending = 1


class MergesSilently(MergesEarly):
    """What was merged early is not sent out."""

    class source_counter(SourceCounter):  # noqa: N801
        most_pending = 1

        def _merge_early(self) -> None:
            self._merge_pending()


@MANY
@given(SEEDS)
def test_counts_are_exact_where_they_are_merged_early(seed: int) -> None:
    scenario = of_all_lengths(seed)
    assert scenario.play(MergesEarly) == [], scenario


def test_variant_that_merges_silently_fails() -> None:
    assert any(of_all_lengths(seed).play(MergesSilently) for seed in range(100))


@pytest.mark.parametrize("at_once", [False, True])
def test_new_names_without_a_flush_are_held_within_bounds(at_once: bool) -> None:
    counter = Cluster([[]], Cap(100)).workers[0].counter
    counter.most_pending = 1000
    for offset in range(20_000):
        if at_once:
            assert counter.add_run(offset, offset, {0: [f"n{offset}"]}, {f"n{offset}": 5})
        else:
            counter.add(offset, f"n{offset}", 0, 5)
        assert sum(map(len, counter._pending.values())) <= 1000
        assert len(counter._fine.row(0).counts) <= 101
    flush = counter.flush(10.0)
    assert sum(flush.emission.buckets[10, 0].values()) == 20_000
    assert sum(each.total for each in flush.emission.totals.values()) == 20_000


# --- a flood -------------------------------------------------------------------------------------


def test_a_flood_of_new_names_is_counted_within_bounds() -> None:
    """Ten minutes of new names of 255 characters: rows and memory stay small, and the sum is exact."""
    cap = Cap(500, 500 * 400, 8192)
    records = [
        (
            second * 50 + number,
            Record(
                f"{second:06d}{number:04d}" + "x" * 245,
                1_700_000_000 + second // 10 * 10,
                1_700_000_000 + second,
            ),
        )
        for second in range(600)
        for number in range(50)
    ]
    cluster = Cluster([records], cap)
    cluster.now_s = 1_700_000_000.0
    held = 0
    for _ in range(60):
        cluster.workers[0].read(500)
        cluster.now_s += 10
        cluster.workers[0].flush()
        counter = cluster.workers[0].counter
        held = max(held, sum(len(row.counts) for row in counter._fine._held.values()))
    totals = cluster.workers[0].counter.totals.counts
    assert sum(totals.values()) == len(records)
    assert len(totals) <= 501
    guests = 8192 // (255 + 2 + 64)
    assert held <= 500 + 1 + (guests + 1) * 18  # the rows of three minutes
    sizes = [len(value) for _, key, value in cluster.partial_log.entries if value]
    assert max(sizes) < cap.type_bytes * 2 + 60 * 8192
    for bucket in range(1_700_000_000 + 100, 1_700_000_000 + 600, 10):
        row = cluster.workers[0].rows.load(b"r/s0/0010/%012d" % bucket, read_fine)
        assert row is not None
        assert sum(entry.count for entry in row.body.values()) == 500
        assert len(row.body) <= guests + 1
