"""The cap on event types: beyond it they are counted together, as one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tables.reserved_types import OVERFLOW, PROBES

#: Bytes that an event type may take on average where as many are counted by name as may be.
BYTES_EACH: Final = 400
#: Most bytes of event types that a 10 s row counts by name, and the totals do not.
MOST_GUEST_BYTES: Final = 8192
#: Beside its name, about what an event type takes in a row.
_BESIDE_NAME: Final = 64

_encode = msgspec.json.Encoder().encode


def json_bytes(name: str) -> int:
    """Bytes of a name as JSON writes it."""
    return len(name) + 2 if name.isascii() and name.isalnum() else len(_encode(name))


def bytes_of(names: Iterable[str]) -> int:
    """Bytes that event types take; reserved ones that the cap does not count take none."""
    return sum(json_bytes(name) + _BESIDE_NAME for name in names if name not in (OVERFLOW, PROBES))


class TypeCap:
    """Decides which event types are counted by name: in each row, and in the totals, the first that come.

    A row may also name *guests*, which the totals do not: few, because each row has others. What may be named
    depends on what is named already and on nothing else; and one that finds no place never finds one later.

    Args:
        most: how many; the rest is OVERFLOW.
        most_bytes: bytes of the event types in the totals.
        most_guest_bytes: bytes of those that a row names and the totals do not.
    """

    def __init__(
        self, most: int, most_bytes: int | None = None, most_guest_bytes: int = MOST_GUEST_BYTES
    ) -> None:
        self.most = most
        self.most_bytes = most * BYTES_EACH if most_bytes is None else most_bytes
        self.most_guest_bytes = most_guest_bytes

    def admitted(self, event_type: str, known: Mapping[str, object], used_bytes: int, most_bytes: int) -> str:
        """What ``event_type`` is counted as.

        Args:
            event_type: which.
            known: those that are counted already.
            used_bytes: bytes of those that count towards ``most_bytes``.
            most_bytes: how many there may be.
        """
        if event_type in known or event_type == PROBES:
            return event_type
        # OVERFLOW itself does not count: what was restored may hold it and not yet all that are named.
        # Nor do probes, which leave the counts of others as they are.
        named = len(known) - (OVERFLOW in known) - (PROBES in known)
        if named < self.most and used_bytes + bytes_of((event_type,)) <= most_bytes:
            return event_type
        return OVERFLOW

    def is_near(self, named: int, used_bytes: int) -> bool:
        """Whether few places are left, so that the order of arrival decides soon."""
        return named * 10 >= self.most * 9 or used_bytes * 10 >= self.most_bytes * 9
