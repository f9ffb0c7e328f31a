"""Times at which the event loop stood still are noted, with what it was doing."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from streams.notifications.masking import plain_word
from tocsin.stalls import Pace, StallLog, StallWatch, place_of


@pytest.fixture
async def watch() -> AsyncIterator[StallWatch]:
    made = StallWatch(clock=lambda: 1000.0)
    made.start()
    await asyncio.sleep(0)  # it has begun to wait
    yield made
    made.stop()


def spin(until: Callable[[], bool]) -> None:
    """Hold the loop until something has come true, as work that takes long does."""
    deadline = time.monotonic() + 30
    while not until() and time.monotonic() < deadline:
        time.sleep(0.001)  # which gives other threads their turn


async def noted(watch: StallWatch) -> None:
    async with asyncio.timeout(30):
        while not watch.log.last:
            await asyncio.sleep(0.01)


async def test_a_stall_is_noted_with_what_the_loop_was_doing(watch: StallWatch) -> None:
    watch._seen = ""  # a busy machine may have stood still before
    spin(lambda: bool(watch._seen))
    await noted(watch)
    stall = watch.log.last[0]
    assert stall.at == 1000.0
    assert stall.seconds >= 0.05
    assert sum(watch.log.counts.values()) >= 1
    assert sum(watch.log.seconds.values()) >= 0.05
    if stall.cause == "work":  # a busy machine may have had no processor for it
        assert stall.where.endswith("spin")


class Held:
    """Stands for an open store."""


async def test_how_late_the_loop_was_is_told(watch: StallWatch) -> None:
    async with asyncio.timeout(30):
        while not watch.log.last:
            spin(lambda: bool(watch._seen))
            await asyncio.sleep(0.01)
    assert watch.log.lag_s >= 0.05


async def test_what_was_being_done_is_not_kept(watch: StallWatch) -> None:
    """A frame that is kept keeps an open RocksDB, whose lock then no one else gets."""

    def work() -> weakref.ref[Held]:
        held = Held()
        spin(lambda: bool(watch._seen))
        return weakref.ref(held)

    watch._seen = ""
    found = work()
    assert watch._seen
    await noted(watch)
    assert found() is None


async def test_nothing_is_left_of_it() -> None:
    threads, callbacks = threading.active_count(), len(gc.callbacks)
    watch = StallWatch()
    watch.start()
    watch.stop()
    watch.stop()
    assert len(gc.callbacks) == callbacks
    async with asyncio.timeout(30):
        while threading.active_count() > threads:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("processor_s", "collection_s", "cause"),
    [(0.1, 0.0, "processor"), (0.0, 0.1, "collection"), (0.02, 0.02, "work"), (0.2, 0.2, "processor")],
)
def test_what_explains_most_of_a_stall_is_its_cause(
    processor_s: float, collection_s: float, cause: str
) -> None:
    log = StallLog()
    log.note(5.0, 0.2, processor_s, collection_s, "agents.ingest.Ingest.handle")
    [stall] = log.last
    assert stall.cause == cause
    assert stall.where == ("agents.ingest.Ingest.handle" if cause == "work" else "")
    assert {each: number for each, number in log.counts.items() if number} == {cause: 1}
    assert log.seconds[stall.cause] == 0.2


def test_the_last_few_are_kept_and_all_are_counted() -> None:
    log = StallLog()
    for number in range(100):
        log.note(number, 0.1, 0, 0, "")
    assert [stall.at for stall in log.last] == list(range(90, 100))
    assert log.counts["work"] == 100


async def test_collections_are_measured(watch: StallWatch) -> None:
    before = watch._collected_s
    gc.collect()
    assert watch._collected_s > before


def test_the_place_is_the_innermost_function_of_ours() -> None:
    found = []

    class Looks(str):
        __slots__ = ()

        def isascii(self) -> bool:
            found.append(place_of(sys._getframe()))
            return True

    plain_word(Looks("a"))
    assert found == ["streams.notifications.masking.plain_word"]


def test_the_lag_is_the_longest_of_the_last_ten_to_twenty_seconds() -> None:
    log, shown = StallLog(), []
    for now, late_s in ((100, 0.01), (105, 0.3), (109, 0.02), (112, 0.04), (121, 0.01), (131, 0.0)):
        log.note_lag(late_s, now)
        shown.append(log.lag_s)
    assert shown == [0.01, 0.3, 0.3, 0.3, 0.3, 0.04]


def looks(pace: Pace, began: float, seconds: float, share: float) -> int:
    """Look for some seconds, in which the thread has run for a share of the time; returns how often."""
    now, ran_s, number = began, share * began, 0
    pace.note(now, ran_s, 0.0)
    while now < began + seconds:
        now, ran_s, number = now + pace.tick_s, ran_s + share * pace.tick_s, number + 1
        pace.note(now, ran_s, 0.0)
    return number


def test_it_looks_seldom_while_there_is_next_to_nothing_to_do() -> None:
    pace = Pace(0.0, 0.0)
    looks(pace, 0.0, 2.0, 0.02)
    assert looks(pace, 2.0, 10.0, 0.02) == pytest.approx(50, abs=1)


def test_it_looks_often_while_there_is_something_to_do() -> None:
    assert looks(Pace(0.0, 0.0), 0.0, 10.0, 0.11) == pytest.approx(200, abs=1)


def test_it_looks_often_again_at_the_first_tick_with_much_to_do() -> None:
    pace = Pace(0.0, 0.0)
    looks(pace, 0.0, 2.0, 0.0)
    assert pace.tick_s == 0.2
    pace.note(2.2, 0.03, 0.0)  # a flush is no load
    assert pace.tick_s == 0.2
    pace.note(2.4, 0.08, 0.0)
    assert pace.tick_s == 0.05
    # And it stays so for a second at least.
    pace.note(3.0, 0.08, 0.0)
    assert pace.tick_s == 0.05


def test_it_looks_often_while_the_loop_is_late_though_it_runs_little() -> None:
    """It waits for a disk, or for a processor."""
    pace = Pace(0.0, 0.0)
    looks(pace, 0.0, 2.0, 0.0)
    pace.note(2.3, 0.0, 0.1)
    assert pace.tick_s == 0.05
    # And for as long as that goes on.
    for tenths in range(24, 60):
        pace.note(tenths / 10, 0.0, 0.05)
        assert pace.tick_s == 0.05
