"""The driver that pushes messages to Kafka, from synchronous and asynchronous code alike.

One daemon thread runs an event loop with one producer. It is started by the first message. After
a fork the child starts a thread of its own with its first message; what was buffered at the time
of the fork is delivered by the parent.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 -- for the order at exit, see _start_thread
import os
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from streams.broker.client_options import client_options
from streams.broker.producers.batches import BatchSender, size_of
from streams.log_lines import LimitedLog
from streams.outgoing import Outgoing
from streams.publishing.driver import Driver, Stats
from streams.retries import Backoff, Retries
from streams.settings import ConfigurationError, Settings, load_settings

#: Bytes given to the producer ahead of time; the rest waits in the driver's own queue.
_AHEAD_BYTES = 4 * 2**20
_CHUNK = 256
#: Between two tries to connect.
_AGAIN = Backoff(0.1, factor=2, most_s=5.0)


class KafkaDriver(Driver):
    """Delivers to Kafka with acks=all, idempotent; retries until the brokers answer or it is closed.

    The buffer is bounded in bytes. When it is full, a message waits for room for up to
    ``max_wait_s``, if deliveries go on; while the brokers are away, new messages are dropped at once
    and counted, and those in the buffer are kept.

    Args:
        settings: where the brokers are and how to talk to them; read from the environment when None.
        buffer_bytes: bound of the messages not yet confirmed.
        max_wait_s: the longest that ``push`` and ``apush`` hold up the caller. ``push`` called in
            a thread that runs an event loop never waits.
        linger_ms: how long a batch waits for more messages.
        compression: None, gzip, snappy, lz4 or zstd.
        max_message_bytes: larger messages fail at once.
        exit_wait_s: how long the interpreter's exit waits for what is still buffered.

    Raises:
        ConfigurationError: the settings or options cannot be used.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        buffer_bytes: int = 32 * 2**20,
        max_wait_s: float = 0.25,
        linger_ms: float = 5.0,
        compression: str | None = None,
        max_message_bytes: int = 2**20,
        exit_wait_s: float = 2.0,
    ) -> None:
        if compression not in (None, "gzip", "snappy", "lz4", "zstd"):
            raise ConfigurationError(f"compression={compression!r}: use gzip, snappy, lz4, zstd or None.")
        self._options = client_options(settings if settings is not None else load_settings())
        self._buffer_bytes = buffer_bytes
        self._max_wait_s = max_wait_s
        self._linger_s = linger_ms / 1000
        self._compression = compression
        self._max_message_bytes = max_message_bytes
        self._exit_wait_s = exit_wait_s
        self._log = LimitedLog("tocsin.publishing.kafka")
        self._pid = os.getpid()
        self._fresh()

    def _fresh(self) -> None:
        """Set the state of a driver that has no thread yet."""
        self._cond = threading.Condition()
        self._queue: deque[Outgoing] = deque()
        self._buffered = 0  # bytes not yet confirmed
        self._pushed = self._delivered = self._failed = self._dropped = 0
        self._thread: threading.Thread | None = None
        self._lookups: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._signalled = False
        # While one of these holds, nobody waits for room:
        self._away = False  # the last try to connect failed
        self._stalled = False  # somebody waited in vain, and nothing was delivered since
        self._closing: float | None = None  # monotonic time at which the thread gives up

    def _mind_fork(self) -> None:
        # Before any lock is taken: the parent's thread may have held it when the process was forked.
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            self._fresh()

    # --- the caller's side -----------------------------------------------------------------

    def push(self, message: Outgoing) -> bool:
        """Take ``message``; False when it was dropped or is too large. Waits ``max_wait_s`` at most."""
        try:
            wait_s = 0.0 if _in_event_loop() else self._max_wait_s
            return self._offer(message, wait_s) is True
        except Exception as error:  # noqa: BLE001 -- the contract: nothing gets through to the service
            return self._refused(error)

    async def apush(self, message: Outgoing) -> bool:
        """Like ``push``; the event loop goes on while this waits for room."""
        try:
            deadline = time.monotonic() + self._max_wait_s
            while True:
                left = deadline - time.monotonic()
                taken = self._offer(message, 0.0, last=left <= 0)
                if taken is not None:
                    return taken
                await asyncio.sleep(min(0.005, left))
        except Exception as error:  # noqa: BLE001 -- as push
            return self._refused(error)

    def _refused(self, error: Exception) -> bool:
        with self._cond:
            self._pushed += 1
            self._failed += 1
        self._log.warning("A message could not be taken: %r", error)
        return False

    def _offer(self, message: Outgoing, wait_s: float, *, last: bool = True) -> bool | None:
        """Queue ``message``.

        Returns:
            True when queued, False when not, None when there is no room now, and it is not the ``last`` try.
        """
        self._mind_fork()
        _check_types(message)
        size = size_of(message)
        trouble = None
        with self._cond:
            if self._closing is None and self._buffered + size > self._buffer_bytes:
                if not last and not self._away and not self._stalled:
                    return None
                self._wait_for_room(size, wait_s)
            self._pushed += 1
            if self._closing is not None:
                self._dropped += 1
                trouble = "A message to %s was dropped: the driver is closed"
            elif size > self._max_message_bytes + 4096:
                self._failed += 1
                trouble = "A message to %s is larger than max_message_bytes and was not sent"
            elif self._buffered + size > self._buffer_bytes:
                self._dropped += 1
                trouble = "A message to %s was dropped: the buffer is full and Kafka does not take it"
            else:
                self._buffered += size
                self._queue.append(message)
                if self._thread is None:
                    self._start_thread()
                elif not self._signalled:
                    self._signal()
        if trouble is not None:
            self._log.warning(trouble, message.topic)
        return trouble is None

    def _wait_for_room(self, size: int, wait_s: float) -> None:
        """Wait, the lock held, until ``size`` bytes fit, as long as it looks as if they soon will."""
        deadline = time.monotonic() + wait_s
        while self._buffered + size > self._buffer_bytes and self._closing is None:
            left = deadline - time.monotonic()
            if left <= 0 or self._away or self._stalled:
                # A service that pushes on must not wait anew for every message.
                self._stalled = True
                return
            self._cond.wait(left)

    def _signal(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._signalled = True
            self._loop.call_soon_threadsafe(self._wake.set)

    def _start_thread(self) -> None:
        # Looks up host names. It is started here because from Python 3.12 on no thread can be started
        # once the interpreter is about to end, which may be before the first connection is made.
        self._lookups = _started_executor()
        self._thread = threading.Thread(target=self._main, name="tocsin-publisher", daemon=True)
        self._thread.start()
        myself = weakref.ref(self)

        def at_exit() -> None:
            if (driver := myself()) is not None and driver._pid == os.getpid():
                driver.close(driver._exit_wait_s)

        # By the time of atexit asyncio can no longer look up host names: the executor it does so
        # in has ended. threading's own list comes before, and runs from its end to its start, so
        # concurrent.futures.thread, which puts that end there when it is imported, was imported above.
        getattr(threading, "_register_atexit", atexit.register)(at_exit)

    @property
    def stats(self) -> Stats:
        """The counts so far, of this process."""
        self._mind_fork()
        with self._cond:
            return Stats(self._pushed, self._delivered, self._failed, self._dropped)

    @property
    def buffered_bytes(self) -> int:
        """Bytes of messages whose delivery is not yet confirmed."""
        return self._buffered

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the delivery of all that is buffered; True when it is."""
        self._mind_fork()
        deadline = time.monotonic() + timeout
        with self._cond:
            while self._buffered:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._cond.wait(left)
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what is buffered, for up to ``timeout`` seconds, then stop; the rest counts as failed."""
        self._mind_fork()
        with self._cond:
            if self._closing is None:
                self._closing = time.monotonic() + timeout
            self._signal()
            self._cond.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout + 2.0)

    # --- the thread's side -----------------------------------------------------------------

    def _main(self) -> None:
        while True:
            try:
                self._run_loop()
            except Exception as error:  # noqa: BLE001 -- the thread must go on, whatever it was
                self._log.warning("Publishing to Kafka failed and starts again: %r", error)
            with self._cond:
                self._loop = None
                if self._closing is not None:
                    break
            time.sleep(0.5)
        with self._cond:
            self._failed += len(self._queue)
            self._queue.clear()
            self._buffered = 0
            self._cond.notify_all()

    def _run_loop(self) -> None:
        # Not asyncio.run: to wait for the executor it starts a thread, which may no longer be possible.
        executor, self._lookups = self._lookups or _started_executor(), None
        loop = asyncio.new_event_loop()
        loop.set_default_executor(executor)
        try:
            loop.run_until_complete(self._run())
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.close()

    async def _run(self) -> None:
        sender = BatchSender(
            self._options,
            self._settled,
            linger_s=self._linger_s,
            compression=self._compression,
            client_id=f"tocsin-publisher-{os.getpid()}",
        )
        with self._cond:
            self._loop = asyncio.get_running_loop()
            self._wake = asyncio.Event()
            self._wake.set()
        try:
            if await self._connect(sender):
                await self._forward(sender)
        finally:
            left = 0.0 if self._closing is None else self._closing - time.monotonic()
            await sender.close(max(0.0, left))

    async def _connect(self, sender: BatchSender) -> bool:
        """Try until the brokers answer; False when the driver was closed before."""
        # A new message is no reason to try sooner; only closing, from another thread, cuts a pause short.
        retries = Retries(_AGAIN, wanted=lambda: not self._gave_up())
        while not self._gave_up():
            try:
                await sender.start()
            except Exception as error:  # noqa: BLE001 -- whatever keeps it from connecting
                self._log.warning("Kafka at %s does not answer: %s", self._where(), error)
                with self._cond:
                    self._away = True
                    self._cond.notify_all()
            else:
                self._away = False
                return True
            await retries.pause()
        return False

    async def _forward(self, sender: BatchSender) -> None:
        """Move messages from the queue to the sender until the driver is closed."""
        queue = self._queue
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Before the queue is read: what is appended later signals anew.
            self._signalled = False
            while queue:
                for _ in range(min(_CHUNK, len(queue))):
                    sender.add(queue.popleft())
                try:
                    async with asyncio.timeout(0.5):
                        await sender.room(_AHEAD_BYTES)
                except TimeoutError:
                    if self._gave_up():
                        return
                await asyncio.sleep(0)
            if self._closing is not None:
                return

    def _gave_up(self) -> bool:
        return self._closing is not None and (not self._buffered or time.monotonic() >= self._closing)

    def _where(self) -> str:
        return ",".join(self._options["bootstrap_servers"])

    def _settled(self, messages: list[Outgoing], error: Exception | None) -> None:
        size = sum(map(size_of, messages))
        with self._cond:
            self._buffered -= size
            if error is None:
                self._delivered += len(messages)
                self._stalled = False
            else:
                self._failed += len(messages)
            self._cond.notify_all()
        if error is not None:
            reason = str(error) or type(error).__name__
            self._log.warning(
                "%d messages to %s could not be delivered: %s", len(messages), messages[0].topic, reason
            )


def _check_types(message: Any) -> None:
    """Raise TypeError here, not later in the thread, where it would hit other messages too."""
    key_is_right = message.key is None or isinstance(message.key, bytes)
    if not (isinstance(message.topic, str) and isinstance(message.value, bytes) and key_is_right):
        raise TypeError("the topic must be text, the value bytes, and the key bytes or None")
    if message.partition is not None and not isinstance(message.partition, int):
        raise TypeError("the partition must be a number or None")
    for name, value in message.headers:
        if not (isinstance(name, str) and isinstance(value, bytes)):
            raise TypeError("headers must be pairs of text and bytes")


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _started_executor() -> ThreadPoolExecutor:
    """An executor whose only thread runs already."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="tocsin-publisher-lookup")
    executor.submit(int).result()
    return executor
