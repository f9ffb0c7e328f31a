"""A cancellation that comes while somebody else's is awaited is not lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient

from streams import cancellation
from streams.broker.producers import client
from streams.broker.producers.batches import BatchSender
from streams.cancellation import cancellable, end, to_the_end


async def _let_it_run() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


# ---------------------------------------------------------------- end


async def test_end_waits_for_what_tasks_do_when_they_are_cancelled() -> None:
    cleaned_up: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await _let_it_run()
            cleaned_up.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(3)]
    await _let_it_run()
    await end(*tasks, None)
    assert sorted(cleaned_up) == [0, 1, 2]
    assert all(task.cancelled() for task in tasks)


async def test_end_of_nothing_returns_at_once() -> None:
    await end()
    await end(None)


async def test_a_task_that_fails_at_its_end_does_not_fail_who_ends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("disk full")

    task = asyncio.create_task(work())
    await _let_it_run()
    await end(task)
    del task
    assert caplog.messages == []


async def test_a_task_that_lost_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "_AGAIN_S", 0.01)
    lost = 0

    async def work() -> None:
        nonlocal lost
        while lost < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await _let_it_run()
    await end(task)
    assert (lost, task.cancelled()) == (3, True)


# ---------------------------------------------------------------- cancellable


class _Slow:
    """An aiokafka client whose own task takes some turns to end, as it does while a request is under way."""

    def __init__(self) -> None:
        self.client: Any = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
        self.client._sync_task = asyncio.create_task(self._synchronise())

    @staticmethod
    async def _synchronise() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            await _let_it_run()


async def _cancelled_while_it_closes(*, with_care: bool) -> bool:
    """Whether the caller ended by its cancellation."""
    slow = _Slow()
    await _let_it_run()

    async def caller() -> None:
        if with_care:
            with cancellable():
                await slow.client.close()
        else:
            await slow.client.close()

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not slow.client._sync_task.done()
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def test_a_caller_cancelled_while_a_client_closes_ends() -> None:
    assert await _cancelled_while_it_closes(with_care=True)


async def test_control_the_stock_client_loses_it() -> None:
    assert not await _cancelled_while_it_closes(with_care=False), "aiokafka is mended: cancellable may go"


async def test_a_bound_that_runs_out_inside_is_a_time_out_still() -> None:
    async def loses() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            with cancellable():
                await loses()


async def test_who_is_not_cancelled_goes_on_and_errors_pass() -> None:
    with cancellable():
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="disk full"), cancellable():
        raise OSError("disk full")


# ---------------------------------------------------------------- to_the_end


class _Closed:
    """What is closed when it may be."""

    def __init__(self) -> None:
        self.may_close = asyncio.Event()
        self.begun = 0
        self.ended = 0

    async def close(self) -> int:
        self.begun += 1
        await self.may_close.wait()
        self.ended += 1
        return self.begun


async def test_what_is_closed_is_closed_once_and_to_the_end_whoever_is_cancelled() -> None:
    it = _Closed()
    callers = [asyncio.create_task(to_the_end(it, it.close)) for _ in range(3)]
    await _let_it_run()
    callers[0].cancel()
    await asyncio.wait([callers[0]])
    assert (callers[0].cancelled(), it.begun, it.ended) == (True, 1, 0)
    late = asyncio.create_task(to_the_end(it, it.close))
    await _let_it_run()
    assert not late.done()
    it.may_close.set()
    assert await asyncio.gather(*callers[1:], late) == [1, 1, 1]
    assert (it.begun, it.ended) == (1, 1)


async def test_two_things_are_closed_each_on_its_own_and_what_is_closed_may_be_closed_again() -> None:
    one, other = _Closed(), _Closed()
    one.may_close.set()
    assert await to_the_end(one, one.close) == 1
    assert await to_the_end(one, one.close) == 2
    waiting = asyncio.create_task(to_the_end(other, other.close))
    await _let_it_run()
    assert not waiting.done()
    other.may_close.set()
    assert await waiting == 1


async def test_why_it_could_not_be_closed_is_told() -> None:
    async def fails() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await to_the_end(_Closed(), fails)


# ---------------------------------------------------------------- where it was found


class _Producer:
    """Starts when it is told to."""

    def __init__(self, may_start: asyncio.Future[None]) -> None:
        self._may_start = may_start
        self.client = SimpleNamespace(cluster=SimpleNamespace())

    async def start(self) -> None:
        await self._may_start

    async def stop(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(4))
async def test_a_sender_cancelled_in_the_instant_in_which_its_producer_started_ends(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(client.aiokafka, "AIOKafkaProducer", lambda **_: _Producer(may_start))

    async def publish() -> None:
        await BatchSender({}, lambda *_: None).start()
        await asyncio.Event().wait()

    task = asyncio.create_task(publish())
    await _let_it_run()
    may_start.set_result(None)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
