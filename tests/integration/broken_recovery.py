"""``python -m tests.integration.broken_recovery worker``: its recovery reads the end of changelogs only."""

from __future__ import annotations

from typing import Any

from streams.upstream.faust_recovery import ObservedRecovery
from tocsin.cli import main


def break_recovery() -> None:
    """Begin at the end, as a recovery does that trusts an offset kept without its rows."""
    build = ObservedRecovery._build_offsets

    async def skipping(self: ObservedRecovery, consumer: Any, tps: Any, destination: Any, title: str) -> None:
        await build(self, consumer, tps, destination, title)
        if title == "active":
            for tp in tps:
                destination[tp] = max(destination[tp], self.active_highwaters[tp] - 1)

    ObservedRecovery._build_offsets = skipping  # type: ignore[method-assign]


if __name__ == "__main__":
    break_recovery()
    main()
