"""One question of the live stream: its events, and who reads them."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import Any, Final, Protocol

from tables.views.counts_query import CountsQuery
from tables.views.live_counts import Snapshot

#: Seconds for which a reader may have something left to be sent.
SLOW_S: Final = 10.0
#: Events of a channel that are kept.
_MOST_EVENTS: Final = 120


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
