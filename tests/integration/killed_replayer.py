"""``tocsin`` that is killed in a replay: some is sent and noted, some sent and not noted, some not sent."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

from streams.dead_letters import replay
from tocsin.__main__ import main

#: With the first note of the second part, all of which is confirmed by then.
KILLED_AT = replay._CHUNK_RECORDS + 1

_note = replay.Replay._note
_calls = itertools.count(1)


async def note(self: replay.Replay, sent: Any) -> None:
    """Note it, but for the one at which this process is killed."""
    if next(_calls) == KILLED_AT:
        os.kill(os.getpid(), signal.SIGKILL)
    await _note(self, sent)


if __name__ == "__main__":
    replay.Replay._note = note  # type: ignore[method-assign]
    main()
