"""What cannot be seen is shown as an escape, and what can be seen as it is."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from streams.notifications.visible import visible


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\u3164", "Hangul filler"),
        ("\uffa0", "half-width Hangul filler"),
        ("\u115f", "Hangul choseong filler"),
        ("\u2800", "blank Braille pattern"),
        ("\u200b", "zero-width space"),
        ("\u200d", "zero-width joiner"),
        ("\u2060", "word joiner"),
        ("\u00ad", "soft hyphen"),
        ("\u180e", "Mongolian vowel separator"),
        ("\u034f", "combining grapheme joiner"),
        ("\ufe0f", "variation selector"),
        ("\U000e0041", "tag A"),
        ("\u202e", "right-to-left override"),
        ("\u00a0", "no-break space"),
        ("\u3000", "ideographic space"),
        ("\x1b", "escape"),
        ("\x9b", "C1 control"),
        ("\ud800", "lone surrogate"),
        ("\n", "line end"),
    ],
    ids=lambda value: value if len(value) > 2 else "",
)
def test_what_cannot_be_seen_is_escaped(character: str, name: str) -> None:
    shown = visible(f"a{character}b")
    assert shown.isascii(), name
    assert shown == f"a{character.encode('unicode_escape').decode()}b"


def test_letters_of_all_kinds_stay() -> None:
    for text in ("compute.instance.create", "größe", "日本語", "नमस्ते", "ไทย", "🔥", "a b", "\\x1b", "é"):
        assert visible(text) == text


def test_every_format_character_and_every_blank_is_escaped() -> None:
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
    shown = [
        f"U+{point:04X}"
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)) in hidden and point != 0x20 and visible(chr(point)) == chr(point)
    ]
    assert shown == []
