"""Settings that decide what a record is counted as, kept with the rows. Pure.

A record may be read again after a crash, and must then be counted as it was before. So a source's base row
says under which settings its records were counted, up to which offset; changed ones hold for later records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

#: Changes that are remembered; records before older ones have long been committed.
_MOST_SPANS: Final = 8


class Rules(msgspec.Struct, array_like=True, frozen=True):
    """Settings that decide in which bucket, and as which event type, a record is counted.

    Attributes:
        lateness_s: how far before the broker's time a notification's own is believed.
        max_event_types: that are counted by name.
        max_notification_bytes: of one that is read at all; a larger one is a dead letter.
        max_depth: of nested objects and lists; the same.
        max_event_type_length: in characters; the same.
    """

    lateness_s: int
    max_event_types: int
    max_notification_bytes: int
    max_depth: int
    max_event_type_length: int


class RulesSpan(msgspec.Struct, array_like=True):
    """The rules of consecutive records: up to offset ``until``, or of all later ones where that is None."""

    until: int | None
    rules: Rules


class RuleHistory:
    """Under which rules the records of a source were counted, and are.

    Args:
        kept: what the base row says; empty where there is none, or where it is of an older version.
        mine: the rules that hold now.
        counted_until: the last offset that any row counts: those before it go by the rules that held then.

    Attributes:
        mine: the rules of all records after ``until``.
        until: the last offset of other rules; -1 when there is none.
        changed: whether the next base row says something new that must be there before any other row.
    """

    def __init__(self, kept: Sequence[RulesSpan], mine: Rules, counted_until: int) -> None:
        self.mine = mine
        self.changed = bool(kept) and kept[-1].rules != mine
        earlier = [each for each in kept if each.until is not None][-_MOST_SPANS:]
        self.until = _end(earlier[-1]) if earlier else -1
        if self.changed and counted_until > self.until:  # else nothing was counted by the last ones
            earlier = [*earlier[1 - _MOST_SPANS :], RulesSpan(counted_until, kept[-1].rules)]
            self.until = counted_until
        self._earlier = earlier

    def at(self, offset: int) -> Rules:
        """The rules of a record."""
        if offset > self.until:
            return self.mine
        return next(each.rules for each in self._earlier if offset <= _end(each))

    def spans(self) -> list[RulesSpan]:
        """All of it, for the base row."""
        return [*self._earlier, RulesSpan(None, self.mine)]

    @property
    def lateness_s(self) -> int:
        """The greatest of all rules."""
        return max(each.rules.lateness_s for each in self.spans())


def _end(span: RulesSpan) -> int:
    return -1 if span.until is None else span.until
