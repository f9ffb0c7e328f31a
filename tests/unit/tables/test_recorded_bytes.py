"""The bytes on Kafka are those of earlier releases: they are written, and read, as recorded."""

from __future__ import annotations

from typing import Any

import orjson

from tables.combined_counter import CombinedCounter
from tables.row_bodies import TypeTotal
from tables.rows import VersionedRows
from tables.totals import Totals
from tests.property.counting_model import Store
from tests.unit.tables.counted_life import LATENESS_S, Written, live, recorded


def comparable(written: Written) -> tuple[Any, ...]:
    """Of bytes: their number, the offset before the JSON, and what the JSON says.

    The order of sets of texts is another one in each process, and so is that of a few objects and lists.
    """
    where, key, value = written
    if value is None:
        return (where, key, None)
    start = 8 if where in ("partial-counts", "combined-counts") else 0
    return (where, key, len(value), value[:start], _sorted(orjson.loads(value[start:])))


def _sorted(body: Any) -> Any:
    if where_open := isinstance(body, dict) and {"open", "minutes", "hours"} & body.keys():
        return body | {name: sorted(body[name]) for name in where_open}
    return body


def test_counters_write_the_recorded_bytes() -> None:
    assert list(map(comparable, live().written)) == list(map(comparable, recorded()))


def test_another_life_is_told_apart() -> None:
    """The control: one count more."""
    entries = recorded()
    where, key, value = entries[1]
    assert value is not None
    entries[1] = (where, key, value.replace(b'"a.b":[1,1,', b'"a.b":[2,1,'))
    assert entries[1] != recorded()[1]
    assert list(map(comparable, live().written)) != list(map(comparable, entries))


def _store(table: str) -> Store:
    store = Store()
    for where, key, value in recorded():
        if where == table and key is not None:
            store.apply([(key, value)], [store.position])
    return store


def test_a_source_goes_on_from_recorded_rows() -> None:
    life = live()
    life.partial_counts = _store("partial-counts")
    counter = life.source(11)
    assert counter.totals.counts == {
        "a.b": 6,
        'quo"te\\': 1,
        "größe.\u2028end": 1,
        "(probes)": 1,
        "(other event types)": 2,
    }
    assert counter.totals.seen_ms["a.b"] == 1_700_029_200_250
    assert counter.replay_until == 10


def test_a_combiner_goes_on_from_recorded_rows() -> None:
    combiner = CombinedCounter(VersionedRows(_store("combined-counts"), "next"), lateness_s=LATENESS_S)
    flush = combiner.flush(0.0)
    assert flush is None
    combiner.publish_again("INFO", 3600, 1_699_999_200)
    combiner.publish_again("INFO", None, None)
    flush = combiner.flush(0.0)
    assert flush is not None
    totals, hour = flush.public
    assert totals.totals is not None
    assert totals.totals["a.b"] == TypeTotal(6, 1_700_029_200_250)
    assert hour.counts is not None
    assert hour.counts["a.b"] == 4


def test_recorded_public_rows_are_read() -> None:
    totals = Totals()
    for where, key, value in recorded():
        if where == "event-counts" and key is not None:
            totals.apply(key, value)
    assert totals.known("a.b") == {"INFO": (6, 1_700_029_200_250)}
    assert list(totals.series("a.b", "INFO", 3600, 1_699_999_200, 1_699_999_201)) == [(1_699_999_200, 4)]
    assert totals.outdated == 0
