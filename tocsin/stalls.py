"""Stalls: times at which the event loop of a worker stood still, and why.

Everything that a worker does shares one event loop, so a stall is what the slowest alert has waited for. A
timer of 50 ms notes when it comes late; of 200 ms while the loop has next to nothing to do, where a stall of
less than 250 ms may be missed. A thread looks what the loop is doing when it does not come back; what the
kernel says of waiting for a processor, and Python of collecting garbage, tell apart what is no work of the
worker's.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from streams.upstream.running_code import frame_of
from tables.views.sources import STALL_CAUSES, Stall, StallCause

_TICK_S: Final = 0.05
#: While the loop has next to nothing to do: looking is a good part of what an idle worker does.
_IDLE_TICK_S: Final = 0.2
#: Share of a processor that such a loop uses at most, over a second; and in one tick, to look often again.
_IDLE_SHARE: Final = 0.1
_BUSY_SHARE: Final = 0.25
_IDLE_AFTER_S: Final = 1.0
#: What is late by less is no stall.
_LEAST_S: Final = 0.05
_KEPT: Final = 10
#: Seconds of which the longest lag is kept, and of those before.
_LAG_S: Final = 10.0
_OUR_PACKAGES: Final = ("tocsin.", "agents.", "tables.", "streams.")


class StallLog:
    """The last stalls, and sums of all since the start. Pure.

    Attributes:
        last: the latest ones, newest last.
        counts: how many there were, by cause.
        seconds: how long they took together, by cause.
    """

    def __init__(self) -> None:
        self._lag_until, self._lags_s = 0.0, (0.0, 0.0)
        self.last: deque[Stall] = deque(maxlen=_KEPT)
        self.counts: Counter[StallCause] = Counter(dict.fromkeys(STALL_CAUSES, 0))
        self.seconds: dict[StallCause, float] = dict.fromkeys(STALL_CAUSES, 0.0)

    @property
    def lag_s(self) -> float:
        """The longest that something had to wait for the loop in the last ten to twenty seconds."""
        return max(self._lags_s)

    def note_lag(self, late_s: float, now: float) -> None:
        """Note how late the loop was at ``now``, in seconds of a clock that only goes on."""
        before, latest = self._lags_s
        if now >= self._lag_until:
            self._lag_until, before, latest = now + _LAG_S, latest, 0.0
        latest = max(latest, late_s)
        self._lags_s = before, latest

    def note(self, at: float, seconds: float, processor_s: float, collection_s: float, where: str) -> None:
        """Note a stall.

        Args:
            at: its end, in seconds since 1970.
            seconds: how long it was.
            processor_s: of those, seconds of waiting for a processor.
            collection_s: and of collecting garbage.
            where: what the loop was doing; "" when that is not known.
        """
        cause: StallCause = "work"
        if 2 * processor_s >= seconds:
            cause = "processor"
        elif 2 * collection_s >= seconds:
            cause = "collection"
        self.last.append(Stall(at, seconds, cause, where if cause == "work" else ""))
        self.counts[cause] += 1
        self.seconds[cause] += seconds


class Pace:
    """How often to look, by what the loop's thread has to do. Pure.

    Attributes:
        tick_s: seconds until the next look.
    """

    def __init__(self, now: float, ran_s: float) -> None:
        self.tick_s = _TICK_S
        self._last = self._since = now, ran_s

    def note(self, now: float, ran_s: float, late_s: float) -> None:
        """Note a look.

        Args:
            now: seconds of a clock that only goes on.
            ran_s: seconds for which the thread has run since its start.
            late_s: how late the look is, in seconds: a loop that waits for a disk or a processor runs little.
        """
        (last, last_ran_s), self._last = self._last, (now, ran_s)
        if late_s >= _LEAST_S or (
            self.tick_s == _IDLE_TICK_S and ran_s - last_ran_s > _BUSY_SHARE * (now - last)
        ):
            self.tick_s, self._since = _TICK_S, self._last
            return
        if self.tick_s == _IDLE_TICK_S:
            return
        since, since_ran_s = self._since
        if now - since >= _IDLE_AFTER_S:
            if ran_s - since_ran_s <= _IDLE_SHARE * (now - since):
                self.tick_s = _IDLE_TICK_S
            self._since = self._last


class StallWatch:
    """Watches the event loop that it is started in."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.log = StallLog()
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._waits = _ProcessorWaits(None)
        #: Seconds of waiting for a processor, and of collecting garbage, at the last tick.
        self._before = 0.0, 0.0
        self._pace = Pace(0.0, 0.0)
        self._ended = threading.Event()
        self._loop_thread = 0
        #: When the loop comes by again, on the monotonic clock; and what it was doing when it did not.
        self._due = 0.0
        self._seen = ""
        self._collected_s = 0.0
        self._collection_began = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._loop_thread = threading.get_ident()
        now = time.monotonic()
        self._pace = Pace(now, time.thread_time())
        self._due = now + _TICK_S
        gc.callbacks.append(self._on_collection)
        threading.Thread(target=self._look, name="stalls", daemon=True).start()
        self._waits = _ProcessorWaits(threading.get_native_id())
        self._before = self._waits.seconds(), self._collected_s
        self._await_tick(asyncio.get_running_loop())

    def stop(self) -> None:
        """Watch no more."""
        timer, self._timer = self._timer, None
        if timer is None:
            return
        timer.cancel()
        self._ended.set()
        gc.callbacks.remove(self._on_collection)
        self._waits.close()

    def _await_tick(self, loop: asyncio.AbstractEventLoop) -> None:
        # A timer and no task, which would cost twice as much.
        self._timer = loop.call_later(self._pace.tick_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        late_s = now - self._due
        self._pace.note(now, time.thread_time(), late_s)
        self._due = now + self._pace.tick_s
        (waited_s, collected_s), self._before = self._before, (self._waits.seconds(), self._collected_s)
        seen, self._seen = self._seen, ""
        self.log.note_lag(late_s, now)
        if late_s >= _LEAST_S:
            self.log.note(
                self._clock(), late_s, self._before[0] - waited_s, self._before[1] - collected_s, seen
            )
        self._await_tick(loop)

    def _on_collection(self, phase: str, _: Any) -> None:
        if threading.get_ident() != self._loop_thread:
            return
        if phase == "start":
            self._collection_began = time.monotonic()
        else:
            self._collected_s += time.monotonic() - self._collection_began

    def _look(self) -> None:
        """The thread: look what the loop is doing once it is late."""
        wait_s = _TICK_S
        while not self._ended.wait(wait_s):
            left_s = self._due + _LEAST_S - time.monotonic()
            if left_s < 0 and not self._seen:
                self._seen = _place_in(self._loop_thread)
            # No more often than is of use: it wakes a worker that has nothing to do.
            wait_s = left_s if left_s > 0 else _TICK_S


class _ProcessorWaits:
    """Seconds for which a thread could have run and no processor was free, as Linux counts them."""

    def __init__(self, native_id: int | None) -> None:
        # Kept open, for it is read up to twenty times a second.
        self._file = -1
        if native_id is not None:
            with suppress(OSError):
                self._file = os.open(f"/proc/self/task/{native_id}/schedstat", os.O_RDONLY)

    def close(self) -> None:
        """Read no more."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def seconds(self) -> float:
        """Since the start of the thread; 0 where that is not counted."""
        if self._file < 0:
            return 0.0
        try:
            return int(os.pread(self._file, 64, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0


def _place_in(thread: int) -> str:
    # A function of its own, so that no frame is kept, which would keep an open store as well.
    frame = frame_of(thread)
    return "" if frame is None else place_of(frame)


def place_of(frame: FrameType) -> str:
    """What runs in ``frame``: the innermost function of ours, or else the innermost one."""
    each: FrameType | None = frame
    while each is not None:
        module = each.f_globals.get("__name__", "")
        if module.startswith(_OUR_PACKAGES) and module != __name__:
            return f"{module}.{each.f_code.co_qualname}"
        each = each.f_back
    return f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}"
