"""What pytest says of values that differ, kept short: where CI is set it cuts nothing, also of 16 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

#: Of one comparison.
MOST_LINES: Final = 400
MOST_LETTERS: Final = 40_000
#: The end of what was cut.
CUT: Final = "(the rest is cut off)"


def shortened(lines: Iterable[str]) -> Iterator[str]:
    """Lines up to a number of them and of letters; no more are asked for, since making them may take long."""
    left = MOST_LETTERS
    for number, line in enumerate(lines):
        if number == MOST_LINES or len(line) > left:
            yield f"{line[:left]} {CUT}" if number < MOST_LINES else CUT
            return
        left -= len(line)
        yield line
