"""When each event type was seen last, of records that are counted and not yet flushed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.notifications.alike_times import milliseconds


@dataclass(slots=True)
class OrderedTimes:
    """Times of consecutive records, none earlier than the one before, and not read yet.

    Attributes:
        layout: of all of them, as ``streams.notifications.alike_times`` names it.
        types: event type of each record.
        texts: time of each record.
        starts_ms: prefix -> start of its 10 s in UTC milliseconds since 1970.
    """

    layout: str
    types: Sequence[str]
    texts: Sequence[str]
    starts_ms: dict[str, int]


#: When the event types of consecutive records were seen: event type -> its latest event time in
#: milliseconds, in the order of arrival; or the times of all records, where they are in order.
SeenTimes = Mapping[str, int] | OrderedTimes


class LastSeen:
    """Event type -> latest event time in milliseconds, in the order in which event types arrived.

    Times that come in order are kept as texts until one is out of order or all are taken: then only the
    latest of each event type is read, and where there are many event types, reading costs more than the rest.
    """

    def __init__(self) -> None:
        self._ms: dict[str, int] = {}
        self._latest_ms = -1  # none of those is later
        #: What came after those: event type -> its latest time, as text.
        self._texts: dict[str, str] = {}
        self._layout = ""
        self._latest_text = ""
        self._starts_ms: dict[str, int] = {}

    def add(self, event_type: str, seen_ms: int) -> None:
        """Note one record."""
        if self._texts:
            self._read()
        if seen_ms > self._ms.get(event_type, -1):
            self._ms[event_type] = seen_ms
            self._latest_ms = max(self._latest_ms, seen_ms)

    def add_run(self, seen: SeenTimes) -> None:
        """Note consecutive records."""
        if isinstance(seen, OrderedTimes):
            if self._texts and (seen.layout != self._layout or seen.texts[0] < self._latest_text):
                self._read()
            self._layout, self._latest_text = seen.layout, seen.texts[-1]
            self._starts_ms |= seen.starts_ms
            self._texts.update(
                zip(seen.types, seen.texts, strict=True)
            )  # in C, the last of each is the latest
            return
        if self._texts:
            self._read()
        self._merge(seen)

    def take(self) -> dict[str, int]:
        """Return all, and forget it."""
        self._read()
        taken, self._ms, self._latest_ms = self._ms, {}, -1
        return taken

    def _read(self) -> None:
        texts, starts_ms = self._texts, self._starts_ms
        self._texts, self._starts_ms = {}, {}
        times = milliseconds(self._layout, texts.values(), starts_ms)
        self._merge(dict(zip(texts, times, strict=True)))

    def _merge(self, seen: Mapping[str, int]) -> None:
        known = self._ms
        if min(seen.values(), default=0) >= self._latest_ms:
            known.update(seen)
        else:
            for event_type, seen_ms in seen.items():
                if seen_ms > known.get(event_type, -1):
                    known[event_type] = seen_ms
        self._latest_ms = max(self._latest_ms, max(seen.values(), default=-1))
