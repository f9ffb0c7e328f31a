"""The last alerts of each alert topic in memory, the same ones on every worker. Pure.

What is kept depends on the topics alone, not on when a worker began to read: of each partition, and for each
feed, the newest alerts that match it, up to a number and to some bytes, as far as they lie within the last
``reach`` offsets. So any worker gives the same answers once it has read the ends of the partitions.

Any pattern of event types can be asked for. One that is named beforehand (``TOCSIN_FEED_EVENTS``) has alerts
kept for it, however many others came since; for another one it is looked among what is kept anyway.
"""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from streams.notifications.masking import Masker
from streams.notifications.priority import Priority
from streams.records import Record
from tables.totals import make_matcher

#: (time in ms, topic, partition, offset): the order of alerts, the same on every worker.
AlertKey = tuple[int, str, int, int]
#: (topic, partition)
Place = tuple[str, int]

#: Bytes kept for a feed over all partitions, and for one partition at least.
_FEED_BYTES: Final = 8 * 2**20
_LEAST_BYTES: Final = 128 * 2**10
#: Bytes that an alert takes besides its body, about.
_ALERT_BYTES: Final = 600
#: A larger body is kept without the notification in it.
_MOST_BODY_BYTES: Final = 64 * 2**10
_MOST_ID_LENGTH: Final = 256
#: The longest event type that any setting allows.
_MOST_EVENT_TYPE_LENGTH: Final = 4096
#: Offsets of a partition within which alerts are looked for, where patterns are named: at most over all
#: partitions, and of one.
_MOST_REACH: Final = 50_000
_REACH: Final = 5000

#: Alerts whose event types are matched in one step.
_MATCHED: Final = 100

#: Stands before the notification in a forwarded alert. Quotes are escaped within strings, so these bytes
#: stand nowhere else before it.
_NOTIFICATION: Final = b',"notification":'
_LEFT_OUT: Final = b'null,"truncated":true}'
#: What is kept of a body that is large without a notification, too.
_ALL_LEFT_OUT: Final = b'{"truncated":true}'


class _Labels(msgspec.Struct):
    alertname: str = ""
    publisher_id: str = ""


class _Annotations(msgspec.Struct):
    summary: str = ""


class _Body(msgspec.Struct):
    labels: _Labels = msgspec.field(default_factory=_Labels)
    annotations: _Annotations = msgspec.field(default_factory=_Annotations)


_key_of: Final = attrgetter("key")
_decoder: Final = msgspec.json.Decoder(_Body)
_UNREADABLE: Final = _Body()
#: Characters of a publisher's name, and of a summary, that are kept: they are looked through for secrets.
_MOST_TEXT: Final = 4096
_MASKER: Final = Masker()


class Alert:
    """An alert as it lies in its topic.

    Attributes:
        topic: the alert topic.
        partition: of it.
        offset: of its record.
        time_ms: when it was written to the topic, in milliseconds since 1970.
        priority: of the topic.
        event_type: of the notification; where the alert names none, the name of the alert.
        ce_id: its CloudEvents id, which a repeat has again; where it has none, made from its place.
        starts_at: event time of the notification, RFC 3339; None where nobody knows it.
        body: the record's value, JSON. Secrets are masked in it by the worker that forwarded it; not so where
            another program wrote it, so that whoever shows it masks it again.
        masker: takes secrets out of what is shown.
        truncated: whether the body is kept without what made it large.
    """

    __slots__ = (
        "_read",
        "body",
        "ce_id",
        "event_type",
        "key",
        "masker",
        "nbytes",
        "offset",
        "partition",
        "priority",
        "starts_at",
        "time_ms",
        "topic",
        "truncated",
    )

    def __init__(
        self, topic: str, partition: int, priority: Priority, record: Record, masker: Masker = _MASKER
    ) -> None:
        headers = {name: value or b"" for name, value in record.headers}
        self.topic = topic
        self.partition = partition
        self.offset = record.offset
        self.time_ms = max(0, record.timestamp or 0)
        self.key: AlertKey = (self.time_ms, topic, partition, record.offset)
        self.priority = priority
        self.masker = masker
        self.body = _bounded(record.value or b"")
        self.truncated = len(self.body) < len(record.value or b"")
        self._read: _Body | None = None
        event_type = _text(headers.get("ce_subject", b""), _MOST_EVENT_TYPE_LENGTH)
        self.event_type = event_type or self._parsed().labels.alertname[:_MOST_EVENT_TYPE_LENGTH]
        own = headers.get("ce_id", b"")
        self.ce_id = _text(own, _MOST_ID_LENGTH) if 0 < len(own) <= _MOST_ID_LENGTH else ""
        if not self.ce_id:
            self.ce_id = f"{topic}/{partition}/{record.offset}"
        self.starts_at = _text(headers.get("ce_time", b""), 64) or None
        self.nbytes = len(self.body) + 2 * len(self.event_type) + len(self.ce_id) + _ALERT_BYTES

    @property
    def publisher_id(self) -> str:
        """Who published the notification, secrets masked; empty where that is not said."""
        return self._parsed().labels.publisher_id

    @property
    def summary(self) -> str:
        """The alert in one line, secrets masked; empty where it has none."""
        return self._parsed().annotations.summary

    def _parsed(self) -> _Body:
        if self._read is None:
            try:
                self._read = read = _decoder.decode(self.body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._read = _UNREADABLE
            else:
                in_text = self.masker.in_text
                read.labels.publisher_id = in_text(read.labels.publisher_id[:_MOST_TEXT])
                read.annotations.summary = in_text(read.annotations.summary[:_MOST_TEXT])
        return self._read

    def __repr__(self) -> str:
        return f"Alert({self.topic}/{self.partition}/{self.offset} {self.event_type!r})"


def alert_uuid(app: str, ce_id: str) -> uuid.UUID:
    """The UUID of an alert: its id where that is one, in the usual form; else made of it and the app."""
    try:
        own = uuid.UUID(ce_id)
    except ValueError:
        pass
    else:
        if str(own) == ce_id.lower():
            return own
    return uuid.uuid5(uuid.NAMESPACE_URL, f"urn:tocsin:{app}:{ce_id}")


def _text(value: bytes, most: int) -> str:
    return value[: 4 * most].decode("utf-8", "replace")[:most]


def _bounded(body: bytes) -> bytes:
    if len(body) <= _MOST_BODY_BYTES:
        return body
    begin, found, _ = body.partition(_NOTIFICATION)
    return begin + _NOTIFICATION + _LEFT_OUT if found and len(begin) < _MOST_BODY_BYTES else _ALL_LEFT_OUT


class _Tail:
    """The newest alerts of one partition that belong to one feed.

    Attributes:
        alerts: oldest first.
        cut: the newest alert that had to go for want of room; None when none had to.
    """

    __slots__ = ("_nbytes", "alerts", "cut")

    def __init__(self) -> None:
        self.alerts: deque[Alert] = deque()
        self.cut: Alert | None = None
        self._nbytes = 0

    def add(self, alert: Alert, most: int, most_bytes: int) -> None:
        """Take an alert behind all others."""
        alerts = self.alerts
        alerts.append(alert)
        self._nbytes += alert.nbytes
        while len(alerts) > most or self._nbytes > most_bytes:
            self.cut = alerts.popleft()
            self._nbytes -= self.cut.nbytes

    def add_older(self, alert: Alert, most: int, most_bytes: int) -> None:
        """Take an alert before all others, if there is room for it and no newer one had to go."""
        if self.cut is not None:
            return
        if len(self.alerts) >= most or self._nbytes + alert.nbytes > most_bytes:
            self.cut = alert
            return
        self.alerts.appendleft(alert)
        self._nbytes += alert.nbytes

    def at(self, offset: int) -> Alert | None:
        """The alert at an offset; None where it is not kept."""
        return next((alert for alert in self.alerts if alert.offset == offset), None)

    def forget(self, before: int) -> bool:
        """Forget what lies at offsets less than ``before``; whether there was something."""
        alerts, number = self.alerts, len(self.alerts)
        while alerts and alerts[0].offset < before:
            self._nbytes -= alerts.popleft().nbytes
        if self.cut is not None and self.cut.offset < before:
            self.cut = None
        return len(alerts) < number


class AlertMemory:
    """What is kept of the alert topics; filled from the ends of their partitions, newest last.

    Args:
        topics: alert topic -> its priority.
        partitions: alert topic -> how many it has.
        most: alerts of a feed.
        patterns: of event types, for which alerts are kept of their own.
        masker: takes secrets out of what is shown.
    """

    def __init__(
        self,
        topics: Mapping[str, Priority],
        partitions: Mapping[str, int],
        most: int,
        patterns: Sequence[str] = (),
        masker: Masker = _MASKER,
    ) -> None:
        self._topics = topics
        self._masker = masker
        self.most = most
        self.places: list[Place] = [(topic, n) for topic in topics for n in range(partitions.get(topic, 0))]
        number = max(1, len(self.places))
        self._most_bytes = max(_LEAST_BYTES, _FEED_BYTES // number)
        #: Offsets of each partition, back from its end, within which alerts are kept.
        self.reach = max(most, min(_REACH, _MOST_REACH // number)) if patterns else most
        self._matchers = {pattern: make_matcher(pattern) for pattern in patterns}
        #: Pattern, or None for all -> place -> what is kept.
        self._tails = {
            pattern: {place: _Tail() for place in self.places} for pattern in (None, *self._matchers)
        }
        #: Counts what was taken in and forgotten.
        self.changes = 0

    def take(self, place: Place, records: Iterable[Record]) -> Iterator[Alert]:
        """Take in the records at the end of a partition, oldest first; in steps, an alert each."""
        priority, most, most_bytes = self._topics[place[0]], self.most, self._most_bytes
        for record in records:
            alert = Alert(*place, priority, record, self._masker)
            for tail in self._tails_of(place, alert):
                tail.add(alert, most, most_bytes)
            self.changes += 1
            yield alert

    def take_older(self, place: Place, records: Sequence[Record]) -> Iterator[Alert]:
        """Take in the records before those that are in, oldest first; in steps, an alert each."""
        priority, most, most_bytes = self._topics[place[0]], self.most, self._most_bytes
        for record in reversed(records):
            alert = Alert(*place, priority, record, self._masker)
            for tail in self._tails_of(place, alert):
                tail.add_older(alert, most, most_bytes)
            self.changes += 1
            yield alert

    def is_full(self, place: Place) -> bool:
        """Whether nothing older of a partition would be kept."""
        return all(tails[place].cut is not None for tails in self._tails.values())

    def forget(self, place: Place, before: int) -> None:
        """Forget what lies in a partition at offsets less than ``before``."""
        for tails in self._tails.values():
            if tails[place].forget(before):
                self.changes += 1

    def at(self, place: Place, offset: int) -> Generator[None, None, Alert | None]:
        """The alert at one place of its topic, None where it is not kept; found in short steps."""
        for tails in self._tails.values():
            tail = tails.get(place)
            if tail is not None and (alert := tail.at(offset)) is not None:
                return alert
            yield
        return None

    def _tails_of(self, place: Place, alert: Alert) -> Iterator[_Tail]:
        yield self._tails[None][place]
        for pattern, matches in self._matchers.items():
            if matches(alert.event_type):
                yield self._tails[pattern][place]

    def newest(
        self, *, priority: Priority | None = None, event_type: str | None = None, most: int | None = None
    ) -> Generator[None, None, list[Alert]]:
        """Alerts, newest first, each id once; found in steps of less than a millisecond.

        Args:
            priority: only those of it; None for all.
            event_type: a pattern with ``*`` and ``?``; None for all. One that is not named is looked for
                among all that is kept, which may have holes.
            most: how many; the number that is kept of a feed when None.
        """
        most = self.most if most is None else most
        named = event_type is None or event_type in self._matchers
        tails = [
            tail
            for place, tail in self._tails[event_type if named else None].items()
            if priority is None or self._topics[place[0]] is priority
        ]
        since = None
        if named:
            # Where newer alerts of one partition are missing, older ones of another would leave a hole.
            since = max((tail.cut.key for tail in tails if tail.cut is not None), default=None)
            kept = [list(tail.alerts) for tail in tails]
        else:
            matches = make_matcher(event_type or "")
            kept = []
            for tail in tails:
                alerts, matching = list(tail.alerts), []
                for start in range(0, len(alerts), _MATCHED):
                    some = alerts[start : start + _MATCHED]
                    matching += [alert for alert in some if matches(alert.event_type)]
                    yield
                kept.append(matching)
        found: dict[str, Alert] = {}
        for number, alert in enumerate(heapq.merge(*map(reversed, kept), key=_key_of, reverse=True)):
            if len(found) >= most or (since is not None and alert.key <= since):
                break
            # A repeat has the place of the first.
            found.pop(alert.ce_id, None)
            found[alert.ce_id] = alert
            if not number % 100:
                yield
        return list(found.values())
