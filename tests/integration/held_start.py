"""``python -m tests.integration.held_start worker``: waits before it connects its clients.

HELD_AT names what it waits after: ``inherited_offsets``, which is before its own clients connect, or
``TotalsReader.start``, which is before Faust's do. It goes on when the file that HELD_UNTIL names is there.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from tables.totals_reader import TotalsReader
from tocsin import app
from tocsin.cli import main

HELD = "Held at its start."


def hold(owner: Any, name: str) -> None:
    """Wait after ``owner.name``, a coroutine function."""
    do = getattr(owner, name)

    async def held(*args: Any) -> Any:
        done = await do(*args)
        print(HELD, flush=True)
        while not Path(os.environ["HELD_UNTIL"]).exists():
            await asyncio.sleep(0.05)
        return done

    setattr(owner, name, held)


if __name__ == "__main__":
    if os.environ["HELD_AT"] == "inherited_offsets":
        hold(app, "inherited_offsets")
    else:
        hold(TotalsReader, "start")
    main()
