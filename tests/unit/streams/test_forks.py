"""A lock that another thread held at a fork does not stop the child for ever."""

from __future__ import annotations

import os
import threading
import warnings

import pytest

from streams.log_lines import LimitedLog
from streams.outgoing import Outgoing
from streams.publishing.driver import DirectDriver
from streams.publishing.drivers.noop import NoopDriver

_CHILD_S = 20


class Unaware(NoopDriver):
    """The negative control: keeps the parent's lock."""

    def after_fork(self) -> None:
        if not hasattr(self, "_lock"):
            super().after_fork()


def child_ends(work: object) -> bool:
    """Whether ``work()`` comes to its end in a forked process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        ended = threading.Event()

        def run() -> None:
            work()  # type: ignore[operator]
            ended.set()

        threading.Thread(target=run, daemon=True).start()
        os._exit(
            0
            if ended.wait(_CHILD_S if not isinstance(getattr(work, "__self__", None), Unaware) else 1)
            else 1
        )
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(("driver", "ends"), [(NoopDriver(), True), (Unaware(), False)])
def test_driver_whose_lock_was_held_at_the_fork(driver: DirectDriver, ends: bool):
    class Push:
        __self__ = driver

        def __call__(self) -> None:
            driver.push(Outgoing("t", b""))

    with driver._lock:
        assert child_ends(Push()) is ends


def test_log_whose_lock_was_held_at_the_fork():
    log = LimitedLog("tests.forks")
    with log._lock:
        assert child_ends(lambda: log.warning("said in the child"))
