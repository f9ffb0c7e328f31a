"""Which texts can be an event type."""

from __future__ import annotations

import re

from streams.notifications.notification import Reason

# C0 and C1 controls, line and paragraph separators, bidirectional marks and overrides, byte order
# mark, lone surrogates: an event type is a key, a metric label and a table cell, and these make two
# different ones look alike. A fixed list, not str.isprintable, which changes with Python's version.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def event_type_fault(text: str) -> Reason | None:
    """Return why ``text`` (blanks around it already removed) cannot be an event type, or None."""
    if not text:
        return Reason.EVENT_TYPE_BLANK
    if _UNSAFE.search(text):
        return Reason.EVENT_TYPE_CONTROL_CHARACTERS
    return None
