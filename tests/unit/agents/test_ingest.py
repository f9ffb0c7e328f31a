"""Ingest: when it tells the counter that a new period begins, however records come in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from agents.ingest import Ingest, run_ingest
from streams.notifications import Priority, encode
from streams.settings import load_settings
from streams.transport.batch import RecordBatch
from streams.upstream.stores import PartitionGoneError
from tables.forgetting import PERIOD_MS
from tables.reserved_types import DEAD_LETTERS, OVERFLOW
from tables.rows import VersionedRows
from tables.source_counter import SourceCounter

SETTINGS = load_settings(brokers="127.0.0.1:1")
NOW_MS = 1_700_000_000_000 // PERIOD_MS * PERIOD_MS
DAY_MS = 86_400_000


class Nothing:
    def scan(self, _start: bytes, _end: bytes) -> list[tuple[bytes, bytes]]:
        return []


class Nowhere:
    def of(self, _: Any) -> Nowhere:
        return self

    def send_now(self, *_: Any) -> bool:
        return True

    async def send(self, *_: Any) -> None:
        return


def record(offset: int, event_type: str, time_ms: int | None) -> Any:
    value = encode("p", event_type, Priority.INFO, {}, time_ms or NOW_MS, "1")
    return SimpleNamespace(
        offset=offset, value=value, timestamp=time_ms, timestamp_type=1, key=None, headers=()
    )


RECORDS = [
    *(record(offset, name, NOW_MS - 9 * DAY_MS) for offset, name in enumerate(["a", "b", "c"])),
    record(3, "late", NOW_MS - 2 * DAY_MS),  # within eight days of the others: there is no place
    record(4, "d", NOW_MS),  # first of its hour: a, b and c are forgotten before it
    record(5, "e", NOW_MS + 1),
    record(6, "late", NOW_MS - 1),
    record(7, "a", NOW_MS + 2),
]


async def counted(sizes: Sequence[int]) -> dict[str, int]:
    """The totals when the records come in batches of these sizes."""
    ingest = Ingest(SETTINGS, Nowhere())  # type: ignore[arg-type]
    rows = VersionedRows(Nothing(), "w")
    counter = SourceCounter("s:0", rows, max_event_types=3, lateness_s=3600, forget_s=8 * 86_400)
    start = 0
    for size in sizes:
        some = RECORDS[start : start + size]
        await ingest.handle(RecordBatch(Priority.INFO, "notifications.info", 0, some, None), counter)
        start += size
    assert counter.processed == RECORDS[-1].offset
    counter.flush(NOW_MS / 1000)
    assert counter.totals.forgotten == 1
    return dict(counter.totals.counts)


@pytest.mark.parametrize("sizes", [[8], [4, 4], [1] * 8, [3, 2, 3], [5, 3], [2, 6]])
def test_what_is_forgotten_does_not_depend_on_batches(sizes: list[int]) -> None:
    assert asyncio.run(counted(sizes)) == {OVERFLOW: 2, "d": 1, "e": 1, "late": 1}


def test_records_without_a_time_are_counted() -> None:
    async def count() -> SourceCounter:
        ingest = Ingest(SETTINGS, Nowhere())  # type: ignore[arg-type]
        counter = SourceCounter(
            "s:0", VersionedRows(Nothing(), "w"), max_event_types=3, lateness_s=3600, forget_s=8 * 86_400
        )
        some = [record(0, "a", None), record(1, "a", NOW_MS), record(2, "b", None)]
        await ingest.handle(RecordBatch(Priority.INFO, "notifications.info", 0, some, None), counter)
        counter.flush(NOW_MS / 1000)
        return counter

    assert asyncio.run(count()).totals.counts == {"a": 2, "b": 1}


def test_dead_letters_are_counted_with_the_bytes_of_their_values() -> None:
    ingest = Ingest(SETTINGS, Nowhere())  # type: ignore[arg-type]
    counter = SourceCounter(
        "s:0", VersionedRows(Nothing(), "w"), max_event_types=3, lateness_s=3600, forget_s=8 * 86_400
    )
    some = [record(offset, "a", NOW_MS) for offset in range(4)]
    some[1].value, some[2].value, some[3].value = b"no JSON", b"none", None
    asyncio.run(ingest.handle(RecordBatch(Priority.INFO, "notifications.info", 0, some, None), counter))
    stats = ingest.stats
    assert {(reason.value, number) for (_, reason), number in stats.dead_letters.items()} == {
        ("not-json", 2),
        ("null-value", 1),
    }
    assert {reason.value: size for (_, reason), size in stats.dead_letter_bytes.items()} == {
        "not-json": 11,
        "null-value": 0,
    }


class Takes(Nowhere):
    """Takes packed alerts, too."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def send_now(self, _tp: Any, offset: int, *_: Any) -> bool:
        self.offsets.append(offset)
        return True

    async def send_all(self, _tp: Any, offsets: Sequence[int], *_: Any) -> None:
        self.offsets += offsets


class Between:
    """Interrupts a batch where alerts were sent that are not counted yet, or else at the second look."""

    def __init__(self, counter: SourceCounter, effects: Takes, *, drops: bool = False) -> None:
        self.counter = counter
        self.effects = effects
        self.drops = drops
        self.looks: list[int] = []
        self.interrupted: list[int] = []

    def __call__(self, batch: RecordBatch) -> Any:
        self.looks.append(self.counter.processed)
        sent = self.effects.offsets
        due = sent[-1] > self.counter.processed if sent else len(self.looks) == 2
        return self.interrupt(batch) if due and not self.interrupted else None

    async def interrupt(self, batch: RecordBatch) -> None:
        self.interrupted.append(self.counter.processed)
        await asyncio.sleep(0)
        batch.dropped = self.drops


def many(priority: Priority, number: int, *, tidy: bool = True) -> RecordBatch:
    some = [record(offset, "a", NOW_MS) for offset in range(number)]
    for each in some:
        each.value = encode("p", "a", priority, {}, NOW_MS, "1") if tidy else b"no JSON"
    return RecordBatch(priority, f"notifications.{priority.lower()}", 0, some, None)


def source_counter() -> SourceCounter:
    return SourceCounter(
        "s:0", VersionedRows(Nothing(), "w"), max_event_types=3, lateness_s=3600, forget_s=8 * 86_400
    )


@pytest.mark.parametrize(("priority", "tidy"), [(Priority.ERROR, True), (Priority.INFO, False)])
async def test_a_long_batch_may_be_interrupted_in_the_middle(priority: Priority, tidy: bool) -> None:
    counter = source_counter()
    effects = Takes()
    between = Between(counter, effects)
    ingest = Ingest(SETTINGS, effects, None, between)  # type: ignore[arg-type]
    await ingest.handle(many(priority, 1000, tidy=tidy), counter)
    assert len(between.interrupted) == 1
    assert counter.processed == 999
    counter.flush(NOW_MS / 1000)
    assert counter.totals.counts == {"a" if tidy else DEAD_LETTERS: 1000}
    if priority is Priority.ERROR:
        assert effects.offsets == list(range(1000))


async def test_a_short_batch_is_not_interrupted() -> None:
    counter = source_counter()
    between = Between(counter, Takes())
    await Ingest(SETTINGS, Takes(), None, between).handle(many(Priority.ERROR, 20), counter)  # type: ignore[arg-type]
    assert between.looks == []


async def test_a_batch_that_was_dropped_while_it_was_interrupted_is_given_up() -> None:
    counter = source_counter()
    effects = Takes()
    between = Between(counter, effects, drops=True)
    with pytest.raises(PartitionGoneError):
        await Ingest(SETTINGS, effects, None, between).handle(many(Priority.ERROR, 1000), counter)  # type: ignore[arg-type]
    # Sent and not counted: it is read again, and its alerts have the same ids then.
    assert between.interrupted == [counter.processed]
    assert counter.processed < effects.offsets[-1] < 999


class Assigned:
    """One partition and what it is handled by, which raises once it was given away, or at once."""

    def __init__(self, *, is_given_away: bool) -> None:
        self.counter: object | None = object()
        self.is_given_away = is_given_away
        self.done: list[RecordBatch] = []
        self.failed: list[BaseException] = []

    async def handle(self, _batch: RecordBatch, _counter: object) -> None:
        if self.is_given_away:
            self.counter = None  # while it waited
        raise PartitionGoneError("partition 0 is not assigned")

    async def run(self, number: int) -> None:
        batches = [RecordBatch(Priority.ERROR, "t", 0, [record(0, "a", 1)], None) for _ in range(number)]

        async def stream() -> AsyncIterator[RecordBatch]:
            for batch in batches:
                yield batch

        ingest: Any = self
        counters: Any = lambda _: self.counter  # noqa: E731
        await run_ingest(
            stream(), ingest, counters, lambda batch, _: self.done.append(batch), self.failed.append
        )


async def test_a_batch_whose_partition_was_given_away_is_given_up() -> None:
    assigned = Assigned(is_given_away=True)
    await assigned.run(2)
    assert len(assigned.done) == 2
    assert not assigned.failed


async def test_rows_that_are_gone_while_the_partition_is_assigned_are_an_error() -> None:
    """The control."""
    assigned = Assigned(is_given_away=False)
    with pytest.raises(PartitionGoneError):
        await assigned.run(2)
    assert len(assigned.done) == len(assigned.failed) == 1


async def test_what_a_batch_waits_for_confirmations_is_not_charged() -> None:
    """Else, after an outage, all others would have as much time before it comes to its class again."""
    charged: list[float] = []

    async def stream() -> AsyncIterator[RecordBatch]:
        for parked_s in (0.0, 3600.0):
            yield RecordBatch(Priority.ERROR, "t", 0, [record(0, "a", 1)], None, parked_s=parked_s)

    class Handles:
        async def handle(self, _batch: RecordBatch, _counter: object) -> None:
            pass

    handles: Any = Handles()
    counters: Any = lambda _: object()  # noqa: E731
    await run_ingest(stream(), handles, counters, lambda _, seconds: charged.append(seconds), lambda _: None)
    assert charged[0] > 0.0
    assert charged[1] == 0.0
