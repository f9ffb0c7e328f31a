"""CRITICAL that comes during a batch of another class is served in the middle of it. Lanes are stand-ins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.notifications import Priority
from streams.settings import load_settings
from streams.transport.batch import RecordBatch
from tests.unit.streams.transport.test_traffic import FULL_BATCH_S, Harness, Lane, assign, settle


@pytest.fixture
async def harness(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Lane, "arrivals", {})
    made = Harness(monkeypatch, load_settings(drain_deadline_s=1.0))
    await made.traffic.start()
    yield made
    await made.traffic.stop()


async def in_service(harness: Harness, priority: Priority = Priority.ERROR) -> RecordBatch:
    """A batch that an agent has begun with."""
    await assign(harness, Priority.CRITICAL, Priority.ERROR)
    harness.fetched(1000, priority)
    await settle()
    batch: RecordBatch = harness.delivered[-1]
    assert batch.priority is priority
    batch.taken = True
    return batch


def interrupt(harness: Harness, batch: RecordBatch) -> asyncio.Future[None] | None:
    """What the agent of the batch awaits now."""
    awaited = harness.traffic.interruption(batch)
    return None if awaited is None else asyncio.ensure_future(awaited)


async def test_a_batch_is_not_interrupted_when_nothing_has_come(harness: Harness) -> None:
    batch = await in_service(harness)
    assert interrupt(harness, batch) is None


@pytest.mark.parametrize("where", ["in a socket", "in the buffer"])
async def test_critical_is_served_in_the_middle_of_a_batch(harness: Harness, where: str) -> None:
    batch = await in_service(harness)
    if where == "in a socket":
        Lane.arrivals[Priority.CRITICAL] = True
    else:
        harness.fetched(1, Priority.CRITICAL)
    awaited = interrupt(harness, batch)
    assert awaited is not None
    if where == "in a socket":
        await asyncio.sleep(0)
        harness.fetched(1, Priority.CRITICAL)
        Lane.arrivals.clear()
    await settle()
    assert [each.priority for each in harness.delivered] == [Priority.ERROR, Priority.CRITICAL]
    assert not awaited.done()
    harness.traffic.done(harness.delivered[1], 0.0001)
    await settle()
    assert awaited.done()
    assert batch.parked_s > 0
    assert harness.traffic.scheduler.in_flight == 1
    harness.traffic.done(batch, FULL_BATCH_S)
    await settle()
    assert len(harness.delivered) == 3


async def test_what_has_come_and_is_no_record_ends_the_interruption(harness: Harness) -> None:
    """Brokers answer without records, too."""
    batch = await in_service(harness)
    Lane.arrivals[Priority.CRITICAL] = True
    awaited = interrupt(harness, batch)
    assert awaited is not None
    await settle()
    assert awaited.done()
    assert len(harness.delivered) == 1


async def test_critical_is_not_interrupted_and_other_classes_interrupt_nobody(harness: Harness) -> None:
    batch = await in_service(harness, Priority.CRITICAL)
    batch.records = batch.records[:1]  # of no bulk
    Lane.arrivals[Priority.CRITICAL] = True
    assert harness.traffic._interruptions.due(batch) is None
    Lane.arrivals.clear()
    harness.traffic.done(batch, FULL_BATCH_S)
    await harness.traffic.on_revoked()
    debug = await in_service(harness, Priority.DEBUG)
    Lane.arrivals[Priority.ERROR] = True
    harness.fetched(1, Priority.ERROR)
    assert interrupt(harness, debug) is None


async def test_critical_in_bulk_does_not_interrupt_until_it_comes_one_by_one_again(harness: Harness) -> None:
    batch = await in_service(harness)
    Lane.arrivals[Priority.CRITICAL] = True
    interrupted = []
    for number in (1, 300, 300, 2):
        harness.traffic._interruptions.note(
            RecordBatch(Priority.CRITICAL, "notifications.critical", 0, [None] * number, None)  # type: ignore[list-item]
        )
        batch.interrupted = False
        awaited = interrupt(harness, batch)
        interrupted.append(awaited is not None)
        await settle()
    assert interrupted == [True, False, False, True]


async def test_critical_that_has_had_its_share_waits_for_the_end_of_the_batch(harness: Harness) -> None:
    await assign(harness, Priority.CRITICAL, Priority.ERROR)
    harness.fetched(1000, Priority.CRITICAL)
    harness.fetched(1000, Priority.ERROR)
    await settle()
    while harness.delivered[-1].priority is Priority.CRITICAL:
        await harness.turns_to_the_next(FULL_BATCH_S)
    batch = harness.delivered[-1]
    assert len(harness.traffic.scheduler.buffer(Priority.CRITICAL))
    assert interrupt(harness, batch) is None


async def test_a_batch_goes_on_while_critical_waits_for_confirmations(harness: Harness) -> None:
    batch = await in_service(harness)
    harness.fetched(1, Priority.CRITICAL)
    awaited = interrupt(harness, batch)
    assert awaited is not None
    await settle()
    urgent = harness.delivered[1]
    urgent.taken = True
    harness.traffic.waiting(urgent.tp, True)
    await settle()
    assert awaited.done()
    harness.traffic.waiting(urgent.tp, False)
    harness.traffic.done(urgent, 0.0001)
    harness.traffic.done(batch, FULL_BATCH_S)
    await settle()
    assert harness.traffic.scheduler.in_flight == 1, "the next of ERROR"


@pytest.mark.parametrize("parked", [True, False])
async def test_no_batch_is_interrupted_for_critical_that_waits_behind_critical(
    harness: Harness, parked: bool
) -> None:
    """One agent serves both in turn: while the first waits, the second would hold up everything."""
    await assign(harness, Priority.CRITICAL, Priority.ERROR, partitions=2)
    harness.fetched(1, Priority.CRITICAL, 0)
    await settle()
    (first,) = harness.delivered
    first.taken = True
    harness.traffic.waiting(first.tp, True)
    harness.fetched(1000, Priority.ERROR)
    await settle()
    batch = harness.delivered[1]
    assert batch.priority is Priority.ERROR
    if not parked:
        harness.traffic.waiting(first.tp, False)  # and before it is done, it waits again
    harness.fetched(1, Priority.CRITICAL, 1)
    Lane.arrivals[Priority.CRITICAL] = True
    assert interrupt(harness, batch) is None
    Lane.arrivals.clear()
    harness.traffic.done(first, 0.0)
    assert interrupt(harness, batch) is not None


async def test_critical_that_goes_into_another_slot_meanwhile_ends_the_interruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(monkeypatch, load_settings(max_in_flight=2))
    await harness.traffic.start()
    await assign(harness, Priority.CRITICAL, Priority.ERROR, partitions=2)
    harness.fetched(1000, Priority.ERROR)
    await settle()
    batch = harness.delivered[-1]
    monkeypatch.setattr(Lane, "arrivals", {Priority.CRITICAL: True})
    awaited = harness.traffic.interruption(batch)
    assert awaited is not None
    harness.fetched(1, Priority.CRITICAL, 0)
    await settle()
    assert harness.delivered[-1].priority is Priority.CRITICAL
    harness.fetched(1, Priority.CRITICAL, 1)
    await asyncio.wait_for(awaited, 30)
    assert len(harness.delivered) == 2
    await harness.traffic.stop()


async def test_a_batch_is_interrupted_once(harness: Harness) -> None:
    harness.traffic.set_profile(load_settings(mode="strict"))
    batch = await in_service(harness)
    harness.fetched(1, Priority.CRITICAL)
    awaited = interrupt(harness, batch)
    await settle()
    harness.traffic.done(harness.delivered[1], 0.0001)
    await settle()
    assert awaited is not None
    assert awaited.done()
    harness.fetched(1, Priority.CRITICAL)
    assert interrupt(harness, batch) is None


async def test_what_the_age_guard_has_chosen_is_not_interrupted(harness: Harness) -> None:
    batch = await in_service(harness)
    batch.dispatch.guarded = True
    harness.fetched(1, Priority.CRITICAL)
    assert interrupt(harness, batch) is None


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_assignment_that_ends_during_an_interruption_ends_it(harness: Harness, when: str) -> None:
    batch = await in_service(harness)
    Lane.arrivals[Priority.CRITICAL] = True
    awaited = interrupt(harness, batch)
    assert awaited is not None
    await asyncio.sleep(0)
    if when == "after":
        harness.fetched(1, Priority.CRITICAL)
        await settle()
        assert len(harness.delivered) == 2
    await harness.traffic.on_revoked()
    await settle()
    assert awaited.done()
    assert batch.dropped
    assert harness.traffic.scheduler.in_flight == 0
    assert len(harness.delivered) == (2 if when == "after" else 1)


async def test_while_it_drains_nothing_is_served_in_between(harness: Harness) -> None:
    batch = await in_service(harness)
    Lane.arrivals[Priority.CRITICAL] = True
    begun = interrupt(harness, batch)
    assert begun is not None
    drain = asyncio.create_task(harness.traffic.drain())
    await asyncio.sleep(0)
    harness.fetched(1, Priority.CRITICAL)
    await settle()
    assert begun.done()
    assert interrupt(harness, batch) is None
    assert len(harness.delivered) == 1
    harness.traffic.done(batch, FULL_BATCH_S)
    await drain


async def test_critical_that_cannot_be_delivered_ends_the_interruption(harness: Harness) -> None:
    batch = await in_service(harness)
    harness.fetched(1, Priority.CRITICAL)
    harness.accepts = False
    awaited = interrupt(harness, batch)
    assert awaited is not None
    await settle()
    assert awaited.done()
    assert harness.traffic.scheduler.in_flight == 1
