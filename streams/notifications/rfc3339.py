"""Times as RFC 3339 text in UTC, such as ``2011-05-09T22:00:14.621Z``, and back. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def format_rfc3339(seconds: float, timespec: str = "milliseconds") -> str | None:
    """Seconds since 1970 as text, to the nearest millisecond; None for what has no date.

    Args:
        seconds: the time.
        timespec: ``milliseconds`` or coarser, as of ``datetime.isoformat``.
    """
    try:
        # Rounded, since isoformat cuts off, and no float holds each millisecond.
        moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    except (OverflowError, ValueError):
        return None
    return moment.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> float:
    """Seconds since 1970 of a time with an offset.

    Raises:
        ValueError: it is no time, or has no offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset from UTC")
    return moment.timestamp()
