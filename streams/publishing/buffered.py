"""What drivers that do not deliver at once share: a bounded buffer, and a thread that empties it.

The thread is a daemon, started by the first message. After a fork the child starts a thread of its own with
its first message; what was buffered at the time of the fork is delivered by the parent.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 -- for the order at exit, see _end_at_exit
import os
import threading
import time
import weakref
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection
from typing import Any

from streams.forks import renew_after_fork
from streams.log_lines import LimitedLog
from streams.notifications.priority import Priority
from streams.outgoing import Outgoing, size_of
from streams.publishing.backlog import Backlog, priority_of
from streams.publishing.driver import Driver, Stats
from streams.publishing.surroundings import check_threads, threads_are_green
from streams.quantities import quantity

#: Bytes that may be on their way at a time; the rest waits in the buffer.
_AHEAD_BYTES = 4 * 2**20
#: Messages that are taken at a time.
_CHUNK = 256
#: Seconds between two runs of a thread's work that failed.
_AGAIN_S = 0.5


#: Drivers that have started a thread, in this order: one that hands on to another starts before that one.
_to_close: list[weakref.ref[BufferedDriver]] = []
_registered: list[bool] = []


def _close_all() -> None:
    """Close what is open when the interpreter ends."""
    for myself in _to_close:
        if (driver := myself()) is not None and driver._pid == os.getpid():
            driver.close(driver._exit_wait_s)


class BufferedDriver(Driver):
    """Takes messages into a buffer that is bounded in bytes, and delivers them from a thread.

    When the buffer is full, a message waits for room for up to ``max_wait_s``, if deliveries go on. If there
    still is none, less urgent messages that wait give way to it, the least urgent first; they count as
    dropped, and so does the message itself where there are none.

    Args:
        name: of the driver, in logs and names of threads.
        taker: who does not take the messages when the buffer is full, for the log.
        buffer_bytes: bound of the messages not yet confirmed.
        max_wait_s: the longest that ``push`` and ``apush`` hold up the caller. ``push`` called in
            a thread that runs an event loop never waits.
        max_message_bytes: larger messages fail at once.
        exit_wait_s: how long the interpreter's exit waits for what is still buffered.
    """

    def __init__(
        self,
        name: str,
        taker: str,
        *,
        buffer_bytes: int,
        max_wait_s: float,
        max_message_bytes: int,
        exit_wait_s: float,
    ) -> None:
        check_threads(name)
        self._name = name
        self._taker = taker
        self._buffer_bytes = buffer_bytes
        self._max_wait_s = max_wait_s
        self._max_message_bytes = max_message_bytes
        self._exit_wait_s = exit_wait_s
        # What is on its way cannot give way to what is more urgent.
        self._ahead_bytes = min(_AHEAD_BYTES, buffer_bytes // 8)
        self._log = LimitedLog(f"tocsin.publishing.{name}")
        self._pid = os.getpid()
        self._fresh()
        renew_after_fork(self)

    def _fresh(self) -> None:
        """Set the state of a driver that has no thread yet."""
        self._green = threads_are_green()
        self._cond = threading.Condition()
        self._backlog = Backlog()
        self._buffered = 0  # bytes not yet confirmed
        self._pushed = self._delivered = self._failed = self._dropped = 0
        self._dropped_of: Counter[Priority] = Counter()
        self._thread: threading.Thread | None = None
        # Who may empty the buffer: a green thread of the parent lives on in a forked process.
        self._turn = object()
        # While one of these holds, nobody waits for room:
        self._away = False  # the last try to connect failed
        self._stalled = False  # somebody waited in vain, and nothing was delivered since
        self._closing: float | None = None  # monotonic time at which the thread gives up

    def after_fork(self) -> None:
        """Start anew in a child process: the parent delivers what it has taken."""
        _to_close.clear()
        _registered.clear()
        self._pid = os.getpid()
        self._fresh()

    def _mind_fork(self) -> None:
        # Some servers, such as uWSGI, fork without telling Python. Before any lock is taken.
        if os.getpid() != self._pid:
            self.after_fork()
        elif self._thread is None and self._green is not threads_are_green():
            # Threads became green after the driver was made, as in a worker of gunicorn that was preloaded.
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
        troubles: list[tuple[str, str]] = []
        taken = False
        with self._cond:
            if self._closing is None and self._buffered + size > self._buffer_bytes:
                if not last and not self._away and not self._stalled:
                    return None
                self._wait_for_room(size, wait_s)
            self._pushed += 1
            if self._closing is not None:
                self._drop(message)
                troubles.append(("A message to %s was dropped: the driver is closed", message.topic))
            elif size > self._max_message_bytes + 4096:
                self._failed += 1
                troubles.append(
                    ("A message to %s is larger than max_message_bytes and was not sent", message.topic)
                )
            else:
                for given, freed in self._given_up(message, size):
                    self._buffered -= freed
                    self._drop(given)
                    troubles.append(
                        (f"A message to %s gave way to a more urgent one: {self._full}", given.topic)
                    )
                if self._buffered + size > self._buffer_bytes:
                    self._drop(message)
                    troubles.append((f"A message to %s was dropped: {self._full}", message.topic))
                else:
                    taken = True
                    self._buffered += size
                    self._backlog.add(message, size)
                    if self._thread is None:
                        self._start_thread()
                    else:
                        self._signal()
        for text, topic in troubles:
            self._log.warning(text, topic)
        return taken

    def _given_up(self, message: Outgoing, size: int) -> list[tuple[Outgoing, int]]:
        wanted = self._buffered + size - self._buffer_bytes
        return self._backlog.make_room(message.topic, wanted) if wanted > 0 else []

    def _drop(self, message: Outgoing) -> None:
        self._dropped += 1
        self._dropped_of[priority_of(message.topic)] += 1

    @property
    def _full(self) -> str:
        return f"the buffer is full and {self._taker} does not take it"

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

    def _start_thread(self) -> None:
        self._thread = threading.Thread(
            target=self._main, args=[self._turn], name=f"tocsin-{self._name}", daemon=True
        )
        self._thread.start()
        self._end_at_exit()

    def _end_at_exit(self) -> None:
        # Not for each driver anew: a service may make and drop many.
        _to_close[:] = [each for each in _to_close if each() is not None]
        if not _registered:
            _registered.append(True)
            # By the time of atexit asyncio can no longer look up host names: the executor it does so
            # in has ended. threading's own list comes before, and runs from its end to its start, so
            # concurrent.futures.thread, which puts that end there when it is imported, was imported above.
            getattr(threading, "_register_atexit", atexit.register)(_close_all)
            if threads_are_green():
                # Eventlet's threading takes its main thread for ended, and skips its list.
                atexit.register(_close_all)
        _to_close.append(weakref.ref(self))

    @property
    def stats(self) -> Stats:
        """The counts so far, of this process."""
        self._mind_fork()
        with self._cond:
            return Stats(self._pushed, self._delivered, self._failed, self._dropped)

    @property
    def dropped_by_priority(self) -> dict[Priority, int]:
        """The messages that were dropped, by the priority that their topic names; INFO for others."""
        with self._cond:
            return dict(self._dropped_of)

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

    @abstractmethod
    def _run(self) -> None:
        """Deliver what ``_take`` hands out until the driver is closed; called again when it raises."""

    def _signal(self) -> None:
        """Wake the thread; called with the lock held."""
        self._cond.notify_all()

    def _main(self, turn: object) -> None:
        while self._turn is turn:
            try:
                self._run()
            except Exception as error:  # noqa: BLE001 -- the thread must go on, whatever it was
                self._log.warning(f"Publishing to {self._taker} failed and starts again: %r", error)
            with self._cond:
                if self._closing is not None:
                    break
            time.sleep(_AGAIN_S)
        if self._turn is not turn:
            return
        with self._cond:
            self._backlog.clear()
            self._failed = self._pushed - self._delivered - self._dropped
            self._buffered = 0
            self._cond.notify_all()

    def _take(self, most: int, without: Collection[Priority] = frozenset()) -> list[Outgoing]:
        """Up to ``most`` messages to deliver now, of which ``_settled`` is to be told.

        Args:
            most: messages.
            without: priorities to leave in the backlog.
        """
        with self._cond:
            return self._backlog.take(most, self._ahead_bytes, without)

    def _gave_up(self) -> bool:
        """Whether the driver is closed, and either nothing is left or no time."""
        return self._closing is not None and (not self._buffered or time.monotonic() >= self._closing)

    def _set_away(self, away: bool) -> None:
        """Say whether the other side was reached when it was last tried."""
        with self._cond:
            self._away = away
            self._cond.notify_all()

    def _settled(self, messages: list[Outgoing], error: Exception | None) -> None:
        """Count what became of messages that share one fate; None means delivered."""
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
                "%s to %s could not be delivered: %s",
                quantity(len(messages), "message"),
                messages[0].topic,
                reason,
            )


class ThreadDriver(BufferedDriver):
    """A buffered driver whose thread delivers by calls that may wait: implement ``_deliver``."""

    @abstractmethod
    def _deliver(self, messages: list[Outgoing]) -> None:
        """Deliver messages, and tell ``_settled`` what became of each; give up when ``_gave_up()``."""

    def _run(self) -> None:
        turn = self._turn
        while True:
            with self._cond:
                while not len(self._backlog) and self._closing is None:
                    self._cond.wait()
                if self._gave_up() or self._turn is not turn:
                    return
            if messages := self._take(_CHUNK):
                self._deliver(messages)

    def _pause(self, seconds: float) -> None:
        """Wait before another try; not longer than until the driver gives up."""
        with self._cond:
            if self._closing is not None:
                seconds = min(seconds, self._closing - time.monotonic())
            self._cond.wait_for(self._gave_up, max(0.0, seconds))


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
