"""A worker that does not look for other pools before it starts, and does so while it runs, like any other."""

from __future__ import annotations

from typing import Any

from streams.broker import self_check
from tocsin.cli import main


async def _unchecked(*_: Any) -> None:
    """Pass."""


if __name__ == "__main__":
    self_check.check_pools = _unchecked
    main()
