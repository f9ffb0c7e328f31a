"""Times as RFC 3339 text in UTC, such as ``2011-05-09T22:00:14.621Z``, and back. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

#: More than a float may fall short of a millisecond that it stands for, in all years that have four digits:
#: isoformat cuts off what it does not show.
_FLOAT_ERROR_S: Final = 5e-5


def format_rfc3339(seconds: float, timespec: str = "milliseconds") -> str | None:
    """Seconds since 1970 as text; None for what has no date.

    Args:
        seconds: the time.
        timespec: ``milliseconds`` or coarser, as of ``datetime.isoformat``.
    """
    try:
        moment = datetime.fromtimestamp(seconds + _FLOAT_ERROR_S, UTC)
    except (OverflowError, ValueError, OSError):
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
