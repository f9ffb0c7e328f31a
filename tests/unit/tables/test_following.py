"""Up to when a topic was read, by when its partitions were seen to their ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, NoReturn

import pytest

from streams.retries import Backoff, Retries
from streams.upstream import connections
from tables import alerts_reader, following, totals_reader
from tables.fleet import reader, writer
from tables.following import SILENT_S, Follower, SeenEnds, follower_options


class _Clock:
    """Both clocks, a thousand seconds apart."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.ends = SeenEnds(lambda: self.now_s + 1000, lambda: self.now_s)


def test_nothing_is_known_before_every_partition_was_seen() -> None:
    clock = _Clock()
    ends = clock.ends
    assert (ends.as_of, ends.complete, ends.missing) == (0.0, False, set())
    ends.partitions = 2
    ends.seen[0] = 50.0
    assert (ends.as_of, ends.complete, ends.missing) == (0.0, False, {1})
    ends.seen[1] = 49.0
    assert (ends.as_of, ends.complete, ends.missing) == (1049.0, True, set())


def test_the_time_stands_still_while_a_partition_is_not_seen_and_it_is_missed_after_a_while() -> None:
    clock = _Clock()
    ends = clock.ends
    ends.partitions, ends.seen = 2, {0: 50.0, 1: 49.0}
    clock.now_s += SILENT_S - 1.5
    ends.seen[0] = clock.now_s
    assert (ends.as_of, ends.complete, ends.missing) == (1049.0, True, set())
    clock.now_s += 0.5
    assert (ends.as_of, ends.complete, ends.missing) == (1049.0, False, {1})
    ends.seen[1] = clock.now_s
    assert (ends.as_of, ends.complete, ends.missing) == (1000 + clock.now_s - 0.5, True, set())


def test_options_are_the_usual_ones_unless_others_are_given() -> None:
    made = follower_options({"bootstrap_servers": "a:1"}, lambda *_: None, auto_offset_reset="none")
    assert (made["bootstrap_servers"], made["group_id"], made["auto_offset_reset"]) == ("a:1", None, "none")
    assert follower_options({}, lambda *_: None)["auto_offset_reset"] == "earliest"


@pytest.mark.parametrize("module", [alerts_reader, reader, writer, totals_reader])
def test_what_pages_show_is_asked_for_again_soon_however_long_brokers_were_away(module: ModuleType) -> None:
    retries = Retries(module._RETRY)
    assert max(retries.next_pause_s() or 0.0 for _ in range(100)) <= 5.0


class _SlowToStop:
    """A consumer that stops when it may; like aiokafka's, it does nothing when it is stopped once more."""

    def __init__(self) -> None:
        self.may_stop = asyncio.Event()
        self.began = asyncio.Event()
        self.open = True

    async def stop(self) -> None:
        if self.began.is_set():
            return
        self.began.set()
        await self.may_stop.wait()
        self.open = False


class _Failing(Follower):
    """Reads for some seconds, fails, and reads again with another consumer."""

    def __init__(self, lasting_s: float, *, begins_anew: bool = False) -> None:
        self.now_s = 0.0
        super().__init__({}, Backoff(0.0, factor=2, most_s=30.0), lambda: self.now_s)
        self._lasting_s = lasting_s
        self._begins_anew = begins_anew
        self.read_with: list[Any] = []
        self.said: list[str] = []
        self.third = asyncio.Event()

    async def _connected(self) -> Any:
        consumer: Any = _SlowToStop()
        consumer.may_stop.set()
        self._consumer = consumer
        return consumer

    async def _read(self, consumer: Any) -> NoReturn:
        self.read_with.append(consumer)
        self.now_s += self._lasting_s
        if len(self.read_with) == 3:
            self.third.set()
            await asyncio.Event().wait()
        raise OSError("gone")

    def _ended(self, error: Exception) -> bool:
        self.said.append(str(error))
        return self._begins_anew


@pytest.mark.parametrize(
    ("lasting_s", "begins_anew", "pauses_begun"), [(1.0, False, 1), (31.0, False, 3), (1.0, True, 3)]
)
async def test_a_follower_reads_again_with_another_consumer_until_it_is_stopped(
    lasting_s: float, begins_anew: bool, pauses_begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disconnected: list[Any] = []
    begun: list[Backoff] = []

    async def disconnect(consumer: Any) -> None:
        disconnected.append(consumer)

    class Noted(Retries):
        def __init__(self, backoff: Backoff) -> None:
            super().__init__(backoff)
            begun.append(backoff)

    monkeypatch.setattr(following, "disconnect", disconnect)
    monkeypatch.setattr(following, "Retries", Noted)
    follower = _Failing(lasting_s, begins_anew=begins_anew)
    follower._begin("follower")
    await follower.third.wait()
    await follower.stop()
    assert follower.said == ["gone", "gone"]
    assert disconnected == follower.read_with
    assert len(set(map(id, disconnected))) == 3
    assert len(begun) == pauses_begun
    await follower.stop()
    assert len(disconnected) == 3, "stopping twice disconnects once"


async def _left_open() -> bool:
    """Whether a consumer is open after a second ``stop``, where the first was cancelled in its midst."""
    follower = _Failing(1.0)
    consumer: Any = _SlowToStop()
    follower._consumer = consumer
    first = asyncio.create_task(follower.stop())
    await consumer.began.wait()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    second, beside = asyncio.create_task(follower.stop()), asyncio.create_task(follower.stop())
    for _ in range(5):
        await asyncio.sleep(0)
    ended_early = second.done() or beside.done()
    consumer.may_stop.set()
    await asyncio.gather(second, beside)
    return ended_early or consumer.open


async def test_a_stop_that_is_cancelled_leaves_no_consumer_open_and_the_next_one_waits_for_it() -> None:
    assert not await _left_open()


async def test_control_a_consumer_whose_stop_is_cut_short_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cut_short(_: object, close: Callable[[], Awaitable[None]]) -> None:
        await close()

    monkeypatch.setattr(connections, "to_the_end", cut_short)
    assert await _left_open()
