"""A buffered driver whose thread runs an event loop."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor

from streams.publishing.buffered import BufferedDriver
from streams.publishing.surroundings import run_in_new_loop


class LoopDriver(BufferedDriver):
    """A buffered driver whose thread runs an event loop: implement ``_deliver``."""

    def _fresh(self) -> None:
        super()._fresh()
        self._lookups: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._signalled = False

    @abstractmethod
    async def _deliver(self) -> None:
        """Deliver what ``_take`` hands out until ``_gave_up()``; wait for ``_news()`` in between."""

    async def _news(self) -> None:
        """Wait until there is something to take, or the driver is closed."""
        await self._wake.wait()
        self._wake.clear()
        # Before the backlog is read: what is added later signals anew.
        self._signalled = False

    def _signal(self) -> None:
        if not self._signalled and self._loop is not None and not self._loop.is_closed():
            self._signalled = True
            self._loop.call_soon_threadsafe(self._wake.set)

    def _start_thread(self) -> None:
        # Looks up host names. It is started here because from Python 3.12 on no thread can be started
        # once the interpreter is about to end, which may be before the first connection is made.
        self._lookups = _started_executor(self._name)
        super()._start_thread()

    def _run(self) -> None:
        executor, self._lookups = self._lookups or _started_executor(self._name), None
        try:
            run_in_new_loop(self._deliver_here, executor)
        finally:
            with self._cond:
                self._loop = None

    async def _deliver_here(self) -> None:
        with self._cond:
            self._loop = asyncio.get_running_loop()
            self._wake = asyncio.Event()
            self._wake.set()
            self._signalled = False
        await self._deliver()


def _started_executor(name: str) -> ThreadPoolExecutor:
    """An executor whose only thread runs already."""
    executor = ThreadPoolExecutor(1, thread_name_prefix=f"tocsin-{name}-lookup")
    executor.submit(int).result()
    return executor
