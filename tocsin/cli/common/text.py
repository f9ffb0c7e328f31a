"""Text that is safe to show in a terminal, whoever wrote it. Pure."""

from __future__ import annotations

import orjson

from streams.notifications.rfc3339 import format_rfc3339
from streams.notifications.visible import visible, visible_json


def visible_bytes(content: bytes) -> str:
    """Bytes as UTF-8 text; what is not UTF-8, or not safe to show, is escaped."""
    return visible(content.decode("utf-8", "backslashreplace"))


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters of ``text``."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def utc(time_ms: int | None) -> str:
    """Milliseconds since 1970 as an RFC 3339 time; ``-`` when it is no time."""
    return (None if time_ms is None or time_ms < 0 else format_rfc3339(time_ms / 1000)) or "-"


def json_line(value: bytes | None) -> str | None:
    r"""A JSON object as it was written, in one line; None when it is none.

    Only what JSON allows without changing the meaning is done: line ends between tokens become blanks, and
    unsafe characters (which are within strings, there) become ``\u`` escapes. An object that lies in a JSON
    string is taken out.
    """
    try:
        found = orjson.loads((value or b"").removeprefix(b"\xef\xbb\xbf"))
        text = (value or b"").removeprefix(b"\xef\xbb\xbf").decode()
        if isinstance(found, str):
            text, found = found, orjson.loads(found)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    line = text.strip().translate({0x0A: " ", 0x0D: " ", 0x09: " "})
    return visible_json(line)
