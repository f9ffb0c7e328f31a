"""Counts as they change, for any number of readers: what changed is put together once, and sent to all.

All readers of the same counts share a `Channel`. Its events are numbered; the latest are kept for a while, so
that a reader who comes back goes on after the last one that it got; one that missed more gets a new snapshot.
A reader that is slow is sent nothing while there is still something to be sent to it, and is dropped soon:
nothing waits for it here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from streams.cancellation import end
from tables.totals import Count
from tables.views.answers import Answer, Answers
from tables.views.bodies import CountItem, DeltaEvent, RemovedItem, SnapshotEvent
from tables.views.counts_query import CountsQuery
from tables.views.encoding import encoded_items, late_items
from tables.views.live_counts import LiveCounts, Snapshot
from tables.views.times import rfc3339

log = logging.getLogger(__name__)

#: Seconds between two looks for what has changed.
TICK_S: Final = 0.5
#: Seconds after which an event is sent though nothing has changed: it says that the counts are still current.
KEEP_ALIVE_S: Final = 5.0
#: Seconds for which a reader may have something left to be sent.
SLOW_S: Final = 10.0
#: Seconds for which a channel that nobody reads is kept up, for who comes back.
LINGER_S: Final = 30.0
#: Events of a channel that are kept, and bytes of the events of all channels.
_MOST_EVENTS: Final = 120
_MOST_EVENT_BYTES: Final = 16 * 2**20
_STEP: Final = 100

_encode: Final = msgspec.json.Encoder().encode
_Name = tuple[str, str | None, str | None]


class Transport(Protocol):
    """The part of ``asyncio.Transport`` that sending needs; uvloop's is none."""

    def write(self, data: Any, /) -> None:
        """Send, or keep to be sent."""

    def get_write_buffer_size(self) -> int:
        """Bytes that are still to be sent."""

    def is_closing(self) -> bool:
        """Whether the connection ends, or has ended."""

    def abort(self) -> None:
        """End the connection, whatever is still to be sent."""


class Reader:
    """Who reads a channel.

    Args:
        transport: of the connection.
        chunked: whether the answer is sent in chunks, as HTTP/1.1 has it.
    """

    def __init__(self, transport: Transport, *, chunked: bool = True) -> None:
        self._transport = transport
        self._chunked = chunked
        #: Number of the event that was sent last; None while it is to get a snapshot.
        self.sent: int | None = None
        #: Whether the first event was sent, so that those that follow may be.
        self.has_begun = False
        #: Set once the connection has ended.
        self.gone = asyncio.Event()
        self._behind_since: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether the connection lives."""
        if self._transport.is_closing():
            self.gone.set()
        return not self.gone.is_set()

    def takes(self, now_s: float) -> bool:
        """Whether everything is sent, so that more can be."""
        if not self._transport.get_write_buffer_size():
            self._behind_since = None
            return True
        if self._behind_since is None:
            self._behind_since = now_s
        return False

    def is_slow(self, now_s: float) -> bool:
        """Whether something has been left to be sent for too long."""
        return self._behind_since is not None and now_s - self._behind_since > SLOW_S

    def send(self, event: bytes) -> None:
        """Send an event, which is a chunk of HTTP/1.1."""
        if self._chunked:
            self._transport.write(event)
        else:
            self._transport.write(memoryview(event)[event.index(b"\r\n") + 2 : -2])

    def end(self) -> None:
        """End the connection."""
        self._transport.abort()
        self.gone.set()


def event(name: str, channel: str, number: int, data: bytes) -> bytes:
    """An event as it is sent, in a chunk of HTTP/1.1: the same bytes for all readers."""
    text = b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (channel.encode(), number, name.encode(), data)
    return b"%x\r\n%s\r\n" % (len(text), text)


class Channel:
    """The events of one question, and who reads them."""

    def __init__(self, query: CountsQuery, snapshot: Snapshot, now_s: float) -> None:
        self.query = query
        self.readers: set[Reader] = set()
        #: What tells it from channels of other processes, and of earlier times.
        self.id = secrets.token_hex(4)
        #: Number of the latest event, and the snapshot that it led to.
        self.number = 0
        self.snapshot = snapshot
        self.read_at = now_s
        self.told_at = now_s
        self._events: deque[bytes] = deque()
        self._bytes = 0

    def add(self, name: str, data: bytes, snapshot: Snapshot, now_s: float, most_bytes: int) -> None:
        """Add an event that leads to ``snapshot``; keep ``most_bytes`` of the latest ones."""
        self.number += 1
        self.snapshot, self.told_at = snapshot, now_s
        new = event(name, self.id, self.number, data)
        self._events.append(new)
        self._bytes += len(new)
        while self._events and (len(self._events) > _MOST_EVENTS or self._bytes > most_bytes):
            self._bytes -= len(self._events.popleft())

    def after(self, number: int) -> list[bytes] | None:
        """The events after one; None when some of them are no longer kept."""
        missed = self.number - number
        if not 0 <= missed <= len(self._events):
            return None
        return list(self._events)[len(self._events) - missed :]

    def number_in(self, last_id: str) -> int | None:
        """The number in the id of an event of this channel, if those after it are kept."""
        channel, _, number = last_id.rpartition("-")
        if channel != self.id or not (number.isascii() and number.isdigit() and len(number) < 16):
            return None
        return int(number) if self.after(int(number)) is not None else None


@dataclass(slots=True)
class _Window:
    """What was last looked at of a window."""

    snapshot: Snapshot
    counts: dict[tuple[str, str], Count]
    channels: set[_Name] = field(default_factory=set)


@dataclass(slots=True)
class _Changes:
    counts: list[Count]
    removed: list[Count]
    #: Whether there is something else to say: partitions are missing, notifications come late.
    other: bool


class LiveStream:
    """Sends counts to readers, at most twice a second.

    Args:
        live: counts of all windows.
        most: readers at a time.
        monotonic: seconds, only for differences.
    """

    def __init__(self, live: LiveCounts, most: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._most = most
        self._monotonic = monotonic
        self._snapshots = Answers()
        self._windows: dict[str, _Window] = {}
        self._channels: dict[_Name, Channel] = {}
        self._opening = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        #: Readers that were dropped because they were slow, and those that were refused.
        self.dropped = 0
        self.refused = 0

    @property
    def readers(self) -> int:
        """How many there are."""
        return sum(len(channel.readers) for channel in self._channels.values())

    @property
    def is_full(self) -> bool:
        """Whether no further reader may come; those that have gone are no longer counted."""
        if self.readers >= self._most:
            for channel in self._channels.values():
                channel.readers = {reader for reader in channel.readers if reader.is_there}
        return self.readers >= self._most

    # ---------------------------------------------------------------- readers

    async def read(self, query: CountsQuery, reader: Reader, last_id: str = "") -> None:
        """Send to a reader until its connection ends.

        Args:
            query: window, event type and priority.
            reader: who reads.
            last_id: of the event that it got last.
        """
        channel = await self._channel(query)
        channel.readers.add(reader)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="web-live-stream")
        try:
            reader.sent = channel.number_in(last_id)
            if reader.sent is None:
                await self._begin(channel, reader)
            self._catch_up(channel, reader)
            reader.has_begun = True
            await reader.gone.wait()
        finally:
            channel.readers.discard(reader)
            channel.read_at = self._monotonic()

    async def stop(self) -> None:
        """End all connections."""
        for channel in self._channels.values():
            for reader in channel.readers:
                reader.end()
        await end(self._task)
        self._task = None

    async def _channel(self, query: CountsQuery) -> Channel:
        name = query.window, query.event_type, query.priority
        async with self._opening:
            if name in self._channels:
                return self._channels[name]
            window = self._windows.get(query.window)
            if window is None:
                snapshot = await self._live.snapshot(query.window)
                window = _Window(snapshot, await self._by_name(snapshot))
                self._windows[query.window] = window
            channel = self._channels[name] = Channel(query, window.snapshot, self._monotonic())
            window.channels.add(name)
            return channel

    async def _begin(self, channel: Channel, reader: Reader) -> None:
        """Send a snapshot to a reader."""
        snapshot = channel.snapshot
        name = channel.id, channel.number
        made = await self._snapshots.get(name, snapshot, partial(self._snapshot, channel))
        if reader.is_there:
            reader.send(made.body)
            reader.sent = int(made.etag)

    async def _snapshot(self, channel: Channel) -> Answer:
        # The three belong together; events that come while it is made are sent after it.
        snapshot, number, query = channel.snapshot, channel.number, channel.query
        async with self._live.lane.work() as pieces:
            found: list[Count] = []
            for start in range(0, len(snapshot.items), _STEP):
                found += query.filtered(snapshot.items[start : start + _STEP])
                await pieces.rest()
            items = await encoded_items(found, pieces)
            fresh = snapshot.freshness
            body = SnapshotEvent(
                rfc3339(fresh.as_of_s),
                fresh.complete,
                fresh.missing,
                query.window,
                items,
                late_items(snapshot.late, query.priority),
            )
            return Answer(event("snapshot", channel.id, number, _encode(body)), str(number))

    def _catch_up(self, channel: Channel, reader: Reader) -> bool:
        """Send what a reader has not got yet; False when it needs a snapshot."""
        if reader.sent is None:
            return False
        events = channel.after(reader.sent)
        if events is None:
            reader.sent = None
            return False
        for each in events:
            reader.send(each)
        reader.sent = channel.number
        return True

    # ---------------------------------------------------------------- what changes

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception:
                log.exception("Looking for changed counts failed; readers get a snapshot.")
                self._forget()

    def _forget(self) -> None:
        """Begin anew with all readers."""
        for channel in self._channels.values():
            for reader in channel.readers:
                reader.end()
        self._channels.clear()
        self._windows.clear()

    async def tick(self) -> None:
        """Look for changes once, and send them."""
        for name, window in list(self._windows.items()):
            self._close_unread(name, window)
            if not window.channels:
                continue
            changes = await self._changes(name, window)
            # No await between taking over the snapshot and this: a channel that comes now begins with it.
            for channel in [self._channels[each] for each in window.channels]:
                await self._add(channel, window.snapshot, changes)
                await self._send(channel)

    def _close_unread(self, name: str, window: _Window) -> None:
        now_s, most = self._monotonic(), 2 * self._most
        for each in list(window.channels):
            channel = self._channels[each]
            if not channel.readers and (now_s - channel.read_at > LINGER_S or len(self._channels) > most):
                del self._channels[each]
                window.channels.discard(each)
        if not window.channels:
            del self._windows[name]

    async def _by_name(self, snapshot: Snapshot) -> dict[tuple[str, str], Count]:
        counts: dict[tuple[str, str], Count] = {}
        async with self._live.lane.work() as pieces:
            for start in range(0, len(snapshot.items), _STEP):
                counts |= _named(snapshot.items[start : start + _STEP])
                await pieces.rest()
        return counts

    async def _changes(self, name: str, window: _Window) -> _Changes:
        """What has changed since the last look; the window is then as of now."""
        snapshot, before = await self._live.snapshot(name), window.snapshot
        if snapshot is before:
            return _Changes([], [], other=False)
        known = window.counts
        counts: dict[tuple[str, str], Count] = {}
        changed: list[Count] = []
        async with self._live.lane.work() as pieces:
            for start in range(0, len(snapshot.items), _STEP):
                some = _named(snapshot.items[start : start + _STEP])
                changed += [count for key, count in some.items() if known.get(key) != count]
                counts |= some
                await pieces.rest()
            removed: list[Count] = []
            names = list(known)
            for start in range(0, len(names), _STEP):
                removed += [known[key] for key in names[start : start + _STEP] if key not in counts]
                await pieces.rest()
        window.snapshot, window.counts = snapshot, counts
        other = (snapshot.freshness.complete, snapshot.freshness.missing, _late(snapshot)) != (
            before.freshness.complete,
            before.freshness.missing,
            _late(before),
        )
        return _Changes(changed, removed, other)

    async def _add(self, channel: Channel, snapshot: Snapshot, changes: _Changes) -> None:
        """Put what has changed of a channel into an event."""
        query, fresh = channel.query, snapshot.freshness
        async with self._live.lane.work() as pieces:
            changed, removed = [
                [
                    count
                    for start in range(0, len(counts), _STEP)
                    for count in query.filtered(counts[start : start + _STEP])
                ]
                for counts in (changes.counts, changes.removed)
            ]
            now_s = self._monotonic()
            if not (changed or removed or changes.other or now_s - channel.told_at >= KEEP_ALIVE_S):
                channel.snapshot = snapshot
                return
            items: list[CountItem] = await encoded_items(changed, pieces)
            body = DeltaEvent(
                rfc3339(fresh.as_of_s),
                fresh.complete,
                fresh.missing,
                query.window,
                items,
                [RemovedItem(each.event_type, each.priority) for each in removed],
                late_items(snapshot.late, query.priority),
            )
            most_bytes = _MOST_EVENT_BYTES // len(self._channels)
            channel.add("delta", _encode(body), snapshot, now_s, most_bytes)

    async def _send(self, channel: Channel) -> None:
        """Send to each reader of a channel what it has not got yet."""
        begin = []
        async with self._live.lane.work() as pieces:
            for reader in list(channel.readers):
                now_s = self._monotonic()
                if not (reader.is_there and reader.has_begun):
                    continue
                if reader.takes(now_s):
                    if not self._catch_up(channel, reader):
                        begin.append(reader)
                elif reader.is_slow(now_s):
                    self.dropped += 1
                    reader.end()
                await pieces.rest()
        for reader in begin:
            await self._begin(channel, reader)


def _named(counts: Iterable[Count]) -> dict[tuple[str, str], Count]:
    return {(each.event_type, each.priority): each for each in counts}


def _late(snapshot: Snapshot) -> set[str]:
    return {each.priority for each in snapshot.late}
