r"""What is JSON but for a number that is none, or half a character: made JSON. Pure.

Python's ``json`` writes ``NaN``, ``Infinity`` and lone surrogates (``"\ud800"``), and oslo.messaging passes
them on; no strict parser reads them. They are no reason to leave a notification unread.
"""

from __future__ import annotations

import re
from typing import Final

from streams.notifications.notification import Repair

# A whole string, closed or not, so that each byte is looked at once whatever the text; or such a number.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)
# An escaped character; a pair of surrogates is one, and half a pair is what is looked for.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)


def repaired_json(value: bytes) -> tuple[bytes, tuple[Repair, ...]]:
    r"""``value`` with ``null`` for NaN and Infinity, U+FFFD for lone surrogates, and which repairs it took.

    Nothing is changed inside of strings but escapes of lone surrogates. What is no JSON otherwise stays none.
    """
    repairs: list[Repair] = []

    def whole(found: re.Match[bytes]) -> bytes:
        half = found[1] is not None
        if half and Repair.LONE_SURROGATE not in repairs:
            repairs.append(Repair.LONE_SURROGATE)
        return rb"\ufffd" if half else found[0]

    def token(found: re.Match[bytes]) -> bytes:
        text = found[0]
        if text.startswith(b'"'):
            return _ESCAPE.sub(whole, text) if rb"\u" in text else text
        if Repair.NOT_A_NUMBER not in repairs:
            repairs.append(Repair.NOT_A_NUMBER)
        return b"null"

    if b"NaN" in value or b"Infinity" in value or rb"\ud" in value or rb"\uD" in value:
        value = _TOKEN.sub(token, value)
    return value, tuple(repairs)
