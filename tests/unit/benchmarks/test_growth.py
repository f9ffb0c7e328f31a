"""The pure parts of the growth benchmark: its verdict, its points, and the state that it makes."""

from __future__ import annotations

from collections import Counter

import pytest

from tables.buckets import FINE, HOUR, MINUTE
from tables.public_rows import decode_key
from tables.row_bodies import read_source_base
from tables.rows import VersionedRows, base_name
from tables.totals import Totals
from tests.benchmarks.aged_state import MemoryStore, make_state, moments
from tests.benchmarks.growth import MOST, cost_us, points, rise
from tests.window_counts import counts_in

_DAY = 86_400
_NOW = 20_000 * _DAY + 7_200


def test_a_rise_counts_from_any_earlier_point() -> None:
    assert rise([10.0, 7.0, 9.8]) == pytest.approx(1.4)  # a dear first point must not hide it
    assert rise([10.0, 11.0, 12.9]) <= MOST
    assert rise([10.0, 9.0, 8.0]) < 1.0
    assert rise([5.0]) == 1.0


def test_cost_in_proportion_to_size_misses_the_target() -> None:
    """Negative control: a table that is read whole for each record."""
    assert rise([0.01 * size + 4.0 for size in (10, 1_000, 10_000)]) > MOST


def test_the_cost_is_without_what_the_idle_worker_uses() -> None:
    assert cost_us(3.0, 10.0, 0.1, 1_000_000) == pytest.approx(2.0)
    assert cost_us(0.5, 10.0, 0.1, 1_000_000) == 0.0


def test_points_go_from_the_least_to_the_greatest() -> None:
    found = points(400_000, 5_000_000)
    for name in {point.dimension for point in found}:
        values = [point.value for point in found if point.dimension == name]
        assert values == sorted(values)
        assert values[-1] / values[0] >= 64
    assert len({point.prefix for point in found}) == len(found)
    assert [point.keep for point in found if point.dimension == "backlog"] == [True, True, False, False]


def test_something_happens_in_every_kept_bucket() -> None:
    found = list(moments(30 * _DAY, _NOW, 3600))
    assert found == sorted(found)
    assert {moment // HOUR for moment in found} >= set(range((_NOW - 30 * _DAY) // HOUR + 1, _NOW // HOUR))
    assert {m // MINUTE for m in found} >= set(range((_NOW - _DAY) // MINUTE, _NOW // MINUTE))
    assert {m // FINE for m in found} >= set(range((_NOW - HOUR) // FINE, _NOW // FINE))


def test_a_store_scans_in_order_and_forgets_what_is_deleted() -> None:
    store = MemoryStore()
    store.apply([(b"b", b"2"), (b"a", b"1"), (b"c", b"3"), (b"b", b"4")])
    store.apply([(b"c", None), (b"unknown", None)])
    assert list(store.scan(b"a", b"z")) == [(b"a", b"1"), (b"b", b"4")]
    assert list(store.scan(b"b", b"b")) == []


def test_the_state_is_whole_and_agrees_with_itself() -> None:
    sources = {"s0": ("DEBUG", 0), "s1": ("DEBUG", 1), "t0": ("ERROR", 0)}
    state = make_state(sources, partitions=2, event_types=["a", "b", "c"], span_s=_DAY, now_s=_NOW)
    expected: Counter[str] = Counter()
    for name, (priority, partition) in sources.items():
        rows = VersionedRows(state.partial_counts[partition], "w")
        base = rows.versions(base_name(name), read_source_base)[0]
        assert base.offset == 0
        expected[priority] += sum(each.total for each in base.body.totals.values())
    totals = Totals()
    for store in state.event_counts.values():
        for key, value in store.values.items():
            totals.apply(key, value)
    for window in ("total", "24h"):
        counts = counts_in(totals, window, float(_NOW))
        found: Counter[str] = Counter()
        for count in counts:
            found[count.priority] += count.count
        assert set(found) == {"DEBUG", "ERROR"}
        # The base row and the last minute's coarse rows come later than the last records.
        assert all(0.8 * expected[each] <= found[each] <= 1.2 * expected[each] for each in found)
    resolutions = {decode_key(key).resolution_s for s in state.event_counts.values() for key in s.values}
    assert resolutions == {FINE, MINUTE, HOUR, None}
