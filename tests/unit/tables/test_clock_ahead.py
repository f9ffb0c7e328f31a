"""A worker whose clock is ahead deletes nothing that others still need; a control without the bound does."""

from __future__ import annotations

from typing import Any

import pytest

from tables.buckets import FINE, MINUTE
from tables.combined_counter import CombinedCounter
from tables.partials import BucketCounts
from tables.public_rows import PublicRow, encode_key, encode_value
from tables.row_bodies import TypeTotal
from tables.rows import VersionedRows
from tables.totals import Totals
from tests.property.counting_model import Store

NOW_S = 1_700_000_000
DAY_S = 86_400
BUCKET = NOW_S - NOW_S % FINE
TOTALS = {"a": TypeTotal(1, 0)}


class ByTheClockAlone(CombinedCounter):
    """The control: what is kept is decided by the worker's clock."""

    def _horizon_s(self, now_s: float) -> float:
        return now_s


def lives(kind: type[CombinedCounter], ahead_s: float) -> tuple[int, int]:
    """Count in ten buckets, the last of them while the clock is ahead; what is left, and what was deleted."""
    store = Store()
    counter = kind(VersionedRows(store, "w"), lateness_s=3600)
    deleted = 0

    def apply(changes: Any) -> None:
        if changes:
            store.apply(changes, range(store.position, store.position + len(changes)))

    for number in range(20):
        bucket = BUCKET + number * MINUTE
        now_s = bucket + (ahead_s if 5 <= number < 8 else 0.0)
        counter.reach(bucket * 1000)
        part = [BucketCounts(FINE, bucket, {"a": 1})]
        counter.merge(number, "INFO", "s:0", part, {"a": TypeTotal(number + 1, 0)}, now_s)
        flush = counter.flush(now_s)
        assert flush is not None
        apply([*flush.first, *flush.then])
        deleted += len(flush.expired_public)
        counter.flushed(flush, now_s)
        apply(flush.cleanup)
    return len(list(store.scan(b"r/", b"r0"))), deleted


@pytest.mark.parametrize("ahead_s", [40 * DAY_S, 3 * 3600])
def test_nothing_goes_because_a_clock_is_ahead(ahead_s: float) -> None:
    assert lives(CombinedCounter, ahead_s) == (20, 0)


def test_the_control_wipes_windows_of_everybody() -> None:
    kept, deleted = lives(ByTheClockAlone, 40 * DAY_S)
    assert kept < 20
    assert deleted > 0


def test_rows_expire_by_the_time_of_messages() -> None:
    store = Store()
    counter = CombinedCounter(VersionedRows(store, "w"), lateness_s=3600)
    for number, bucket in enumerate((BUCKET, BUCKET + 3 * 3600)):
        counter.reach(bucket * 1000)
        counter.merge(number, "INFO", "s:0", [BucketCounts(FINE, bucket, {"a": 1})], TOTALS, float(bucket))
        flush = counter.flush(float(bucket))
        assert flush is not None
        changes = [*flush.first, *flush.then]
        store.apply(changes, range(store.position, store.position + len(changes)))
        counter.flushed(flush, float(bucket))
    assert flush.expired_public == [("INFO", FINE, BUCKET, 0)]


def test_a_reader_whose_clock_is_ahead_forgets_nothing() -> None:
    totals = Totals()
    totals.reach(NOW_S * 1000)
    row = PublicRow("INFO", FINE, BUCKET, 1, {"a": 3}, None)
    totals.apply(encode_key("INFO", FINE, BUCKET, 0), encode_value(row, 0))
    totals.expire(NOW_S + 40 * DAY_S)
    assert list(totals.series("a", "INFO", FINE, BUCKET, BUCKET + FINE)) == [(BUCKET, 3)]
    totals.reach((NOW_S + 40 * DAY_S) * 1000)
    totals.expire(NOW_S + 40 * DAY_S)
    assert list(totals.series("a", "INFO", FINE, BUCKET, BUCKET + FINE)) == [(BUCKET, 0)]
