"""Confirmed delivery when the client fails in a way that it cannot retry by itself."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
)

from streams.broker.producers import confirmed as module
from streams.broker.producers.confirmed import ConfirmedProducer
from streams.broker.producers.errors import RecordRefusedForSizeError
from streams.outgoing import Outgoing
from streams.retries import Backoff


class FakeClient:
    """Stands in for aiokafka's producer: the first one refuses, and holds whoever comes after that."""

    made: list[FakeClient]
    cannot_start: set[int]
    may_start: asyncio.Event | None = None

    def __init__(self, **_options: Any) -> None:
        self.number = len(self.made)
        self.made.append(self)
        self.taken: list[bytes] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.full = False
        self.client = SimpleNamespace(close=self._close, cluster=SimpleNamespace())
        self._sender = None
        self.closed = False

    async def _close(self) -> None:
        self.closed = True

    async def start(self) -> None:
        if self.number in self.cannot_start:
            raise KafkaConnectionError("no broker")
        if self.number > 0 and self.may_start is not None:
            await self.may_start.wait()

    async def stop(self) -> None:
        if self.number == 0:
            await asyncio.Event().wait()  # it waits for batches that cannot be sent
        self.closed = True

    async def send(self, _topic: str, value: bytes, **_options: Any) -> asyncio.Future[Any]:
        if self.full:
            await asyncio.Event().wait()  # as the client does with a full batch
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.taken.append(value)
        self.futures.append(future)
        if self.number > 0:
            future.set_result(SimpleNamespace(offset=len(self.taken)))
        return future


@pytest.fixture
async def producer(monkeypatch: pytest.MonkeyPatch) -> ConfirmedProducer:
    FakeClient.made, FakeClient.cannot_start = [], set()
    monkeypatch.setattr(module.aiokafka, "AIOKafkaProducer", FakeClient)
    monkeypatch.setattr(module, "_STOP_S", 0.01)
    monkeypatch.setattr(module, "_AGAIN", Backoff(0.0))
    made = ConfirmedProducer("test", {})
    await made.start()
    return made


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_whoever_waits_in_a_client_that_is_replaced_is_let_go(producer: ConfirmedProducer) -> None:
    """The control is the code before: it waited for good, and with it an agent and its partition."""
    refused = asyncio.create_task(producer.send([Outgoing("t", b"refused")]))
    other = asyncio.create_task(producer.send([Outgoing("t", b"other")]))
    await settle()
    old = FakeClient.made[0]
    old.full = True
    waiting = asyncio.create_task(producer.enqueue(Outgoing("t", b"waiting")))
    await settle()
    assert not waiting.done()
    old.futures[0].set_exception(InvalidTimestampError())
    async with asyncio.timeout(20):
        with pytest.raises(KafkaError):
            await waiting
        await refused
        await other
    fresh = FakeClient.made[1]
    assert sorted(fresh.taken) == [b"other", b"refused"]
    assert old.closed


@pytest.mark.parametrize("waits", [True, False])
async def test_what_is_refused_for_its_size_is_an_error_or_waits_for_the_limit(
    producer: ConfirmedProducer, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    producer._waits_for_size = waits
    sending = asyncio.create_task(producer.send([Outgoing("t", b"a")]))
    await settle()
    FakeClient.made[0].futures[0].set_exception(MessageSizeTooLargeError())
    async with asyncio.timeout(20):
        if waits:
            assert len(await sending) == 1
            assert "Raise max.message.bytes of t" in caplog.text
        else:
            with pytest.raises(RecordRefusedForSizeError):
                await sending


async def test_all_are_confirmed_in_order_when_nothing_fails(producer: ConfirmedProducer) -> None:
    producer._producer = FakeClient()  # type: ignore[assignment]  # the second one confirms at once
    sent = await producer.send([Outgoing("t", b"a"), Outgoing("t", b"b")])
    assert [metadata.offset for metadata in sent] == [1, 2]
    assert producer.failures == 0


async def test_a_client_that_cannot_connect_is_closed_and_the_one_before_stays(
    producer: ConfirmedProducer,
) -> None:
    FakeClient.cannot_start = {1}
    sending = asyncio.create_task(producer.send([Outgoing("t", b"a")]))
    await settle()
    first = FakeClient.made[0]
    first.futures[0].set_exception(InvalidTimestampError())
    async with asyncio.timeout(20):
        while len(first.futures) < 2:
            await asyncio.sleep(0)
    assert FakeClient.made[1].closed
    assert not first.closed
    first.futures[1].set_result(SimpleNamespace(offset=7))
    assert [metadata.offset for metadata in await sending] == [7]


async def test_nothing_goes_by_a_new_client_before_the_old_one_has_ended(producer: ConfirmedProducer) -> None:
    """Else alerts of a topic that works overtook those that the old client still had."""
    told: list[str] = []
    first = FakeClient.made[0]
    before = await producer.enqueue(Outgoing("alerts", b"1"))
    before.add_done_callback(lambda _: told.append("1 has failed"))
    failing = asyncio.create_task(producer.send([Outgoing("letters", b"x")]))
    await settle()
    first.futures[1].set_exception(InvalidTimestampError())
    async with asyncio.timeout(20):
        while len(FakeClient.made) < 2:
            await asyncio.sleep(0)

        # Whoever comes meanwhile is told, so that it goes behind what the old client still had.
        with pytest.raises(KafkaError, match="replaced"):
            await producer.enqueue(Outgoing("alerts", b"2"))
        told.append("2 is told")
        await producer.enqueue(Outgoing("alerts", b"3"))
        await failing
    assert told == ["1 has failed", "2 is told"]
    assert b"3" in FakeClient.made[1].taken
    assert not {b"2", b"3"} & set(first.taken)


async def test_a_replacement_that_comes_after_the_end_is_closed(
    producer: ConfirmedProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to open the sender again, which nobody closed then."""
    monkeypatch.setattr(FakeClient, "may_start", asyncio.Event())
    sending = asyncio.create_task(producer.send([Outgoing("t", b"a")]))
    await settle()
    FakeClient.made[0].futures[0].set_exception(InvalidTimestampError())
    async with asyncio.timeout(20):
        while len(FakeClient.made) < 2:
            await asyncio.sleep(0)
        await producer.stop(0.01)
        assert FakeClient.may_start is not None
        FakeClient.may_start.set()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert producer.closed
    assert FakeClient.made[1].closed


async def test_what_nobody_waits_for_any_more_is_not_told_of_as_forgotten(
    producer: ConfirmedProducer,
) -> None:
    """Asyncio says so when the future is freed, which in a worker was while the interpreter ended."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    sending = asyncio.create_task(producer.send([Outgoing("t", b"a"), Outgoing("t", b"b")]))
    await settle()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    stopping = asyncio.create_task(producer.stop(0.01))
    async with asyncio.timeout(20):
        await stopping
    client = FakeClient.made[0]
    ended = [future.done() and not future.cancelled() for future in client.futures]
    assert ended == [False, True], "the one that was waited for is cancelled, the other ends by an error"
    del sending
    client.futures.clear()
    gc.collect()
    await settle()
    assert not told
    forgotten = asyncio.get_running_loop().create_future()
    forgotten.set_exception(KafkaError("the control"))
    del forgotten
    gc.collect()
    assert len(told) == 1
