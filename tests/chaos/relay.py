"""A relay between one worker and the brokers, which cuts, delays, slices or holds what passes.

Brokers advertise their own ports, so the worker is told by ``CHAOS_RELAY`` which port to use in place of
which: ``install`` changes where aiokafka connects to, in the worker's process only.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping

_CHUNK = 16 * 1024
HOST = "127.0.0.1"


class Relay:
    """Relays connections to one port.

    Args:
        target: port of the broker.
        seed: decides where slices are cut.
    """

    def __init__(self, target: int, seed: int) -> None:
        self.target = target
        self.port = 0
        #: Seconds that each piece waits before it goes on.
        self.delay_s = 0.0
        #: Greatest size of a piece in bytes; 0 leaves them as they come.
        self.slice_bytes = 0
        self._random = random.Random(seed)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        """Where it listens, host:port."""
        return f"{HOST}:{self.port}"

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """Reset every connection, and say how many there were."""
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    def hold(self) -> None:
        """Let nothing pass: connections stay open, and nobody answers."""
        self._flowing.clear()

    def release(self) -> None:
        """Let it pass again, and no longer delay or slice it."""
        self.delay_s, self.slice_bytes = 0.0, 0
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target, limit=_CHUNK)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                for piece in self._sliced(data):
                    await self._flowing.wait()
                    writer.write(piece)
                    await writer.drain()
                    if self.slice_bytes:
                        await asyncio.sleep(0.001)
        self._writers.discard(writer)
        writer.close()

    def _sliced(self, data: bytes) -> list[bytes]:
        if not self.slice_bytes:
            return [data]
        pieces = []
        start = 0
        while start < len(data):
            end = start + self._random.randint(1, self.slice_bytes)
            pieces.append(data[start:end])
            start = end
        return pieces


def install(environment: Mapping[str, str]) -> None:
    """Let this process connect to relays where ``CHAOS_RELAY`` says so: ``port:relay,port:relay``."""
    pairs = environment.get("CHAOS_RELAY", "").split(",")
    ports = {int(port): int(relay) for port, _, relay in (pair.partition(":") for pair in pairs if pair)}
    if not ports:
        return
    from aiokafka.conn import AIOKafkaConnection

    own = AIOKafkaConnection.port.fget
    AIOKafkaConnection.port = property(lambda self: ports.get(own(self), own(self)))
