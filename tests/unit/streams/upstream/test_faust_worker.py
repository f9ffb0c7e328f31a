"""The end of a worker's event loop: what was cancelled ends first, and nothing is waited for beyond that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from faust.worker import Worker as FaustsWorker

from streams.settings import load_settings
from streams.upstream import faust_worker
from streams.upstream.faust_worker import Worker
from tocsin.app import make_app

#: The method asks nothing of the worker, and to make one changes signals and the log.
NOBODY: Any = None
#: Longer than any of this takes.
FAR_S = 60.0


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["selector", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = request.param()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust_worker, "_TASKS_END_S", FAR_S)


class _Closing(asyncio.Protocol):
    closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True


async def _for_a_while() -> None:
    for _ in range(5):
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def _two_turns(_: Any) -> None:
    """What is not enough: the control."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    for _ in range(2):
        await asyncio.sleep(0)


async def _nothing(_: Any) -> None:
    """The other control."""


End = Callable[[Any], Awaitable[None]]


def _cancelled(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that has begun, and was then cancelled."""

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(begin())
    task.cancel()
    return task


def _task_ends(loop: asyncio.AbstractEventLoop, end: End) -> bool:
    """Whether a task that was cancelled, and takes a while to end, has ended."""
    ended: list[bool] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await _for_a_while()
            ended.append(True)

    task = _cancelled(loop, slow())
    loop.run_until_complete(end(NOBODY))
    found = bool(ended)
    loop.run_until_complete(asyncio.wait([task]))
    return found


def _generator_ends(loop: asyncio.AbstractEventLoop, end: End) -> bool:
    """Whether a generator has ended that only a task held which was cancelled."""
    ended: list[bool] = []

    async def values() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await _for_a_while()
            ended.append(True)

    async def reads() -> None:
        async for _ in values():
            await asyncio.Event().wait()

    _cancelled(loop, reads())  # nothing here holds it
    loop.run_until_complete(end(NOBODY))
    found = bool(ended)
    loop.run_until_complete(_for_a_while())
    loop.run_until_complete(loop.shutdown_asyncgens())
    return found


def _connection_ends(loop: asyncio.AbstractEventLoop, end: End) -> bool:
    """Whether a connection is closed that a task closes as the last thing that it does."""
    protocol = _Closing()

    async def connect() -> tuple[asyncio.Transport, asyncio.Server]:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, *address)
        return transport, server

    transport, server = loop.run_until_complete(connect())

    async def closes() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await _for_a_while()
            transport.close()

    server.close()
    task = _cancelled(loop, closes())
    loop.run_until_complete(end(NOBODY))
    found = protocol.closed
    loop.run_until_complete(asyncio.wait([task]))
    loop.run_until_complete(_for_a_while())
    return found


CASES = pytest.mark.parametrize("ends", [_task_ends, _generator_ends, _connection_ends])


@CASES
def test_what_was_cancelled_and_closed_comes_to_its_end(loop: asyncio.AbstractEventLoop, ends: Any) -> None:
    assert ends(loop, Worker._sentinel_task)


@CASES
def test_without_it_that_does_not(loop: asyncio.AbstractEventLoop, ends: Any) -> None:
    assert not ends(loop, _nothing)


def test_two_turns_are_not_enough_for_a_generator(loop: asyncio.AbstractEventLoop) -> None:
    assert not _generator_ends(loop, _two_turns)


def _slept(kind: type[FaustsWorker]) -> list[float]:
    """The timers that the end of an empty loop sets."""
    loop = asyncio.SelectorEventLoop()
    asked: list[float] = []
    real = loop.call_later

    def noted(delay: float, *rest: Any, **named: Any) -> asyncio.TimerHandle:
        asked.append(delay)
        return real(0, *rest, **named)

    loop.call_later = noted  # type: ignore[method-assign]
    try:
        loop.run_until_complete(kind._sentinel_task(NOBODY))
    finally:
        loop.close()
    return asked


def test_nothing_is_waited_for_where_nothing_is_left() -> None:
    assert _slept(Worker) == []
    # Why it is overridden.
    assert _slept(FaustsWorker) == [1.0]


def test_a_task_that_does_not_end_is_not_waited_for_without_bound(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faust_worker, "_TASKS_END_S", 0.01)
    task = loop.create_task(asyncio.Event().wait())
    loop.run_until_complete(Worker._sentinel_task(NOBODY))
    assert not task.done()
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))


async def test_both_commands_run_this_worker(tmp_path: Path) -> None:
    """``faust -A tocsin.app worker`` takes the class from the app."""
    app = make_app(load_settings(data_dir=tmp_path / "data", brokers="127.0.0.1:1"))
    assert app.conf.Worker is Worker
