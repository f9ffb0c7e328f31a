"""A reader of the live stream of counts, as a browser would be one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson


@dataclass(slots=True)
class Event:
    """One event of the stream."""

    name: str
    id: str
    data: dict[str, Any]


@dataclass(slots=True)
class LiveReader:
    """Reads events, and keeps the counts that they lead to."""

    response: aiohttp.ClientResponse
    #: (priority, event type) -> count
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    #: What came so far.
    events: list[Event] = field(default_factory=list)

    async def next(self) -> Event:
        """The next event.

        Raises:
            EOFError: the stream has ended.
        """
        fields: dict[str, str] = {}
        while True:
            line = (await self.response.content.readuntil(b"\n", max_size=2**26)).decode()
            if not line:
                raise EOFError
            if line != "\n":
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value
            elif "data" in fields:
                break
        found = Event(fields["event"], fields["id"], orjson.loads(fields["data"]))
        self.events.append(found)
        self._take(found)
        return found

    def _take(self, event: Event) -> None:
        if event.name == "snapshot":
            self.counts.clear()
        else:
            assert event.name == "delta"
            for gone in event.data["removed"]:
                del self.counts[gone["priority"], gone["event_type"]]
        for item in event.data["items"]:
            self.counts[item["priority"], item["event_type"]] = item["count"]

    async def until(self, counts: dict[tuple[str, str], int]) -> Event:
        """Read until the counts are these."""
        found = await self.next()
        while self.counts != counts:
            found = await self.next()
        return found


@asynccontextmanager
async def live_reader(
    client: aiohttp.ClientSession,
    last_id: str | None = None,
    *,
    path: str = "/api/v1/events",
    **parameters: str,
) -> AsyncIterator[LiveReader]:
    """A reader of the stream at ``client``; goes on after ``last_id``."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    limits = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with client.get(path, params=parameters, headers=headers, timeout=limits) as response:
        assert response.status == 200, await response.text()
        yield LiveReader(response)
