"""Counts as they change, for any number of readers: what changed is put together once, and sent to all.

All readers of the same counts share a `Channel`. Its events are numbered; the latest are kept for a while, so
that a reader who comes back goes on after the last one that it got; one that missed more gets a new snapshot.
A reader that is slow is sent nothing while there is still something to be sent to it, and is dropped soon:
nothing waits for it here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec

from streams.cancellation import end
from tables.totals import Count
from tables.views.answers import Answer, Answers
from tables.views.bodies import CountItem, DeltaEvent, RemovedItem, SnapshotEvent
from tables.views.counts_query import CountsQuery
from tables.views.encoding import encoded_items, late_items
from tables.views.live_channel import Channel, Reader, event
from tables.views.live_counts import LiveCounts, Snapshot
from tables.views.times import rfc3339

log = logging.getLogger(__name__)

#: Seconds between two looks for what has changed.
TICK_S: Final = 0.5
#: Seconds after which an event is sent though nothing has changed: it says that the counts are still current.
KEEP_ALIVE_S: Final = 5.0
#: Seconds for which a channel that nobody reads is kept up, for who comes back.
LINGER_S: Final = 30.0
#: Bytes of the events of all channels that are kept.
_MOST_EVENT_BYTES: Final = 16 * 2**20
_STEP: Final = 100

_encode: Final = msgspec.json.Encoder().encode
_Name = tuple[str, str | None, str | None]


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
        most: readers at a time, with those of ``others``.
        monotonic: seconds, only for differences.
        others: how many readers there are of what shares the bound: pages that are open.
    """

    def __init__(
        self,
        live: LiveCounts,
        most: int,
        monotonic: Callable[[], float] = time.monotonic,
        others: Callable[[], int] = lambda: 0,
    ) -> None:
        self._live = live
        self._most = most
        self._others = others
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
        return self.is_full_with(self._others())

    def is_full_with(self, others: int) -> bool:
        """Whether no further reader may come where there are so many of what shares the bound."""
        if self.readers + others >= self._most:
            for channel in self._channels.values():
                channel.readers = {reader for reader in channel.readers if reader.is_there}
        return self.readers + others >= self._most

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
