"""When event types that were not seen for long give their places back. Pure.

It is decided by records alone: at the first record whose broker's time lies in a new period, and only where
few places are left. So whoever reads the records again forgets the same event types at the same record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tables.reserved_types import RESERVED
from tables.type_cap import bytes_of

#: Milliseconds of the broker's time after which it is looked again what may be forgotten.
PERIOD_MS: Final = 3_600_000
#: Later than any time.
NEVER_MS: Final = 2**63
#: Most bytes of event types that are forgotten at once, so that one message can say which.
MOST_BYTES: Final = 2**20


def period_of(time_ms: int) -> int:
    """The period that a broker's time lies in."""
    return time_ms // PERIOD_MS


def forgettable(seen_ms: Mapping[str, int], before_ms: int) -> list[str]:
    """The event types that were seen last before ``before_ms``, those first that were so longest ago.

    Args:
        seen_ms: event type -> when it was seen last, in milliseconds.
        before_ms: in milliseconds since 1970.
    """
    old = sorted((at, name) for name, at in seen_ms.items() if at < before_ms and name not in RESERVED)
    names: list[str] = []
    used = 0
    for _, name in old:
        used += bytes_of((name,))
        if used > MOST_BYTES and names:
            break
        names.append(name)
    return names
