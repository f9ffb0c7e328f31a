"""A worker that takes the partitions of its topics for the number of slices, as workers once did."""

from __future__ import annotations

from typing import Any

from streams.broker import self_check
from streams.settings import Settings
from tocsin.cli import main


async def _as_many_as_likely(_admin: Any, _settings: Settings, number: int) -> int:
    """Keep nothing."""
    return number


if __name__ == "__main__":
    self_check.keep_slices = _as_many_as_likely
    main()
