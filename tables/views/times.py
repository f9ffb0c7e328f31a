"""Times as text, and back."""

from __future__ import annotations

import re

from streams.notifications.rfc3339 import format_rfc3339, parse_rfc3339

_DIGITS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


def rfc3339(seconds: float, timespec: str = "milliseconds") -> str | None:
    """``seconds`` since 1970 as RFC 3339 in UTC; None for 0 and what has no date."""
    return None if seconds <= 0 else format_rfc3339(seconds, timespec)


def parse_time(text: str) -> float:
    """Seconds since 1970 from RFC 3339 with an offset, or from a number of seconds.

    Raises:
        ValueError: it is neither.
    """
    if _DIGITS.fullmatch(text):
        return float(text)
    return parse_rfc3339(text)


def age(seconds: float) -> str:
    """A length of time in words for people: ``3 s``, ``5 min``, ``2 h``, ``4 d``."""
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 2 * 86_400:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86_400)} d"
