r"""Text as it can be shown: what a terminal would act on, or no eye can see, becomes an escape. Pure.

Names come from publishers. Two that look alike and differ in a character without ink are two rows of a table
that nobody can tell apart, so that such characters are shown as ``\u3164``.
"""

from __future__ import annotations

import re
from typing import Final

#: Characters without ink, or that change how others are shown, as a character class of regular expressions:
#: Unicode's Default_Ignorable_Code_Point, and the blank letters that are none (U+2800). A fixed list, not
#: ``str.isprintable`` or ``unicodedata``, which change with Python's version.
INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: Controls, lone surrogates, and blanks that are not the space.
_NOT_TEXT: Final = "\x00-\x1f\x7f-\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\ud800-\udfff"
_HIDDEN: Final = re.compile(f"[{INVISIBLE}{_NOT_TEXT}]")


def visible(text: str) -> str:
    r"""``text`` with everything escaped that a terminal would act on, or that cannot be seen.

    Control characters, line ends, bidirectional marks, invisible characters, odd blanks and lone surrogates
    become escapes such as ``\x1b``. Backslashes that are there already stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if is_hidden(character) else character
        for character in text
    )


def visible_lines(text: str) -> str:
    """The same of text of several lines, whose line ends stay."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(text: str) -> str:
    r"""JSON text that means the same, with ``\u`` escapes for what ``visible`` escapes.

    Args:
        text: JSON in one line, so that all of that is within its strings.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_json_escape(character) if is_hidden(character) else character for character in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def is_hidden(character: str) -> bool:
    """Whether a character cannot be seen, or is not safe to show."""
    return not character.isprintable() or _HIDDEN.match(character) is not None
