"""The end of a worker's event loop: what was cancelled ends first, and nothing is waited for beyond that."""

from __future__ import annotations

import asyncio
from typing import Any

import mode
import pytest
from faust.worker import Worker as FaustsWorker

from streams.upstream import faust_worker
from streams.upstream.faust_worker import Worker

#: The method asks nothing of the worker, and to make one changes signals and the log.
NOBODY: Any = None


class _Closing(asyncio.Protocol):
    closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True


def _shut_down(kind: type[FaustsWorker], turns: int) -> tuple[bool, bool, list[float]]:
    """Shut down a loop with a task that ends so many turns after it is cancelled, and a connection.

    Returns:
        Whether the task came to its end, whether the connection was closed, and how long was slept.
    """
    loop = asyncio.SelectorEventLoop()
    ended = False
    slept: list[float] = []
    protocol = _Closing()

    async def slow() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(turns):
                await asyncio.get_running_loop().run_in_executor(None, lambda: None)
            ended = True

    async def begin() -> tuple[asyncio.Task[None], Any, asyncio.Server]:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, *address)
        task = asyncio.create_task(slow())
        await asyncio.sleep(0)
        return task, transport, server

    task, transport, server = loop.run_until_complete(begin())
    real = loop.call_later
    loop.call_later = lambda delay, *rest, **named: slept.append(delay) or real(delay, *rest, **named)  # type: ignore[method-assign, func-returns-value]
    server.close()
    transport.close()
    task.cancel()
    loop.run_until_complete(kind._sentinel_task(NOBODY))
    result = ended, protocol.closed, slept
    if not ended:
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    return result


def test_what_was_cancelled_and_closed_comes_to_its_end() -> None:
    ended, closed, slept = _shut_down(Worker, 5)
    assert ended
    assert closed
    assert slept == [faust_worker._TASKS_END_S]  # a limit only: it ended before


def test_nothing_is_waited_for_where_nothing_is_left() -> None:
    loop = asyncio.SelectorEventLoop()
    asked: list[float] = []
    loop.call_later = lambda delay, *_, **__: asked.append(delay)  # type: ignore[method-assign, assignment, return-value]
    try:
        loop.run_until_complete(Worker._sentinel_task(NOBODY))
    finally:
        loop.close()
    assert asked == []


def test_a_task_that_does_not_end_is_not_waited_for_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust_worker, "_TASKS_END_S", 0.01)
    loop = asyncio.SelectorEventLoop()
    try:
        task = loop.create_task(asyncio.Event().wait())
        loop.run_until_complete(Worker._sentinel_task(NOBODY))
        assert not task.done()
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
    finally:
        loop.close()


def test_faust_waits_a_second_each_time() -> None:
    """Why it is overridden; and the control of the tests above: it is this method that waits."""
    assert mode.Worker._sentinel_task.__code__.co_consts[1:] == (1.0,)
    _, _, slept = _shut_down(FaustsWorker, 0)
    assert slept == [1.0]
