"""Totals of one source, and the base row that makes them durable. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import repeat
from operator import add
from typing import Final

from tables.flushes import Emission
from tables.replay_rules import RulesSpan
from tables.reserved_types import OVERFLOW, RESERVED
from tables.restoring import Restored
from tables.row_bodies import ForgottenTotal, SourceBase, TypeTotal
from tables.rows import Change, VersionedRows, base_name
from tables.type_cap import TypeCap, bytes_of

#: Seconds after which totals are written whole though no new minute opened.
_BASE_INTERVAL_S: Final = 60


def sums(known: Mapping[str, int], more: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Event type and its sum, for each in ``more``; in C, because there may be very many."""
    return zip(more, map(add, map(known.get, more, repeat(0)), more.values()), strict=True)


class SourceTotals:
    """Records ever counted of each event type, and when it was seen last.

    Args:
        source: name of the source.
        rows: the rows of the table partition, as this worker writes them.
        restored: what was found in them.
        cap: of the event types that are counted by name.
    """

    def __init__(self, source: str, rows: VersionedRows, restored: Restored, cap: TypeCap) -> None:
        self._name = base_name(source)
        self._rows = rows
        #: Of the record that is being added.
        self.cap = cap
        #: Event type -> records ever counted. Counts and times are apart, so that both are added to in C.
        self.counts = restored.totals
        #: Event type -> when it was seen last, in milliseconds; for those that ``counts`` names.
        self.seen_ms = restored.seen_ms
        #: Event types whose totals are to be sent out.
        self.touched: set[str] = set()
        #: The next flush must write the base row, because no 10 s row says what has changed.
        self.base_due = False
        #: How often event types were forgotten.
        self.forgotten = restored.forgotten
        #: The last period that began; see ``tables.forgetting``.
        self.period = restored.period
        #: Event type -> how often that was when it came to be named, where that is not 0.
        self.epochs = restored.epochs
        #: What was forgotten and is to be said, or may have to be said again after a crash.
        self.gone = restored.gone
        self._bytes = bytes_of(self.counts)
        self._as_of = restored.as_of
        self._base_offset = restored.base_offset
        self._stale_keys = restored.stale_base_keys
        #: When the base row was written last.
        self.base_at_s = 0.0

    # ---------------------------------------------------------------- adding

    def add(self, event_type: str, count: int, seen_ms: int) -> None:
        """Add to the total of an event type that is counted by name, or of OVERFLOW."""
        total = self.counts.get(event_type)
        if total is None:
            self.counts[event_type], self.seen_ms[event_type] = count, seen_ms
            self._bytes += bytes_of((event_type,))
            if self.forgotten and event_type not in RESERVED:
                self.epochs[event_type] = self.forgotten
            # Near the cap the order of arrival decides what is counted by name: make it durable first.
            self.base_due |= self.is_near
        else:
            self.counts[event_type] = total + count
            self.seen_ms[event_type] = max(seen_ms, self.seen_ms[event_type])

    @property
    def is_near(self) -> bool:
        """Whether few places are left."""
        return self.cap.is_near(len(self.counts), self._bytes)

    def forget(self, event_types: Collection[str]) -> None:
        """Give the places of these back; the next flush says so."""
        gone = self.gone[self.forgotten + 1] = {}
        for each in event_types:
            gone[each] = ForgottenTotal(
                self.counts.pop(each), self.seen_ms.pop(each), self.epochs.pop(each, 0)
            )
        self._bytes -= bytes_of(event_types)
        self.touched.difference_update(event_types)
        self.forgotten += 1
        self.base_due = True

    def say_forgotten(self, emission: Emission) -> None:
        """Add to what is sent out what there is to say of event types that were forgotten."""
        emission.forgotten = self.forgotten
        emission.epochs = {each: self.epochs[each] for each in emission.totals if each in self.epochs}
        emission.gone = dict(self.gone)

    def said(self, gone: Collection[int]) -> None:
        """What was forgotten then has been said, and need not be said again."""
        for each in gone:
            self.gone.pop(each, None)

    def _admitted(self, event_type: str) -> str:
        return self.cap.admitted(event_type, self.counts, self._bytes, self.cap.most_bytes)

    def add_again(self, offset: int, event_type: str, seen_ms: int) -> str:
        """Add a record that may be in the totals already; return what it is counted as."""
        counted = self._admitted(event_type)
        if offset > self._as_of.get(counted, self._base_offset):
            self.add(counted, 1, seen_ms)
        self.touched.add(counted)
        if self.forgotten:
            self.touched.add(OVERFLOW)  # as which it may have been counted before there was a place
        return counted

    def see(self, seen: Mapping[str, int]) -> bool:
        """Take over when event types were seen, in order of arrival; return whether all go by name."""
        if by_name := self.counts.keys() >= seen.keys():
            known = map(self.seen_ms.__getitem__, seen)
            self.seen_ms.update(zip(seen, map(max, known, seen.values()), strict=True))
        else:
            # In order of arrival, so that the cap always hits the same.
            for event_type, at_ms in seen.items():
                self.add(self._admitted(event_type), 0, at_ms)
        return by_name

    def add_all(self, counts: Mapping[str, int], *, by_name: bool) -> None:
        """Add to totals that know each event type, if not ``by_name`` as one of those beyond the cap."""
        totals, touched = self.counts, self.touched
        if by_name:
            totals.update(sums(totals, counts))
            touched.update(counts)
        else:
            for event_type, count in counts.items():
                counted = self._admitted(event_type)
                totals[counted] += count
                touched.add(counted)

    # ---------------------------------------------------------------- writing and sending

    def of(self, event_types: Collection[str]) -> dict[str, TypeTotal]:
        """Event type -> total; for those that the totals name."""
        totals = map(self.counts.__getitem__, event_types)
        seen_ms = map(self.seen_ms.__getitem__, event_types)
        return dict(zip(event_types, map(TypeTotal, totals, seen_ms), strict=True))

    def take_touched(self) -> dict[str, TypeTotal]:
        """The totals to be sent out, which are then no longer to be."""
        found = self.of(self.touched & self.counts.keys())
        self.touched.clear()
        return found

    def as_of(self, event_types: Iterable[str], offset: int) -> Iterator[int]:
        """Offset that each total is as of, when all records up to ``offset`` were handled."""
        as_of, base = self._as_of, self._base_offset
        return (max(offset, as_of.get(event_type, base)) for event_type in event_types)

    def replayed(self) -> None:
        """Every total is as of the last record handled from now on."""
        if self._as_of:
            self._as_of = {}

    def is_base_due(self, now_s: float, *, active: bool) -> bool:
        """Whether the base row is to be written; ``active`` says that other rows are."""
        return self.base_due or (active and not 0 <= now_s - self.base_at_s < _BASE_INTERVAL_S)

    def write_base(
        self,
        offset: int,
        now_s: float,
        minutes: Collection[int],
        hours: Collection[int],
        expired_before: int,
        answered: dict[int, int],
        *,
        replaying: bool,
        rules: list[RulesSpan] | None = None,
    ) -> tuple[list[Change], list[bytes]]:
        """The base row as of ``offset``, and the keys that it supersedes."""
        self._base_offset = max(self._base_offset, offset)
        self.base_at_s, self.base_due = now_s, False
        body = SourceBase(self.of(self.counts), list(minutes), list(hours), expired_before, rules=rules)
        if answered:
            body.answered = answered
        body.forgotten, body.period = self.forgotten, self.period
        body.epochs, body.gone = self.epochs or None, self.gone or None
        if self._as_of and replaying:
            # Totals of these types are ahead of the row's offset while records are being replayed.
            body.as_of = {t: as_of for t, as_of in self._as_of.items() if as_of > self._base_offset}
        stale, self._stale_keys = self._stale_keys, []
        return self._rows.changes(self._name, self._base_offset, body), stale
