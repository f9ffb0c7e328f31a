"""What holds a lock is made anew in a process that was forked: another thread may have held it just then."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

_kept: weakref.WeakSet[Renewed] | None = None


class Renewed(Protocol):
    """Something with locks or threads of its own."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs in it: make locks anew, and forget threads."""


def renew_after_fork(thing: Renewed) -> None:
    """Have ``thing.after_fork()`` called in every child process, for as long as ``thing`` exists."""
    global _kept  # noqa: PLW0603 -- a module that is imported shall not register anything
    if _kept is None:
        _kept = weakref.WeakSet()
        os.register_at_fork(after_in_child=_renew)
    _kept.add(thing)


def _renew() -> None:
    for thing in list(_kept or ()):
        thing.after_fork()
