"""Readers of the web views, in a process of their own: requests at a fixed rate, and live streams.

``python -m tests.benchmarks.web_readers '{"address": ..., "rate": ..., "streams": ..., "result": ...}'``
reads until it is told to stop, and then writes what came of it to the file ``result``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.benchmarks.measure import summary
from tests.leash import die_with_parent

#: What dashboards ask, in turn.
QUERIES = (
    "limit=50",
    "limit=50&window=1h",
    "limit=50&priority=ERROR",
    "limit=100&event_type=*operation_00*",
    "limit=50&sort=-last_seen&window=total",
)
_LIMITS = aiohttp.ClientTimeout(total=None, sock_read=60)


@dataclass(frozen=True, slots=True)
class Readers:
    """What the process is told.

    Attributes:
        address: of the web views.
        rate: requests for counts a second.
        streams: live streams.
        result: file for what came of it.
        ready: file that is made once all streams have begun.
    """

    address: str
    rate: float
    streams: int
    result: str
    ready: str

    @property
    def command(self) -> tuple[str, str]:
        """Module and argument of the process."""
        return "tests.benchmarks.web_readers", json.dumps(asdict(self))


class _Reading:
    def __init__(self, readers: Readers, client: aiohttp.ClientSession) -> None:
        self._readers = readers
        self._client = client
        self.taken: list[float] = []
        self.events = 0
        self.failed = 0
        self.begun = 0

    async def requests(self) -> None:
        """Ask at the rate, whether or not earlier answers have come."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        under_way: set[asyncio.Task[None]] = set()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / self._readers.rate - loop.time()))
            task = asyncio.create_task(self._ask(QUERIES[number % len(QUERIES)]))
            under_way.add(task)
            task.add_done_callback(under_way.discard)

    async def _ask(self, query: str) -> None:
        began = time.perf_counter()
        try:
            async with self._client.get(f"{self._readers.address}api/v1/counts?{query}") as answer:
                await answer.read()
                self.failed += answer.status != 200
        except (aiohttp.ClientError, TimeoutError):
            self.failed += 1
        self.taken.append(time.perf_counter() - began)

    async def stream(self) -> None:
        """Read one live stream."""
        address = f"{self._readers.address}api/v1/events"
        async with self._client.get(address, timeout=_LIMITS) as answer:
            if answer.status != 200:
                self.failed += 1
                return
            first = True
            async for chunk in answer.content.iter_any():
                self.begun += first
                first = False
                self.events += chunk.count(b"event: ")


async def read(readers: Readers) -> dict[str, Any]:
    """Read until stopped; what came of it."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
        reading = _Reading(readers, client)
        tasks = [asyncio.create_task(reading.stream()) for _ in range(readers.streams)]
        while reading.begun < readers.streams and not any(task.done() for task in tasks):
            await asyncio.sleep(0.05)
        began = time.monotonic()
        if readers.rate:
            tasks.append(asyncio.create_task(reading.requests()))
        Path(readers.ready).touch()
        await stop.wait()
        passed = time.monotonic() - began
        lost = sum(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "requests_per_s": len(reading.taken) / passed,
        "answer_s": summary(reading.taken),
        "events_per_s": reading.events / passed,
        "streams": reading.begun,
        "failed": reading.failed + lost,
    }


def main() -> None:
    """Read until stopped."""
    import uvloop

    die_with_parent()
    readers = Readers(**json.loads(sys.argv[1]))
    Path(readers.result).write_text(json.dumps(uvloop.run(read(readers))))


if __name__ == "__main__":
    main()
