"""Settings that decide what a record is counted as, changed between a crash and a restart: counted once."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables.buckets import FINE
from tables.combined_counter import CombinedCounter
from tables.flushes import Flush
from tables.public_rows import decode_key, decode_value
from tables.replay_rules import Rules
from tables.reserved_types import DEAD_LETTERS
from tables.row_bodies import counts_in, read_fine
from tables.rows import Change, VersionedRows, bucket_name
from tables.source_counter import SourceCounter
from tests.property.counting_model import ALL, START_S, Cluster, SourceWorker, Store
from tests.property.counting_scenarios import Event
from tests.property.counting_truth import NO_CAP, Input, Record
from tests.property.test_exact_counts import MANY, SEEDS

WIDE, NARROW = 3600, 60


def rules(lateness_s: int = WIDE, most: int = NO_CAP, longest: int = 255) -> Rules:
    return Rules(lateness_s, most, 2**20, 100, longest)


def counted_as(record: Record, by: Rules) -> Record:
    """A record as ingest reads it under some rules: its ``bucket`` is the stated time."""
    known = len(record.event_type) <= by.max_event_type_length
    believed = known and record.bucket >= record.broker_s - by.lateness_s
    at_s = record.bucket if believed else record.broker_s
    return Record(record.event_type if known else DEAD_LETTERS, at_s // FINE * FINE, record.broker_s)


class RuledWorker(SourceWorker):
    """Reads one source under the rules of the time of each record, as ``agents.ingest`` does."""

    cluster: RuledCluster

    def __init__(self, cluster: RuledCluster, source: int, store: Store, position: int) -> None:
        super().__init__(cluster, source, store, position)
        self.mine = cluster.rules
        self.counter = cluster.source_counter(
            f"s{source}",
            self.rows,
            lateness_s=self.mine.lateness_s,
            max_event_types=self.mine.max_event_types,
            rules=self.mine,
        )
        self.counter.processed = position - 1

    def read(self, count: int = ALL) -> None:
        batch = [entry for entry in self.cluster.inputs[self.source] if entry[0] >= self.position][:count]
        counter = self.counter
        read = [
            (offset, counted_as(record, counter.rules_at(offset) or self.mine))
            for offset, record in batch
            if offset > counter.processed
        ]
        together = bool(read) and read[0][0] > counter.ruled_until and self.position % 3 != 1
        if not together or not self._add_run(read):
            for offset, record in read:
                counter.add(offset, record.event_type, record.bucket, record.bucket * 1000)
        if batch:
            self.position = batch[-1][0] + 1
            counter.watermark_ms = max(counter.watermark_ms, batch[-1][1].broker_s * 1000)


class RuledCluster(Cluster):
    """A cluster whose settings may be changed; a worker has those of its start."""

    source_worker = RuledWorker

    def __init__(self, inputs: Sequence[Input], first: Rules, *, rising: bool = True) -> None:
        self.rules = first
        super().__init__(inputs, rising=rising)

    def commit(self, role: int) -> None:
        """Commit what the holder says is durable; what that must be is another test's matter."""
        self.committed[role] = max(self.committed[role], self.workers[role].durable or 0)

    def wrong(self) -> list[str]:
        """What does not add up to one count for each record: in rows, in totals, combined and in public."""
        self.drain()
        for role in self.roles:
            self.replace(role)
        self.drain()
        found = {}
        for source, records in enumerate(self.inputs):
            rows = VersionedRows(Store().catch_up(self.partial_log), "check")
            totals = SourceCounter(f"s{source}", rows, max_event_types=NO_CAP, lateness_s=WIDE).totals
            found[f"totals of {source}"] = sum(totals.counts.values()), len(records)
            found[f"rows of {source}"] = _in_rows(f"s{source}", rows, records), len(records)
        every = sum(map(len, self.inputs))
        slices = [worker.counter for worker in self.workers[len(self.inputs) :]]
        found["combined totals"] = sum(map(_in_totals, slices)), every
        found["public buckets"] = self._in_public_buckets(), every
        return [
            f"{name}: {number} for {wanted}" for name, (number, wanted) in found.items() if number != wanted
        ]

    def _in_public_buckets(self) -> int:
        last = dict(self.public.since(0))
        return sum(
            sum((decode_value(value).counts or {}).values())
            for key, value in last.items()
            if value is not None and decode_key(key).resolution_s == FINE
        )


def _in_totals(combiner: CombinedCounter) -> int:
    return sum(
        each.total
        for types in combiner.totals.values()
        for by_source in types.values()
        for each in by_source.values()
    )


def _in_rows(source: str, rows: VersionedRows, records: Input) -> int:
    buckets = {at // FINE * FINE for _, record in records for at in (record.bucket, record.broker_s)}
    loaded = (rows.load(bucket_name(source, FINE, bucket), read_fine) for bucket in buckets)
    return sum(sum(counts_in(each.body).values()) for each in loaded if each is not None)


class Forgetful(RuledCluster):
    """What is counted again is counted by the settings of today."""

    class source_counter(SourceCounter):  # noqa: N801
        def __init__(self, *arguments: Any, rules: Rules | None = None, **options: Any) -> None:
            super().__init__(*arguments, **options)


class RulesLast(RuledCluster):
    """Rows that count by the new settings are durable before it is known from where on."""

    class source_worker(RuledWorker):  # noqa: N801
        def order(self, flush: Flush) -> tuple[list[Change], list[Change]]:
            return flush.then, flush.first


def play(cluster: RuledCluster, events: Sequence[Event]) -> list[str]:
    for kind, *arguments in events:
        if kind == "clock":
            cluster.now_s += arguments[0]
        elif kind in ("read", "flush"):
            getattr(cluster.workers[arguments[0]], kind)(arguments[1])
        elif kind == "die":
            role, cluster.rules = arguments
            cluster.replace(role)
        else:
            getattr(cluster, kind)(*arguments)
    return cluster.wrong()


def scenario(seed: int) -> tuple[list[Input], Rules, list[Event]]:
    """Records, some late, or long, or of many types; a worker that dies, and is started otherwise."""
    random = Random(seed)
    every = [rules(), rules(NARROW), rules(most=2), rules(longest=3), rules(0, 1, 3)]
    time_s = START_S
    records: list[tuple[int, Record]] = []
    for offset in range(random.choice([4, 9, 16])):
        time_s += random.choice([0, 1, 10, 40])
        late = random.choice([0, 0, 30, 300, 1800])
        event_type = random.choice(["a", "b", "c", "d", "long type"])
        records.append((offset, Record(event_type, (time_s - late) // FINE * FINE, time_s)))
    events: list[Event] = []
    for _ in range(random.choice([6, 12, 25])):
        kind = random.choice(["read", "read", "flush", "flush", "die", "die", "commit", "clock", "compact"])
        if kind == "read":
            events.append((kind, 0, random.randint(1, 4)))
        elif kind == "flush":
            events.append((kind, 0, random.choice([0, 1, 2, 3, 4, ALL, ALL])))
        elif kind == "die":
            events.append((kind, 0, random.choice(every)))
        elif kind == "clock":
            events.append((kind, random.choice([1, 11, 61])))
        else:
            events.append((kind,) if kind == "compact" else (kind, 0))
    return [records, []], random.choice(every), events


@MANY
@given(SEEDS, st.booleans())
def test_each_record_is_counted_once_whatever_the_settings_were(seed: int, rising: bool) -> None:
    inputs, first, events = scenario(seed)
    assert play(RuledCluster(inputs, first, rising=rising), events) == [], (first, events)


#: Five records that lie half an hour back: believed before the crash, and not after it.
LATE: list[tuple[int, Record]] = [(n, Record("a", START_S, START_S + 1800)) for n in range(5)]
#: Durable but for the commit; the base row is older than the last four.
CRASH: list[Event] = [("read", 0, 1), ("flush", 0, ALL), ("read", 0, 4), ("flush", 0, ALL)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rules(WIDE), rules(NARROW)),
        (rules(NARROW), rules(WIDE)),
        (rules(longest=16), rules(longest=0)),
        (rules(most=0), rules()),
    ],
    ids=["less lateness", "more lateness", "shorter event types", "more event types"],
)
def test_a_setting_changed_between_a_crash_and_a_restart(before: Rules, after: Rules) -> None:
    """The case of the issue: five records that were counted are read again."""
    events: list[Event] = [*CRASH, ("die", 0, after)]
    assert play(RuledCluster([LATE, []], before), events) == []
    assert play(Forgetful([LATE, []], before), events) != []


def test_a_name_that_finds_a_place_later() -> None:
    """Two workers die before they send: what was overflow is sent, though its name has a place by now."""
    records = [(n, Record(name, START_S, START_S)) for n, name in enumerate("caa")]
    events: list[Event] = [("read", 0, 2), ("flush", 0, 2), ("die", 0, rules(most=2))]
    events += [("read", 0, 3), ("flush", 0, 3), ("die", 0, rules())]
    assert play(RuledCluster([records, []], rules(most=1)), events) == []
    assert play(Forgetful([records, []], rules(most=1)), events) != []


def test_changed_back_and_forth_between_crashes() -> None:
    """Each worker counts some more by its own settings, and dies before it commits."""
    records = [(n, Record("a", START_S + n, START_S + 1800 + n)) for n in range(12)]
    events: list[Event] = []
    for each in (rules(NARROW), rules(0), rules(WIDE), rules(NARROW)):
        events += [("read", 0, 3), ("flush", 0, ALL), ("die", 0, each)]
        events += [("read", 0, 3 * (1 + len(events) // 5)), ("flush", 0, ALL)]
    assert play(RuledCluster([records, []], rules(WIDE)), events) == []
    assert play(Forgetful([records, []], rules(WIDE)), events) != []


def test_new_settings_are_known_before_anything_is_counted_by_them() -> None:
    """The second worker dies when the first row is durable, whichever; the third has the old settings."""
    records = [(0, Record("a", START_S + 1800, START_S + 1800))]
    records += [(n, Record("a", START_S + 1700, START_S + 1800)) for n in range(1, 6)]
    events: list[Event] = [
        *(("read", 0, 3), ("flush", 0, ALL), ("commit", 0), ("die", 0, rules(NARROW))),
        *(("read", 0, 3), ("flush", 0, 1), ("die", 0, rules(WIDE))),
    ]
    assert play(RuledCluster([records, []], rules(WIDE)), events) == []
    assert play(RulesLast([records, []], rules(WIDE)), events) != []
