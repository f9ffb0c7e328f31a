"""Which texts can be an event type."""

from __future__ import annotations

import re
from typing import Final

from streams.notifications.notification import Reason
from streams.notifications.visible import INVISIBLE

# C0 and C1 controls, line and paragraph separators, bidirectional marks and overrides, byte order
# mark, lone surrogates: an event type is a key, a metric label and a table cell, and these make two
# different ones look alike. Fixed lists, not str.isprintable, which changes with Python's version.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
#: Blanks that are not the space, and letters that look like one.
_ODD_BLANKS: Final = "\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\u115f\u1160\u2800\u3164\uffa0"
_ODD_BLANK = re.compile(f"[{_ODD_BLANKS}]")
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_LOOKS_ALIKE = re.compile(f"[{_ODD_BLANKS}{INVISIBLE}]")


def as_seen(text: str) -> str:
    """An event type as the eye sees it: odd blanks become spaces, and what is invisible goes.

    Without it two event types that nobody can tell apart would be counted as two.
    """
    return _INVISIBLE.sub("", _ODD_BLANK.sub(" ", text))


def has_controls(text: str) -> bool:
    """Whether there is anything in ``text`` that a terminal would act on."""
    return _UNSAFE.search(text) is not None


def event_type_fault(text: str) -> Reason | None:
    """Return why ``text`` (blanks around it already removed) cannot be an event type, or None."""
    if not text:
        return Reason.EVENT_TYPE_BLANK
    if has_controls(text) or _LOOKS_ALIKE.search(text) is not None:
        return Reason.EVENT_TYPE_CONTROL_CHARACTERS
    return None
