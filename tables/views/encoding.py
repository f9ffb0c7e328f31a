"""Counts as the API shows them, put into JSON in short steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, cast

import msgspec

from tables.totals import Count, Late
from tables.views.bodies import CountItem, LateItem
from tables.views.reader_lane import Pieces
from tables.views.times import age, rfc3339

#: Counts that are put into JSON in one step.
_STEP: Final = 50
_encode: Final = msgspec.json.Encoder().encode


def count_item(item: Count) -> CountItem:
    """A count as the API shows it."""
    return CountItem(item.event_type, item.priority, item.count, rfc3339(item.last_seen_ms / 1000))


def late_items(late: Iterable[Late], priority: str | None) -> list[LateItem]:
    """Which notifications come too late for a window, of one priority or of all."""
    return [
        LateItem(each.priority, round(each.behind_s), late_hint(each))
        for each in late
        if priority in (None, each.priority)
    ]


async def encoded_items(items: Sequence[Count], pieces: Pieces) -> list[CountItem]:
    """Counts as the API shows them, already as JSON, for the body that they are part of."""
    parts = []
    for start in range(0, len(items), _STEP):
        parts.append(_encode([count_item(each) for each in items[start : start + _STEP]])[1:-1])
        await pieces.rest()
    # msgspec puts what is raw where the list would be.
    return cast("list[CountItem]", msgspec.Raw(b"[" + b",".join(parts) + b"]"))


def late_hint(late: Late) -> str:
    """Why a window may show less than what comes in, in one sentence."""
    return (
        f"{late.priority} notifications that come in now are dated {age(late.behind_s)} back, and are in "
        "longer windows only: the clock of a publisher is slow, or a backlog is being read."
    )
