"""Publishing many messages as fast as they can be confirmed, or no faster than asked; and counting them."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, TypeVar

from streams.broker.producers.batches import BatchSender
from streams.outgoing import Outgoing
from streams.publishing.pace import Pace

Item = TypeVar("Item")

_AHEAD_BYTES = 16 * 2**20
_CHUNK = 200
_READ_BYTES = 2**18
_READ_AHEAD = 8
_MAX_LINE_BYTES = 16 * 2**20


@dataclass
class Tally:
    """What became of the messages.

    Attributes:
        published: confirmed by Kafka.
        failed: not sent, or not confirmed.
        troubles: how many failed, by the topic and the reason.
    """

    published: int = 0
    failed: int = 0
    troubles: dict[str, int] = field(default_factory=dict)

    def settled(self, messages: list[Outgoing], error: Exception | None) -> None:
        """Count messages that share one fate; None means confirmed."""
        if error is None:
            self.published += len(messages)
        else:
            self.failed += len(messages)
            text = f"{messages[0].topic}: {str(error) or type(error).__name__}"
            self.troubles[text] = self.troubles.get(text, 0) + len(messages)


async def chunked(items: Iterable[Item]) -> AsyncIterator[Sequence[Item]]:
    """The items of a synchronous iterable, in lists."""
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


class Bulk:
    """Hands messages to a sender that is connected, and waits until each is confirmed or failed.

    Args:
        sender: tells ``tally`` what became of the messages.
        tally: the counts.
        stop: ends the sending early; set here too when Kafka takes nothing for ``timeout_s``.
        timeout_s: seconds without any confirmation after which to give up.
        rate: messages a second at most; None for as fast as can be.
    """

    def __init__(
        self, sender: BatchSender, tally: Tally, stop: asyncio.Event, *, timeout_s: float, rate: float | None
    ) -> None:
        self._sender = sender
        self._tally = tally
        self._stop = stop
        self._timeout_s = timeout_s
        self._pace = Pace(rate) if rate else None

    async def send(
        self,
        chunks: AsyncIterator[Sequence[Item]],
        make: Callable[[Item], Outgoing | None],
        *,
        seconds: float | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Send what ``make`` makes of the items; of None it sends nothing.

        ``make`` is called just before the message goes, so that its timestamp is of that time. Stops
        after ``seconds``. ``on_progress`` is told how many items were taken.
        """
        loop = asyncio.get_running_loop()
        until = None if seconds is None else loop.time() + seconds
        add = self._sender.add
        async for chunk in chunks:
            at = 0
            while at < len(chunk):
                if self._stop.is_set() or (until is not None and loop.time() >= until):
                    return
                number = len(chunk) - at
                if self._pace is not None:
                    number = min(number, self._pace.allowed(loop.time()))
                    if number == 0:
                        await self._pause(self._pace.delay_s())
                        continue
                    self._pace.spend(number)
                for item in chunk[at : at + number]:
                    message = make(item)
                    if message is not None:
                        add(message)
                at += number
                on_progress(number)
                await self._room()
                await asyncio.sleep(0)

    async def confirm(self) -> None:
        """Wait for all confirmations, as long as some come within the time-out."""
        while self._sender.pending:
            before = self._settled
            if await self._sender.flush(self._timeout_s) or before == self._settled:
                return

    @property
    def _settled(self) -> int:
        return self._tally.published + self._tally.failed

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _room(self) -> None:
        while self._sender.pending_bytes >= _AHEAD_BYTES and not self._stop.is_set():
            before = self._settled
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._sender.room(_AHEAD_BYTES)
            except TimeoutError:
                if before == self._settled:
                    self._stop.set()


class Lines:
    """The numbered lines of a file or pipe, blank ones left out; read in a thread of its own.

    A pipe may stay silent for long, and what came before is sent nevertheless. A line that is
    too long is given as None.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._slots = threading.Semaphore(_READ_AHEAD)
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """End the iteration, even in the middle of a wait."""
        self._chunks.put_nowait(b"")

    async def chunks(self) -> AsyncIterator[Sequence[tuple[int, bytes | None]]]:
        """The lines, in lists of what came together.

        Raises:
            OSError: the file cannot be read any further.
        """
        # Not an executor's thread: at exit that would be waited for, however long the pipe is silent.
        threading.Thread(target=self._read, name="tocsin-lines", daemon=True).start()
        rest, number, skipping = b"", 0, False
        while True:
            data = await self._chunks.get()
            if isinstance(data, OSError):
                raise data
            self._slots.release()
            *lines, rest = (rest + data).split(b"\n")
            if not data and rest:
                lines, rest = [rest], b""
            found: list[tuple[int, bytes | None]] = []
            for line in lines:
                number += 1
                stripped = line.strip()
                if skipping:
                    found.append((number, None))
                    skipping = False
                elif stripped:
                    found.append((number, stripped))
            if len(rest) > _MAX_LINE_BYTES:
                rest, skipping = b"", True
            if found:
                yield found
            if not data:
                return

    def _read(self) -> None:
        try:
            # Not through the buffered reader: its lock, held at exit, would abort the interpreter.
            descriptor = self._file.fileno()
        except (OSError, io.UnsupportedOperation):
            descriptor = -1
        while True:
            self._slots.acquire()
            data: bytes | OSError
            try:
                data = os.read(descriptor, _READ_BYTES) if descriptor >= 0 else self._file.read(_READ_BYTES)
            except OSError as error:
                data = error
            try:
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, data)
            except RuntimeError:  # the loop is closed: nobody reads on
                return
            if isinstance(data, OSError) or not data:
                return
