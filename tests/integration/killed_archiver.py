"""``tocsin archive`` that is killed at a point of its own choice: ``python -m … POINT DIR [OPTIONS]``.

The points: ``before-write`` and ``before-commit``, each at the third time; and ``hasty``, a broken variant
that commits before it writes, killed between the two.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from streams.archive.files import ArchiveWriter
from streams.archive.membership import Membership
from streams.archive.writing import DurableThenCommit
from tocsin.cli import cli

KILLED_AT = 3


def killing(wrapped: Any) -> Any:
    """The same function, which kills this process when it is called the third time."""
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return wrapped(*arguments, **named)

    return counted


def commit_first() -> None:
    """Let archivers commit what is pending before they write it."""
    write = DurableThenCommit.write

    async def hasty(self: Any, wanted: Callable[[], bool] = lambda: True) -> bool:
        if self.pending.positions:
            await self._commit(dict(self.pending.positions))
        return await write(self, wanted)

    DurableThenCommit.write = hasty  # type: ignore[method-assign]


def main() -> None:
    """Run the command."""
    point = sys.argv.pop(1)
    if point == "hasty":
        commit_first()
    if point == "before-commit":
        Membership.commit = killing(Membership.commit)  # type: ignore[method-assign]
    else:
        ArchiveWriter.append = killing(ArchiveWriter.append)  # type: ignore[method-assign]
    cli(["archive", *sys.argv[1:]])


if __name__ == "__main__":
    main()
