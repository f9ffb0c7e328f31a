"""One task shows and replays dead letters for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from streams.dead_letters import latest as module
from streams.dead_letters.latest import LatestDeadLetters
from streams.dead_letters.memory import Latest
from streams.dead_letters.reading import LettersUnavailableError, Reading, Wanted
from tests.unit.streams.dead_letters.letters_kit import SETTINGS, Log, Reader


class Connections:
    """Stands for connecting: how often it was done, and what happens while it is undone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
        self.number = 0
        self.on_close: Callable[[], None] = lambda: None
        self._log = log
        monkeypatch.setattr(module, "modest_reader", self.connect)

    @asynccontextmanager
    async def connect(self, *_: object) -> AsyncIterator[Reader]:
        self.number += 1
        yield Reader(self._log)
        self.on_close()
        await asyncio.sleep(0)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch, log: Log) -> Connections:
    return Connections(monkeypatch, log)


async def test_all_who_ask_at_a_time_share_one_look(log: Log, connections: Connections) -> None:
    log.letter(0, 1)
    now = 0.0
    source = LatestDeadLetters(SETTINGS, clock=lambda: 7.0, steady=lambda: now)
    looks = await asyncio.gather(*(source.look() for _ in range(10)))
    assert all(look is looks[0] for look in looks)
    assert await source.look() is looks[0]
    now = module._FRESH_S
    assert await source.look() is not looks[0]
    assert (connections.number, looks[0].as_of) == (1, 7.0)
    await source.stop()


async def test_nobody_who_asks_while_it_disconnects_is_sent_away(
    log: Log, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_S", 0.0)
    now = 0.0
    source = LatestDeadLetters(SETTINGS, steady=lambda: now)
    asked: list[asyncio.Task[Latest]] = []

    def ask() -> None:
        nonlocal now
        now += 10
        if len(asked) < 3:
            asked.append(asyncio.create_task(source.look()))

    connections.on_close = ask
    await source.look()
    async with asyncio.timeout(10):
        while len(asked) < 3 or not all(each.done() for each in asked):
            await asyncio.sleep(0)
    assert all(each.exception() is None for each in asked)
    assert connections.number > 1
    await source.stop()


async def test_a_replay_that_is_stopped_is_told_so_and_who_waits_behind_it(
    log: Log, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def replay(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Reading, "replay", replay)
    source = LatestDeadLetters(SETTINGS)
    replaying = asyncio.create_task(source.replay(Wanted()))
    await begun.wait()
    looking = asyncio.create_task(source.look())
    await asyncio.sleep(0)
    await source.stop()
    with pytest.raises(LettersUnavailableError, match="was stopped meanwhile"):
        await replaying
    with pytest.raises(LettersUnavailableError, match="is stopping"):
        await looking


async def test_what_goes_wrong_is_told_to_all_who_wait_and_the_next_begins_anew(
    log: Log, connections: Connections
) -> None:
    source = LatestDeadLetters(SETTINGS)
    log.may_read = False
    answers = await asyncio.gather(source.look(), source.replay(Wanted()), return_exceptions=True)
    assert [type(each) for each in answers] == [LettersUnavailableError] * 2
    log.may_read = True
    assert (await source.look()).letters == []
    assert connections.number == 2
    await source.stop()
