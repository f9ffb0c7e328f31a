"""A call for records that its caller gave up at a rebalance takes nothing from the recovery that follows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.upstream.faust_consumer_thread import ConsumerThread, PausingListener

BEFORE, CHANGELOG = TP("before", 0), TP("changelog", 0)
RECORDS = ["the first rows", "more rows"]


class FakeFetcher:
    """As aiokafka's, it looks again at what was asked for whenever something has come."""

    _closed = False

    def __init__(self) -> None:
        self._subscriptions = self
        self.fetched: dict[TP, list[str]] = {}
        self.calls = 0
        self.news = asyncio.Event()

    @contextlib.contextmanager
    def fetch_context(self) -> Iterator[None]:
        yield

    def arrived(self, tp: TP) -> None:
        self.fetched[tp] = list(RECORDS)
        self.news.set()

    async def fetched_records(self, partitions: Any, timeout: float, max_records: int) -> dict[TP, Any]:
        self.calls += 1
        while True:
            for tp in list(self.fetched):
                if not partitions or tp in partitions:
                    return {tp: self.fetched.pop(tp)}
            self.news.clear()
            await self.news.wait()


class FakeConsumer:
    """Seeks fetch again, from the beginning."""

    _closed = False

    def __init__(self) -> None:
        self._fetcher = FakeFetcher()

    def seek(self, tp: TP, _offset: int) -> None:
        self._fetcher.fetched.pop(tp, None)

    async def position(self, _tp: TP) -> int:
        return 0


class Recovering:
    """A consumer thread at a rebalance, and the set of active partitions, which Faust changes in place."""

    def __init__(self, kind: type[Any]) -> None:
        self.kafka = FakeConsumer()
        self.active = {BEFORE}
        self.thread: Any = kind.__new__(kind)
        self.thread.consumer = SimpleNamespace(flow_active=True, _read_offset={})
        self.thread.app = SimpleNamespace(conf=SimpleNamespace(broker_request_timeout=5.0))
        self.thread.log = SimpleNamespace(dev=lambda *_: None)
        self.thread._fetches, self.thread._moves = set(), 0

    def ask(self) -> asyncio.Task[dict[TP, list[str]]]:
        return asyncio.create_task(
            self.thread._fetch_records(self.kafka, self.active, timeout=1.0, max_records=10)
        )

    async def what_recovery_gets(self) -> dict[TP, list[str]]:
        """Ask for other partitions, be assigned the changelog, recover it from the beginning."""
        abandoned = self.ask()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert self.kafka._fetcher.calls == 1
        self.active.clear()
        self.active.add(CHANGELOG)
        await self.thread._seek_wait(self.kafka, {CHANGELOG: 0})
        self.kafka._fetcher.arrived(CHANGELOG)
        for _ in range(5):
            await asyncio.sleep(0)
        recovery = self.ask()
        # All that it waits for is there, so that it ends within a few turns of the event loop, or never.
        for _ in range(100):
            await asyncio.sleep(0)
        done = recovery.done()
        for task in (abandoned, recovery):
            task.cancel()
        await asyncio.gather(abandoned, recovery, return_exceptions=True)
        return recovery.result() if done else {}


async def test_recovery_gets_every_record_of_its_changelog() -> None:
    assert await Recovering(ConsumerThread).what_recovery_gets() == {CHANGELOG: RECORDS}


async def test_with_stock_faust_the_abandoned_call_takes_them() -> None:
    """The control."""
    assert await Recovering(driver.AIOKafkaConsumerThread).what_recovery_gets() == {}


async def test_what_was_taken_before_a_seek_is_not_delivered_after_it() -> None:
    """It would be taken for what lies at the new place."""
    at = Recovering(ConsumerThread)
    asked = at.ask()
    await asyncio.sleep(0)
    at.kafka._fetcher.fetched[BEFORE] = ["old rows"]
    await asyncio.sleep(0)
    assert not at.kafka._fetcher.fetched, "taken"
    await at.thread._seek_wait(at.kafka, {BEFORE: 7})
    assert await asked == {}


async def test_without_a_rebalance_records_are_delivered() -> None:
    at = Recovering(ConsumerThread)
    asked = at.ask()
    await asyncio.sleep(0)
    at.kafka._fetcher.arrived(BEFORE)
    assert await asked == {BEFORE: RECORDS}
    assert at.thread._fetches == set()


async def test_nothing_is_asked_for_by_no_partition() -> None:
    """To aiokafka no partition means all."""
    at = Recovering(ConsumerThread)
    at.active.clear()
    at.kafka._fetcher.arrived(CHANGELOG)
    assert await at.ask() == {}


async def test_a_caller_that_is_cancelled_ends_its_call() -> None:
    at = Recovering(ConsumerThread)
    asked = at.ask()
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await asyncio.sleep(0)
    at.kafka._fetcher.arrived(BEFORE)
    await asyncio.sleep(0)
    assert at.kafka._fetcher.fetched == {BEFORE: RECORDS}


async def test_an_error_of_the_call_is_not_swallowed() -> None:
    at = Recovering(ConsumerThread)
    at.kafka._closed = True
    with pytest.raises(driver.ConsumerStoppedError):
        await at.ask()


def test_faust_still_works_as_this_assumes() -> None:
    """The set is one and is changed in place; seeks and assignments pass through what we replace."""
    before = {BEFORE}
    consumer: Any = SimpleNamespace(_active_partitions=before, _paused_partitions=set())
    assert FaustConsumer._set_active_tps(consumer, {CHANGELOG}) is before
    assert before == {CHANGELOG}
    names = driver.AIOKafkaConsumerThread.seek_wait.__code__.co_names
    assert "_seek_wait" in names
    assert "_fetch_records" in driver.AIOKafkaConsumerThread.getmany.__code__.co_names
    assert "give_up_fetches" in PausingListener.on_partitions_assigned.__code__.co_names
