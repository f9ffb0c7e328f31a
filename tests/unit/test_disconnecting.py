"""A consumer is disconnected whatever its ``stop`` does; only a cancellation of ours comes out."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.broker import disconnecting
from streams.broker.disconnecting import disconnect


class _Consumer:
    """``stop`` does as it is told; the client tells whether its connections were closed."""

    def __init__(self, how: str) -> None:
        self._how = how
        self.fetch = asyncio.create_task(asyncio.sleep(3600))
        self._fetcher = SimpleNamespace(_pending_tasks={self.fetch})
        self._client = self
        self.closed = False

    async def stop(self) -> None:
        if self._how == "lets its own cancellation out":
            self.fetch.cancel()
            await self.fetch
        elif self._how == "fails":
            raise KafkaError("fetching had ended")
        elif self._how == "waits for a broker":
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
    monkeypatch.setattr(disconnecting, "_STOP_S", 0.01)
    consumer: Any = _Consumer(how)
    await disconnect(consumer)
    await asyncio.gather(consumer.fetch, return_exceptions=True)
    assert (consumer.closed, consumer.fetch.cancelled()) == (True, True)
    assert says in caplog.text
    assert bool(says) == bool(caplog.messages)


async def test_a_caller_that_is_cancelled_stays_so() -> None:
    consumer: Any = _Consumer("waits for a broker")
    task = asyncio.create_task(disconnect(consumer))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    consumer.fetch.cancel()
