"""Counts stay exact when logs lose their ends: a model of one partition, its leader and its workers.

What was read and then lost may be counted, once; whatever lies in the log at the end is counted once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.source_lives import OpenSource, SourceLives
from streams.notifications import Priority
from tables.buckets import FINE, bucket_of
from tables.restoring import restore
from tables.rows import Change, VersionedRows
from tables.source_counter import SourceCounter
from tables.source_lives import load_life
from tests.property.counting_model import Store

PLACE = TP("notifications.info", 0)
TOPIC_ID = "B97v3W1JRZKYmnup7NQBNQ"
SOURCE = f"{TOPIC_ID}:0"
NOW_S = 1_700_000_000


class Leader:
    """The log of a partition, as its leader has it, and what the group has committed."""

    def __init__(self) -> None:
        self.log: list[tuple[int, int]] = []  # leader epoch, and what the record is
        self.epoch = 0
        self.number = 0
        self.committed: tuple[int, str] | None = None
        self.changelog: list[Change] = []
        self.last_written = -1
        self.last_epoch = -1

    def append(self, records: int) -> None:
        for _ in range(records):
            self.number += 1
            self.log.append((self.epoch, self.number))

    def cut(self, lost: int) -> None:
        """Lose the last records; whoever leads after that has another epoch."""
        del self.log[max(0, len(self.log) - lost) :]
        self.epoch += 1

    def end_of(self, epoch: int) -> tuple[int, int]:
        """As a broker answers: the largest epoch up to this one, and where the next begins."""
        begins = {each: offset for offset, (each, _) in reversed(list(enumerate(self.log)))}
        begins.setdefault(self.epoch, len(self.log))
        if epoch > self.epoch:
            return -1, -1
        later = min((each for each in begins if each > epoch), default=None)
        end = len(self.log) if later is None else begins[later]
        return max((each for each in begins if each <= epoch), default=epoch), end

    # What a worker asks the brokers for.

    @property
    def lives(self) -> Mapping[TP, str]:
        return {} if self.committed is None else {PLACE: self.committed[1]}

    @property
    def written(self) -> Mapping[TP, int]:
        return {} if self.last_written < 0 else {PLACE: self.last_written}

    @property
    def last_epochs(self) -> Mapping[TP, int]:
        return {} if self.last_epoch < 0 else {PLACE: self.last_epoch}

    @property
    def leader_epochs(self) -> Mapping[TP, int]:
        return {PLACE: self.epoch}

    async def epoch_ends(self, epochs: Mapping[TP, int]) -> dict[TP, tuple[int, int]]:
        return {tp: self.end_of(epoch) for tp, epoch in epochs.items()}

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: len(self.log if tp == PLACE else self.changelog) for tp in tps}

    async def records_at(self, places: Mapping[TP, int]) -> Mapping[TP, tuple[int, Any, Any] | None]:
        return {tp: (at, None, None) if at < len(self.log) else None for tp, at in places.items()}

    async def begin_again(self, offsets: Mapping[TP, int]) -> None:
        assert self.committed is not None
        self.committed, self.last_written = (offsets[PLACE], self.committed[1]), -1
        self.last_epoch = -1

    def forget_committed(self, tps: Iterable[TP]) -> None:
        list(tps)


class Table:
    """The table of the rows: all that was written lies in its changelog."""

    changelog_topic = "changelog"

    def __init__(self, changelog: list[Change]) -> None:
        self.changelog = changelog
        self._writers = 0

    def rows(self, _: int) -> VersionedRows:
        self._writers += 1
        self._store = Store()
        if self.changelog:
            self._store.apply(self.changelog, range(len(self.changelog)))
        return VersionedRows(self._store, f"w{self._writers}")

    async def write(self, _: int, changes: Sequence[Change]) -> None:
        if not changes:
            return
        begin = len(self.changelog)
        self.changelog += changes
        self._store.apply(changes, range(begin, len(self.changelog)))


class Worker:
    """The holder of the partition, one after the other."""

    source_lives = SourceLives

    def __init__(self, leader: Leader, table: Table) -> None:
        self.leader = leader
        self.table = table
        self.lives = self.source_lives(table, {PLACE.topic: Priority.INFO}, "partials", 1)  # type: ignore[arg-type]

    async def open(self) -> None:
        committed = None if self.leader.committed is None else self.leader.committed[0]
        begin = await self.lives.settle(
            self.leader, {PLACE}, {PLACE: committed}, {}, {PLACE.topic: TOPIC_ID}, lambda: True
        )
        assert begin is not None
        self.position = begin[PLACE] or 0
        source = self.source
        self.counter = SourceCounter(
            source.name, source.rows, max_event_types=10_000, lateness_s=3600, restored=source.restored
        )
        self.counter.processed = self.position - 1
        self.epoch = self.lives.epochs().get(PLACE, -1)

    @property
    def source(self) -> OpenSource:
        return self.lives.sources[PLACE]

    async def read(self, most: int) -> None:
        """Read on; when the leader says that what was read is another log, look at it anew."""
        if self.epoch >= 0 or self.position > len(self.leader.log):
            epoch, end = self.leader.end_of(self.epoch)
            if self.position > end or (self.epoch >= 0 and epoch < self.epoch):
                await self.flush(steps=4)
                await self.open()
        for offset, (epoch, what) in list(enumerate(self.leader.log))[self.position :][:most]:
            if epoch != self.epoch:
                if await self.lives.met(PLACE.topic, [(PLACE.partition, epoch, offset)]):
                    await self.flush(steps=4)
                    await self.open()
                    return
                self.epoch = epoch
            now_ms = (NOW_S + what // 3) * 1000
            self.counter.add(offset, f"e{what}", bucket_of(now_ms, FINE), now_ms)
            self.position = offset + 1

    async def flush(self, steps: int) -> None:
        """Make it durable, or stop after some of the steps."""
        if (flush := self.counter.flush(NOW_S + 100)) is None:
            return
        for changes in (flush.first, flush.then)[:steps]:
            await self.table.write(0, changes)
        if steps > 2:
            self.counter.flushed(flush)
            self.leader.committed = flush.offset + 1, self.source.life.name
            self.leader.last_written = len(self.table.changelog) - 1
            self.leader.last_epoch = self.lives.epoch_before(PLACE, flush.offset + 1)
        if steps > 3:
            await self.table.write(0, flush.cleanup)


def counted(table: Table) -> Counter[str]:
    """Totals of all lives of the source, from its rows."""
    rows = table.rows(0)
    life, _, _ = load_life(SOURCE, rows)
    totals: Counter[str] = Counter()
    for name in [life.name, *life.earlier]:
        totals.update(restore(f"{SOURCE}:{name}" if name else SOURCE, rows).totals)
    return totals


async def play(steps: Sequence[tuple[str, int]], make: Callable[[Leader, Table], Worker] = Worker) -> None:
    leader = Leader()
    table = Table(leader.changelog)
    worker = make(leader, table)
    await worker.open()
    for what, number in steps:
        if what == "append":
            leader.append(number)
        elif what == "read":
            await worker.read(number)
        elif what == "flush":
            await worker.flush(4)
        elif what == "elect":
            leader.epoch += 1
        elif what == "lose":
            leader.cut(number)
        else:
            if what == "lose rows":
                # Not those of an earlier life: nothing reads its records again.
                await worker.read(10_000)
                await worker.flush(4)
                kept = len(table.changelog)
                for _ in range(2):
                    leader.append(2)
                    await worker.read(10_000)
                    await worker.flush(4)
                del table.changelog[max(len(table.changelog) - number, kept) :]
            elif what == "crash":
                await worker.flush(number % 4)
            worker = make(leader, table)
            await worker.open()
            if what == "lose rows":
                await worker.read(10_000)
                await worker.flush(4)
    for _ in range(3):
        await worker.read(10_000)
        await worker.flush(4)
    found = counted(table)
    there = {f"e{what}": 1 for _, what in leader.log}
    assert {name: found[name] for name in there} == there
    assert max(found.values(), default=1) == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "read", "read", "flush", "elect", "lose", "crash", "lose rows"]),
        st.integers(1, 12),
    ),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_whatever_lies_in_the_log_is_counted_once(steps: list[tuple[str, int]]) -> None:
    asyncio.run(play(steps))


LONGER = [("append", 10), ("read", 10), ("flush", 1), ("lose", 5), ("append", 12)]
SHORTER = [("append", 10), ("read", 10), ("flush", 1), ("lose", 5), ("append", 2)]
ROWS_AHEAD = [("append", 10), ("read", 10), ("crash", 2), ("lose", 5), ("crash", 0), ("append", 12)]
NO_ROWS = [("append", 10), ("read", 10), ("flush", 1), ("append", 9), ("lose rows", 1)]
BY_NAME = {"longer": LONGER, "shorter": SHORTER, "rows ahead": ROWS_AHEAD, "rows lost": NO_ROWS}


class NoEpochs(Worker):
    """Looks at the end of the log alone."""

    class source_lives(SourceLives):  # noqa: N801
        async def met(self, *_: Any) -> list[int]:
            return []

    async def open(self) -> None:
        await super().open()
        self.epoch = -1

    async def read(self, most: int) -> None:
        self.epoch = -1
        await super().read(most)


class OneLife(Worker):
    """Counts what comes at offsets that were lost as if it were the same records."""

    class source_lives(SourceLives):  # noqa: N801
        async def _end_life(self, *_: Any) -> None:
            pass


class NoLookAtRows(Worker):
    """Believes that what was committed is in the rows."""

    class source_lives(SourceLives):  # noqa: N801
        async def _with_lost_rows(self, *_: Any) -> dict[TP, int]:
            return {}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_scenarios_of_the_broken_variants(name: str) -> None:
    asyncio.run(play(BY_NAME[name]))


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (NoEpochs, "longer"),
        (NoEpochs, "rows ahead"),
        (OneLife, "longer"),
        (OneLife, "shorter"),
        (NoLookAtRows, "rows lost"),
    ],
)
def test_a_variant_that_leaves_something_out_is_found(broken: type[Worker], name: str) -> None:
    with pytest.raises(AssertionError):
        asyncio.run(play(BY_NAME[name], broken))
