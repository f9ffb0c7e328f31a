"""What can be told of a record that cannot be read: who sent it, and of which type. Pure.

It is not parsed: the two names are looked for in its bytes, wherever they stand and however they are quoted.
What is found is a guess for people. Nothing is counted by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import orjson

from streams.notifications.visible import visible

#: Bytes that are looked at, at the beginning and at the end: a record of any size costs as much.
LOOKED_AT: Final = 32 * 1024
#: Longest text of a name that is taken, in characters as shown.
LONGEST: Final = 255
_MOST_BYTES: Final = 2048
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
# In JSON, in JSON within a string, where quotes are escaped, and in what Python prints of a dictionary. The
# number of bytes between quotes has a bound, so that the time has one, too.
_NAMED: Final = {
    name: re.compile(
        rb"""\\{0,7}["']%b\\{0,7}["']\s{0,9}:\s{0,9}(\\{0,7}["'])(.{1,%d}?)\1"""
        % (name.encode(), _MOST_BYTES),
        re.DOTALL,
    )
    for name in ("event_type", "publisher_id")
}


@dataclass(slots=True, frozen=True)
class Glimpse:
    """What a second look found; "" where it found nothing. Printable text of at most 255 characters each."""

    event_type: str
    publisher_id: str


def second_look(value: bytes | None) -> Glimpse:
    """What the bytes of an unreadable record tell, without understanding them; never raises.

    Args:
        value: of the record; None where there is none.
    """
    if not value:
        return Glimpse("", "")
    head, tail = value[:LOOKED_AT], value[LOOKED_AT:][-LOOKED_AT:]
    if head.startswith(_UTF_16):
        head, tail = head.decode("utf-16", "replace").encode("utf-8", "replace"), b""
    # Of what has two or four bytes a character, and does not say so.
    head, tail = head.replace(b"\0", b""), tail.replace(b"\0", b"")
    return Glimpse(*(_find(pattern, head) or _find(pattern, tail) for pattern in _NAMED.values()))


def _find(pattern: re.Pattern[bytes], text: bytes) -> str:
    found = pattern.search(text)
    if found is None:
        return ""
    quoted = found[2].rstrip(b"\\")
    try:
        name = str(orjson.loads(b'"%b"' % quoted))
    except orjson.JSONDecodeError:
        name = quoted.decode("utf-8", "replace")
    shown = visible(name.strip()[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
