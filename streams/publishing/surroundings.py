"""What a driver with a thread meets in a service: green threads, and servers that run no threads."""

from __future__ import annotations

import asyncio
import os
import selectors
import sys
import time
from asyncio import events
from typing import Any, NamedTuple

from streams.settings import ConfigurationError

_LONG_S = 3600.0


def check_threads(driver: str) -> None:
    """Refuse to make a driver whose thread would not run.

    Args:
        driver: its name, for the message.

    Raises:
        ConfigurationError: the process cannot run threads.
    """
    uwsgi = sys.modules.get("uwsgi")
    options = getattr(uwsgi, "opt", None)
    if isinstance(options, dict) and not _enabled(options, "threads", "enable-threads"):
        raise ConfigurationError(
            f"The publishing driver {driver} needs a thread, which uWSGI does not run: "
            "set enable-threads = true for uWSGI."
        )
    if _gevent_patched("socket") and not _gevent_patched("thread"):
        raise ConfigurationError(
            f"The publishing driver {driver} cannot work where gevent has patched sockets and not threads: "
            "use gevent.monkey.patch_all(), or none of it."
        )


def threads_are_green() -> bool:
    """Whether ``threading`` makes green threads, of which all run in the thread that made them."""
    return _gevent_patched("thread") or _eventlet_patched("thread")


def _gevent_patched(module: str) -> bool:
    monkey = sys.modules.get("gevent.monkey")
    name = {"thread": "threading"}.get(module, module)
    return monkey is not None and bool(monkey.is_module_patched(name))


def _eventlet_patched(module: str) -> bool:
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched(module))


def _enabled(options: dict[Any, Any], *names: str) -> bool:
    for name in names:
        value = options.get(name, options.get(name.encode(), False))
        if value not in (False, None, b"0", b"false", "0", "false", 0):
            return True
    return False


class _Running(NamedTuple):
    """What a thread keeps of the event loop that runs in it."""

    loop: asyncio.AbstractEventLoop | None
    #: Else an async generator of one loop would be closed when another one ends.
    hooks: Any

    @classmethod
    def now(cls) -> _Running:
        return cls(events._get_running_loop(), sys.get_asyncgen_hooks())

    def put_in_place(self) -> None:
        events._set_running_loop(self.loop)
        sys.set_asyncgen_hooks(*self.hooks)


def _polite_selector(outer: _Running) -> Any:
    """A selector that lets its event loop not count as the one that runs in this thread while it waits.

    Other green threads, which run meanwhile in the same thread, may have a loop of their own.

    Args:
        outer: what runs besides.
    """
    pid = os.getpid()

    # Made late: which one is the default changes when threads become green.
    class Polite(selectors.DefaultSelector):
        def __init__(self) -> None:
            super().__init__()
            self.outer = outer

        def select(self, timeout: float | None = None) -> Any:
            mine = _Running.now()
            self.outer.put_in_place()
            try:
                found = super().select(timeout)
                while os.getpid() != pid:
                    # A green thread lives on in a forked process; its connections are the parent's.
                    time.sleep(_LONG_S)
                return found
            finally:
                self.outer = _Running.now()
                mine.put_in_place()

    return Polite()


def run_in_new_loop(start: Any, executor: Any) -> None:
    """Run a coroutine to its end in a new event loop, and end all tasks that are left.

    Not ``asyncio.run``: to wait for the executor it starts a thread, which may no longer be possible, and
    it refuses to run in a green thread beside another one's loop.

    Args:
        start: makes the coroutine.
        executor: looks up host names.
    """
    if not threads_are_green():
        _run(asyncio.new_event_loop(), start, executor)
        return
    outer = _Running.now()
    polite = _polite_selector(outer)
    _Running(None, outer.hooks).put_in_place()
    try:
        _run(asyncio.SelectorEventLoop(polite), start, executor)
    finally:
        polite.outer.put_in_place()


def _run(loop: asyncio.AbstractEventLoop, start: Any, executor: Any) -> None:
    loop.set_default_executor(executor)
    try:
        loop.run_until_complete(start())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
