"""The priorities of notifications."""

from __future__ import annotations

import enum


class Priority(enum.StrEnum):
    """How urgent a notification is: the five levels of the proposal, plus two of oslo.messaging.

    The order of the members is the order of urgency, most urgent first. There is one Kafka
    topic per priority. AUDIT and SAMPLE are consumed only when they are switched on.
    """

    CRITICAL = "CRITICAL"
    ERROR = "ERROR"
    WARN = "WARN"
    INFO = "INFO"
    DEBUG = "DEBUG"
    AUDIT = "AUDIT"
    SAMPLE = "SAMPLE"

    @property
    def rank(self) -> int:
        """Place in the order of urgency; 0 is the most urgent."""
        return _RANKS[self]

    @classmethod
    def parse(cls, text: str) -> Priority | None:
        """Return the priority that ``text`` names, or None.

        Case and surrounding blanks do not matter, and ``WARNING`` means WARN.
        """
        name = text.strip().upper()
        return _BY_NAME.get(name)


#: The priorities of the proposal, consumed by default.
DEFAULT_PRIORITIES = (Priority.CRITICAL, Priority.ERROR, Priority.WARN, Priority.INFO, Priority.DEBUG)

_RANKS = {priority: rank for rank, priority in enumerate(Priority)}
_BY_NAME = {priority.value: priority for priority in Priority} | {"WARNING": Priority.WARN}
