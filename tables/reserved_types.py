"""Event types of Tocsin's own, which no notification can have."""

from __future__ import annotations

from typing import Final

#: What event types beyond the cap are counted as.
OVERFLOW: Final = "(other event types)"
#: What records that cannot be read are counted as; they lie in the dead-letter topic.
DEAD_LETTERS: Final = "(dead letters)"
#: What `tocsin probe` sends: answered on a topic of its own, never an alert, not in lists of counts.
PROBES: Final = "(probes)"
RESERVED: Final = (OVERFLOW, DEAD_LETTERS, PROBES)
