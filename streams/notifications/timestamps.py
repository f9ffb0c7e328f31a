"""Timestamps of notifications: the tidy forms, and the untidy ones with a single meaning."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from streams.notifications.notification import Repair

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

#: The event times that can be written as a date: years 1 to 9999.
MIN_TIME_MS = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
MAX_TIME_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND

# "2011-05-09 22:00:14.621831", also with T, without a fraction, with Z or an offset.
_TIDY = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[ Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]{1,9}))?(?:[Zz]|([+-][0-9]{2}):?([0-9]{2}))?"
)
# The same with stray or missing blanks, a decimal comma, a named UTC: year, month and day have a fixed
# width and a colon ends the hour, so "2012-09-2709: 11: 27.086426" can mean one thing only.
_UNTIDY = re.compile(
    r"([0-9]{4})\s*-\s*([0-9]{2})\s*-\s*([0-9]{2})\s*[Tt]?\s*([0-9]{1,2})\s*:\s*([0-9]{2})\s*:\s*([0-9]{2})"
    r"(?:\s*[.,]\s*([0-9]+))?\s*(?:[Zz]|UTC|GMT|([+-][0-9]{2}):?([0-9]{2})?)?",
    re.ASCII,
)
# Seconds have 9 or 10 digits from 1973 to 2286, milliseconds 12 or 13; 14 could be a written date.
_NUMBER_TEXT = re.compile(r"[0-9]{9,10}(?:\.[0-9]+)?|[0-9]{12,13}")
_LONGEST = 64

# Below, a number is seconds (until the year 5138); from there up to the second, milliseconds.
_SECONDS_BELOW = 100_000_000_000
_MILLISECONDS_BELOW = 100_000_000_000_000


def make_timestamp_parser(remembered: int = 512) -> Callable[[str], int | None]:
    """Return a function from a tidy timestamp to UTC milliseconds since 1970, or None if it is not tidy.

    The function remembers up to ``remembered`` whole seconds: records that come together are of
    the same few seconds, so most timestamps cost a look-up. Milliseconds are rounded down.
    """
    seconds: dict[str, int] = {}
    # All that may follow a whole second, up to the milliseconds and after them; look-ups cost
    # half of what int() and its guards do.
    thousand = [f"{number:03}" for number in range(1000)]
    milliseconds = {"." + digits: number for number, digits in enumerate(thousand)} | {"": 0, "Z": 0}
    tails = {"", "Z", "+00:00"}.union(*({digits, digits + "Z", digits + "+00:00"} for digits in thousand))

    def parse(text: str) -> int | None:
        try:
            if text[23:] in tails:
                return seconds[text[:19]] + milliseconds[text[19:23]]
        except KeyError:
            pass
        match = _TIDY.fullmatch(text)
        start = None if match is None else _start_of_second(match)
        if match is None or start is None:
            return None
        if len(seconds) >= remembered:
            seconds.clear()
        seconds[text[:19]] = start
        return _within(start, match)

    return parse


def repair_timestamp(value: object) -> tuple[int | None, Repair]:
    """Read a timestamp that is not tidy.

    Returns:
        UTC milliseconds since 1970 and which repair it took; None with TIMESTAMP_BROKEN when the value
        has no meaning or more than one, TIMESTAMP_MISSING for None.
    """
    if value is None:
        return None, Repair.TIMESTAMP_MISSING
    if isinstance(value, str):
        text = value.strip()
        # Bounded before the search, so that no input costs more than a glance.
        if len(text) > _LONGEST:
            return None, Repair.TIMESTAMP_BROKEN
        if _NUMBER_TEXT.fullmatch(text):
            value = float(text) if "." in text else int(text)
        else:
            found = _untidy_ms(text)
            return found, Repair.TIMESTAMP_BROKEN if found is None else Repair.TIMESTAMP_REPAIRED
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value < _SECONDS_BELOW:
            return int(value * 1000), Repair.TIMESTAMP_NUMBER
        if _SECONDS_BELOW <= value < _MILLISECONDS_BELOW:
            return int(value), Repair.TIMESTAMP_NUMBER
    return None, Repair.TIMESTAMP_BROKEN


def format_timestamp(time_ms: int) -> str:
    """Write UTC milliseconds since 1970 in the seed's form, ``2011-05-09 22:00:14.621000``.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(" ", "microseconds")[:26]


def _untidy_ms(text: str) -> int | None:
    match = _UNTIDY.fullmatch(text)
    if match is None:
        return None
    start = _start_of_second(match)
    return None if start is None else _within(start, match)


def _start_of_second(match: re.Match[str]) -> int | None:
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // _MILLISECOND


def _within(start: int, match: re.Match[str]) -> int | None:
    """Add the fraction to ``start`` and take the offset off; None when that leads nowhere."""
    fraction, offset_hours, offset_minutes = match.group(7, 8, 9)
    result = start
    if fraction:
        result += int((fraction + "00")[:3])
    if offset_hours:
        hours, minutes = int(offset_hours[1:]), int(offset_minutes or 0)
        if hours > 23 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * 60_000
        result += offset if offset_hours[0] == "-" else -offset
    return result if MIN_TIME_MS <= result <= MAX_TIME_MS else None
