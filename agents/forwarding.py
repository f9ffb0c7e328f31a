"""Forwarding: a notification of a forwarded priority becomes an alert record at once. Pure.

The record is a CloudEvent in binary mode whose JSON value can be posted to Alertmanager as it is.
A repeat after a crash carries the same ``ce_id``, which subscribers can drop.

In a storm this is made for every record, so the JSON is put together from parts: what depends on event type
and publisher is written once and kept, the notification goes in as the bytes that came.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import orjson
from faust.types import TP

from streams.notifications import Notification, Priority, Repair
from streams.notifications.carried_headers import Headers, carried_headers
from streams.notifications.masking import Masker
from streams.notifications.nearly_json import repaired_json
from streams.notifications.rfc3339 import format_rfc3339
from streams.notifications.tidy import Tidy
from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords, packed_header, packed_text, varint
from streams.packed_records import packed as packed_record
from streams.records import Record

RULE: Final = "forward"
TYPE: Final = "io.tocsin.alert.forwarded.v1"
#: Larger notifications are forwarded without their body.
_MAX_BODY_BYTES: Final = 900_000
#: Bytes of what is kept of event types and publishers, for one priority.
_MOST_KEPT_BYTES: Final = 8 * 2**20
#: Bytes that one takes besides its texts, about.
_KEPT_BYTES: Final = 300
_STARTS_AT: Final = b',"startsAt":"'
_NOTIFICATION: Final = b',"notification":'
#: Stands for a notification that is left out.
_LEFT_OUT: Final = b'null,"truncated":true'
_NO_NOTIFICATION: Final = _NOTIFICATION + _LEFT_OUT + b"}"
#: Without these repairs, no strict parser would read the alert either.
_NOT_JSON: Final = frozenset({Repair.NOT_A_NUMBER, Repair.LONE_SURROGATE})
_SPECVERSION: Final = ("ce_specversion", b"1.0")
_CE_TYPE: Final = ("ce_type", TYPE.encode())
_CONTENT_TYPE: Final = ("content-type", b"application/json")
#: Of an alert with a start, of a record without headers.
_HEADERS: Final = 7
_KEY_LENGTH: Final = varint(16)
_ID_LENGTH: Final = varint(32)
_value_of: Final = attrgetter("value")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_STATE: Final = (
    b'","state":"firing","previousState":null,"reason":"forwarded","value":1,"threshold":1,"window_s":0,"count":1,'
    b'"examples":[{"topic":'
)


def fingerprint(labels: dict[str, str]) -> str:
    """Fingerprint of an alert: 16 hexadecimal digits that depend on its labels only."""
    text = "\xff".join(f"{name}\xff{value}" for name, value in sorted(labels.items()))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class OfEventType:
    """What alerts of one event type have in common: what stands around the publisher in the value.

    Attributes:
        before: the publisher in the labels.
        between: that, and the publisher in the summary.
        subject: the header.
        last_headers: that and the one that follows, packed.
        keys: publisher -> fingerprint of the alerts of both.
    """

    __slots__ = ("before", "between", "keys", "last_headers", "subject")

    def __init__(self, event_type: str, priority: Priority) -> None:
        name = orjson.dumps(event_type)
        self.before = b'{"labels":{"alertname":%b,"severity":"%b","publisher_id":' % (
            name,
            priority.value.lower().encode(),
        )
        self.between = b',"rule":"%b"},"annotations":{"summary":"%b %b from ' % (
            RULE.encode(),
            priority.value.encode(),
            name[1:-1],
        )
        self.subject = ("ce_subject", event_type.encode("utf-8", "replace"))
        self.last_headers = packed_header(*self.subject) + packed_header(*_CONTENT_TYPE)
        self.keys: dict[str, bytes] = {}


def _of_publisher(publisher_id: str) -> tuple[bytes, bytes]:
    """A publisher as it stands in the labels, and in the summary, to the end of the annotations."""
    in_summary = orjson.dumps(publisher_id or "an unnamed publisher")[1:]
    return orjson.dumps(publisher_id), in_summary + b"}" + _STARTS_AT


class AlertLabels:
    """What alerts of one priority have in common, by event type and by publisher; kept within a bound.

    There are many pairs of an event type and a publisher, so all that is kept of one is its fingerprint.
    """

    def __init__(self, priority: Priority) -> None:
        self._priority = priority
        self._event_types: dict[str, OfEventType] = {}
        self._publishers: dict[str, tuple[bytes, bytes]] = {}
        self._kept_bytes = 0

    def of_event_type(self, event_type: str) -> OfEventType:
        """The parts of alerts of one event type."""
        found = self._event_types.get(event_type)
        if found is None:
            found = OfEventType(event_type, self._priority)
            if self._has_room(sys.getsizeof(event_type) + 2 * len(found.before) + len(found.last_headers)):
                self._event_types[event_type] = found
        return found

    def of_publisher(self, publisher_id: str) -> tuple[bytes, bytes]:
        """The parts of alerts of one publisher: as it stands in the labels, and in the summary."""
        found = self._publishers.get(publisher_id)
        if found is None:
            found = _of_publisher(publisher_id)
            if self._has_room(sys.getsizeof(publisher_id) + 2 * len(found[1])):
                self._publishers[publisher_id] = found
        return found

    def key(self, of_type: OfEventType, event_type: str, publisher_id: str) -> bytes:
        """The fingerprint of alerts of one event type and publisher."""
        found = of_type.keys.get(publisher_id)
        if found is None:
            labels = {
                "alertname": event_type,
                "severity": self._priority.value.lower(),
                "publisher_id": publisher_id,
                "rule": RULE,
            }
            found = fingerprint(labels).encode()
            if self._has_room(sys.getsizeof(publisher_id)):
                of_type.keys[publisher_id] = found
        return found

    def _has_room(self, nbytes: int) -> bool:
        """Whether something of so many bytes may be kept; what was kept before may have to go."""
        nbytes += _KEPT_BYTES
        if nbytes > _MOST_KEPT_BYTES // 100:
            return False
        if self._kept_bytes + nbytes > _MOST_KEPT_BYTES:
            self._event_types.clear()
            self._publishers.clear()
            self._kept_bytes = 0
        self._kept_bytes += nbytes
        return True


class Forwarding:
    """Makes the alert records of one input partition.

    Args:
        topic: the alert topic.
        tp: partition that the records come from.
        source: name of the source: topic id and partition.
        labels: of the priority of the topic.
        masker: takes secrets out of the notification.
    """

    def __init__(self, topic: str, tp: TP, source: str, labels: AlertLabels, masker: Masker) -> None:
        self._topic = topic
        self._labels = labels
        self._masker = masker
        self._ids = hashlib.blake2b(f"{RULE}/{source}/".encode(), digest_size=16)
        self._place = _STATE + orjson.dumps(tp.topic) + b',"partition":%d,"offset":' % tp.partition
        self._ce_source = ("ce_source", f"tocsin/{tp.topic}".encode())
        #: Headers of an alert with a start, packed: up to its id, and from there to the start.
        self._before_id = varint(_HEADERS) + packed_header(*_SPECVERSION) + packed_text(b"ce_id") + _ID_LENGTH
        self._before_time = b"".join(
            (
                packed_header(*self._ce_source),
                packed_header(*_CE_TYPE),
                packed_text(b"ce_time"),
                varint(len(start_text(0))),
            )
        )

    def alert(
        self,
        offset: int,
        value: bytes,
        event_ms: int,
        read: Notification,
        *,
        headers: Headers = (),
        body: bool = True,
    ) -> Outgoing:
        """The alert record of one notification.

        Args:
            offset: of the record.
            value: of the record, as it came.
            event_ms: the event time that counting used, in milliseconds since 1970; 0 when there is none.
            read: the notification that was read from it.
            headers: of the record, some of which go on.
            body: whether to include the notification as published.
        """
        repairs = orjson.dumps(read.repairs) if read.repairs else b"[]"
        if read.stated_priority is not None:
            repairs += b',"statedPriority":' + orjson.dumps(read.stated_priority)
        notification = self._original(value, read.repairs) if body else _LEFT_OUT
        of_type, key, identity, starts_at, value = self._parts(
            offset, event_ms, read.event_type, read.publisher_id, read.message_id, repairs, notification
        )
        return Outgoing(self._topic, value, key, None, self._headers(identity, starts_at, of_type, headers))

    def alerts(
        self, records: Sequence[Record], times_ms: Sequence[int], reads: Sequence[Tidy]
    ) -> PackedRecords:
        """The alert records of consecutive tidy notifications: the same as `alert` of each makes.

        Args:
            records: as they came.
            times_ms: event time of each, as counting uses it.
            reads: what was read of each.
        """
        values: list[Any] = list(map(_value_of, records))
        if max(map(len, values)) > _MAX_BODY_BYTES or not self._masker.are_plain(values):
            values = [self._original(value, ()) for value in values]
        parts, before_id, before_time = self._parts, self._before_id, self._before_time
        keys, packed = [], []
        for record, event_ms, read, original in zip(records, times_ms, reads, values, strict=True):
            of_type, key, identity, starts_at, value = parts(
                record.offset, event_ms, read.event_type, read.publisher_id, read.message_id, b"[]", original
            )
            keys.append(key)
            packed.append(
                b"".join(
                    (
                        _KEY_LENGTH,
                        key,
                        varint(len(value)),
                        value,
                        before_id,
                        identity,
                        before_time,
                        starts_at,
                        of_type.last_headers,
                    )
                )
                if starts_at and not record.headers
                else packed_record(key, value, self._headers(identity, starts_at, of_type, record.headers))
            )
        return PackedRecords(self._topic, keys, packed)

    def _headers(
        self, identity: bytes, starts_at: bytes, of_type: OfEventType, headers: Headers
    ) -> list[tuple[str, bytes]]:
        """Headers of an alert. `alerts` has the same, packed."""
        return [
            _SPECVERSION,
            ("ce_id", identity),
            self._ce_source,
            _CE_TYPE,
            *([("ce_time", starts_at)] if starts_at else []),
            of_type.subject,
            _CONTENT_TYPE,
            *(carried_headers(headers) if headers else ()),
        ]

    def _parts(
        self,
        offset: int,
        event_ms: int,
        event_type: str,
        publisher_id: str,
        message_id: str | None,
        repairs: bytes,
        notification: bytes,
    ) -> tuple[OfEventType, bytes, bytes, bytes, bytes]:
        """What an alert is made of: event type, key, id, start (or nothing), and value."""
        labels = self._labels
        of_type = labels.of_event_type(event_type)
        in_labels, in_summary = labels.of_publisher(publisher_id)
        key = of_type.keys.get(publisher_id) or labels.key(of_type, event_type, publisher_id)
        number = b"%d" % offset
        ids = self._ids.copy()
        ids.update(number)
        identity = ids.hexdigest().encode()
        if event_ms > 0:
            starts_at, before_url = start_text(event_ms), b'","generatorURL":"","id":"'
        else:  # nobody knows it, so it is left out, and Alertmanager takes its own
            starts_at, before_url = b"", b',"generatorURL":"","id":"'
            in_summary = in_summary.removesuffix(_STARTS_AT)
        value = b"".join(
            (
                of_type.before,
                in_labels,
                of_type.between,
                in_summary,
                starts_at,
                before_url,
                identity,
                b'","fingerprint":"',
                key,
                b'","episode":"',
                identity,
                self._place,
                number,
                b',"message_id":',
                b"null" if message_id is None else orjson.dumps(message_id),
                b'}],"rule":"forward","repairs":',
                repairs,
                _NOTIFICATION,
                notification,
                b"}",
            )
        )
        return of_type, key, identity, starts_at, value

    def _original(self, value: bytes, repairs: Sequence[Repair]) -> bytes:
        """The bytes that came, but for secrets: what parses cannot always be written again."""
        if len(value) > _MAX_BODY_BYTES:
            return _LEFT_OUT
        original = value.removeprefix(_BYTE_ORDER_MARK)
        try:
            if repairs and not _NOT_JSON.isdisjoint(repairs):
                original, _ = repaired_json(original)
            return self._masker.masked(original)
        except orjson.JSONDecodeError:  # numbers too large for a float: secrets cannot be looked for
            return _LEFT_OUT


def without_body(alert: Outgoing) -> Outgoing:
    """An alert that the brokers take when the whole is too large: it says where the notification lies."""
    # Quotes are escaped within strings, so these bytes stand nowhere else before it.
    begin, found, _ = (alert.value or b"").partition(_NOTIFICATION)
    value = begin + _NO_NOTIFICATION if found else alert.value
    return Outgoing(alert.topic, value, alert.key, alert.partition, alert.headers)


@lru_cache(maxsize=10_000)
def _second(time_s: int) -> bytes:
    return (format_rfc3339(time_s, "seconds") or "").removesuffix("Z").encode()


@lru_cache(maxsize=1_000)
def start_text(time_ms: int) -> bytes:
    """Milliseconds since 1970 as RFC 3339 text; 1970 for what is no date."""
    seconds, milliseconds = divmod(time_ms, 1000)
    text = _second(seconds)
    return b"%b.%03dZ" % (text, milliseconds) if text else b"1970-01-01T00:00:00.000Z"
