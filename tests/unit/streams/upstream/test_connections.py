"""Connecting waits for brokers; a consumer is disconnected whatever its ``stop`` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaConnectionError, KafkaError

from streams.upstream import connections
from streams.upstream.connections import connect, disconnect


class _Consumer:
    """``stop`` does as it is told; the client tells whether its connections were closed."""

    def __init__(self, how: str) -> None:
        self._how = how
        self.fetch = asyncio.create_task(asyncio.sleep(3600))
        self._fetcher = SimpleNamespace(_pending_tasks={self.fetch})
        self._client = self
        self.closed = False
        self.stopping, self.may_stop = asyncio.Event(), asyncio.Event()

    async def stop(self) -> None:
        if self._how == "lets its own cancellation out":
            self.fetch.cancel()
            await self.fetch
        elif self._how == "fails":
            raise KafkaError("fetching had ended")
        elif self._how == "waits for a broker":
            await asyncio.Event().wait()
        elif self._how == "stops when it may":
            if self.stopping.is_set():
                return
            self.stopping.set()
            await self.may_stop.wait()
        elif self._how == "loses cancellations":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        self.fetch.cancel()
        self.closed = True

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("is well", ""),
        ("lets its own cancellation out", ""),
        ("fails", "did not stop in good order"),
        ("waits for a broker", "without the broker's answer"),
    ],
)
async def test_its_fetches_end_and_its_connections_are_closed(
    how: str, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if how == "waits for a broker":
        monkeypatch.setattr(connections, "_STOP_S", 0.01)
    consumer: Any = _Consumer(how)
    await disconnect(consumer)
    await asyncio.gather(consumer.fetch, return_exceptions=True)
    assert (consumer.closed, consumer.fetch.cancelled()) == (True, True)
    assert says in caplog.text
    assert bool(says) == bool(caplog.messages)


async def test_one_that_never_started_is_disconnected_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_STOP_S", 0.01)
    consumer: Any = _Consumer("waits for a broker")
    consumer.fetch.cancel()
    consumer._fetcher = None
    await disconnect(consumer)
    assert consumer.closed


async def test_the_fetches_of_a_real_consumer_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own ``stop`` does not end them all."""
    monkeypatch.setattr(connections, "_STOP_S", 0.01)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    assert consumer._fetcher is None
    consumer._fetcher = Fetcher(consumer._client, consumer._subscription)
    fetches = [asyncio.create_task(asyncio.Event().wait()) for _ in range(2)]
    consumer._fetcher._pending_tasks.update(fetches)
    await asyncio.sleep(0)
    await disconnect(consumer)
    assert [fetch.cancelled() for fetch in fetches] == [True, True]
    assert "_pending_tasks" in Fetcher._fetch_requests_routine.__code__.co_names


async def test_a_connection_that_is_slow_to_close_is_no_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of TLS is, whose other side does not say goodbye: what the caller had to do went undone."""
    monkeypatch.setattr(connections, "_STOP_S", 0.01)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    connection = AIOKafkaConnection("127.0.0.1", 1)
    connection._closed_fut = asyncio.get_running_loop().create_future()
    consumer._client._conns["slow"] = connection
    await disconnect(consumer)
    assert connection._closed_fut.cancelled()
    # The control: its own second close is what looks like a cancellation.
    with pytest.raises(asyncio.CancelledError):
        await consumer._client.close()


@pytest.mark.parametrize("how", ["waits for a broker", "loses cancellations"])
async def test_a_caller_that_is_cancelled_stays_so(how: str) -> None:
    consumer: Any = _Consumer(how)
    task = asyncio.create_task(disconnect(consumer))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    consumer.fetch.cancel()


async def _left_open(disconnects: Callable[[Any], Awaitable[None]]) -> bool:
    """Whether a consumer is open after a second call, where the caller of the first was cancelled in it."""
    consumer: Any = _Consumer("stops when it may")
    first = asyncio.create_task(disconnects(consumer))
    await consumer.stopping.wait()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    consumer.may_stop.set()
    # Of a consumer that is stopped, aiokafka's ``stop`` does nothing.
    await disconnects(consumer)
    consumer.fetch.cancel()
    return not consumer.closed


async def test_it_is_disconnected_though_its_caller_is_cancelled_and_a_second_call_waits_for_it() -> None:
    assert not await _left_open(disconnect)


async def test_control_closing_that_is_cut_short_with_its_caller_leaves_connections_open() -> None:
    assert await _left_open(connections._disconnect)


async def test_connecting_goes_on_until_a_broker_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_AGAIN_S", 0.0)
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise KafkaConnectionError("no broker")

    assert await connect(attempt, lambda: True)
    assert tries == 4


async def test_a_try_to_connect_that_hangs_is_given_up_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_AGAIN_S", 0.0)
    monkeypatch.setattr(connections, "_ATTEMPT_S", 0.01)
    tries = given_up = 0

    async def attempt() -> None:
        nonlocal tries, given_up
        tries += 1
        if tries == 3:
            return
        try:
            await asyncio.Event().wait()
        finally:
            given_up += 1

    assert await connect(attempt, lambda: True)
    assert (tries, given_up) == (3, 2)


async def test_connecting_ends_when_it_is_no_longer_wanted() -> None:
    async def attempt() -> None:
        raise KafkaConnectionError("no broker")

    assert not await connect(attempt, lambda: False)


async def test_what_waiting_does_not_mend_is_raised() -> None:
    async def attempt() -> None:
        raise KafkaError("not authorised")

    with pytest.raises(KafkaError):
        await connect(attempt, lambda: True)
