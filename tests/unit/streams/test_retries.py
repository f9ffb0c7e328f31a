"""Pauses between tries grow to a bound, and end when time is up or nobody wants another try."""

from __future__ import annotations

import asyncio
import itertools

from streams.retries import Backoff, Retries


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def pauses(retries: Retries, clock: Clock, most: int = 20) -> list[float]:
    """The pauses of tries that take no time."""
    found: list[float] = []
    while len(found) < most and (pause_s := retries.next_pause_s()) is not None:
        found.append(pause_s)
        clock.now += pause_s
    return found


def test_pauses_double_up_to_the_longest() -> None:
    clock = Clock()
    retries = Retries(Backoff(0.1, factor=2, most_s=1.0), clock=clock)
    assert pauses(retries, clock, 6) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_pauses_are_alike_without_a_factor() -> None:
    clock = Clock()
    assert pauses(Retries(Backoff(0.5), clock=clock), clock, 4) == [0.5] * 4


def test_no_try_begins_after_the_deadline() -> None:
    clock = Clock()
    retries = Retries(Backoff(1.0), within_s=3.5, clock=clock)
    assert pauses(retries, clock) == [1.0, 1.0, 1.0]
    assert not retries.left
    assert Retries(Backoff(1.0), within_s=0, clock=clock).next_pause_s() is None


def test_the_time_that_tries_take_counts() -> None:
    clock = Clock()
    retries = Retries(Backoff(1.0), within_s=10, clock=clock)
    assert retries.next_pause_s() == 1.0
    clock.now += 9.5
    assert retries.next_pause_s() is None


def test_it_ends_when_no_try_is_wanted() -> None:
    clock = Clock()
    answers = itertools.chain([True, True], itertools.repeat(False))
    assert pauses(Retries(Backoff(1.0), wanted=lambda: next(answers), clock=clock), clock) == [1.0, 1.0]


async def test_a_pause_ends_when_the_next_try_is_not_wanted_any_more() -> None:
    wanted = True

    def give_up() -> None:
        nonlocal wanted
        wanted = False

    retries = Retries(Backoff(3600.0), wanted=lambda: wanted)
    asyncio.get_running_loop().call_later(0.01, give_up)
    async with asyncio.timeout(20):
        assert not await retries.pause()


async def test_others_run_in_a_pause_of_no_length() -> None:
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    for retries in (Retries(Backoff(0.0)), Retries(Backoff(0.0), wanted=lambda: True)):
        ran = False
        task = asyncio.create_task(other())
        assert await retries.pause()
        assert ran
        await task


async def test_nothing_is_waited_for_when_no_try_is_left() -> None:
    assert not await Retries(Backoff(3600.0), within_s=1.0).pause()
    assert not await Retries(Backoff(3600.0), wanted=lambda: False).pause()
