"""Times of many records that are written alike, read together instead of one by one. Pure.

In some layouts of a timestamp the order of the texts is that of the times. Whoever wants the latest time
of each event type can then compare and keep texts, and read only those that are left in the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import add, itemgetter, le
from typing import Final

_ZERO: Final = "+00:00"
#: Layouts whose order as text is that of the times, with 0 for each digit.
_LAYOUTS: Final = {
    f"0000-00-00{between}00:00:00{fraction}{zone}"
    for between in " T"
    for fraction in ("", ".000", ".000000")
    for zone in ("", "Z", _ZERO)
}
_DIGITS: Final = str.maketrans("123456789", "000000000")
#: Characters up to the tens of seconds.
_PREFIX: Final = 18
_prefix_of: Final = itemgetter(slice(_PREFIX))
_FRACTION: Final = "."
#: Of such a timestamp, seconds and milliseconds within its 10 s.
_WITH_FRACTION: Final = itemgetter(slice(18, 23))
_WITHOUT_FRACTION: Final = itemgetter(18)


@cache
def _within() -> dict[str, int]:
    """Text of seconds and milliseconds within 10 s -> milliseconds; a look-up costs less than ``int``."""
    found = {f"{seconds}.{ms:03}": 1000 * seconds + ms for seconds in range(10) for ms in range(1000)}
    return found | {str(seconds): 1000 * seconds for seconds in range(10)}


def layout_of(texts: Sequence[str]) -> str | None:
    """The layout that all of these times share; None when they do not, or when it does not sort as text."""
    layout = texts[0].translate(_DIGITS)
    # A line for each, so that none can make up for another that is too short.
    lines = (layout + "\n") * len(texts)
    joined = "\n".join(texts)
    if layout not in _LAYOUTS or joined.translate(_DIGITS) != lines[:-1]:
        return None
    # Of another zone than UTC: as text, 22:00+02:00 comes after 21:00+00:00.
    if layout.endswith(_ZERO) and joined.count(_ZERO) != len(texts):
        return None
    return layout


def in_order(texts: Sequence[str]) -> bool:
    """Whether no time is earlier than the one before; for texts of one layout."""
    return all(map(le, texts, islice(texts, 1, None)))


def prefixes_of(texts: Sequence[str]) -> list[str]:
    """Each text up to the tens of seconds, which names 10 s of time; for texts of one layout."""
    return list(map(_prefix_of, texts))


def of_one_prefix(texts: Sequence[str]) -> str | None:
    """What names the 10 s that hold all of these times, which are in order; None when none does."""
    prefix = texts[0][:_PREFIX]
    return prefix if texts[-1].startswith(prefix) else None


def milliseconds(layout: str, texts: Collection[str], starts_ms: dict[str, int]) -> Iterator[int]:
    """Read times of one layout.

    Args:
        layout: of all of them.
        texts: the times.
        starts_ms: prefix -> start of its 10 s in UTC milliseconds since 1970.
    """
    fraction = _WITH_FRACTION if _FRACTION in layout else _WITHOUT_FRACTION
    starts = map(starts_ms.__getitem__, map(_prefix_of, texts))
    return map(add, starts, map(_within().__getitem__, map(fraction, texts)))


def latest(types: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """Event type -> its latest time as text, in the order of arrival; for texts of one layout."""
    found: dict[str, str] = {}
    for event_type, text in zip(types, texts, strict=True):
        if text > found.get(event_type, ""):
            found[event_type] = text
    return found
