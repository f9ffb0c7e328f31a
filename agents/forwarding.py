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
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, NamedTuple

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
#: Bytes that a pair takes besides its texts, about.
_KEPT_BYTES: Final = 500
_STARTS_AT: Final = b',"startsAt":"'
_AFTER_START: Final = b'","generatorURL":"","id":"'
_WITHOUT_START: Final = b',"generatorURL":"","id":"'
_TO_MESSAGE_ID: Final = b',"message_id":'
_TO_REPAIRS: Final = b'}],"rule":"%b","repairs":' % RULE.encode()
_NOTIFICATION: Final = b',"notification":'
#: From the message id on, where nothing was repaired.
_TO_NOTIFICATION: Final = _TO_REPAIRS + b"[]" + _NOTIFICATION
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
_ID_LENGTH: Final = varint(32)
_TIME_LENGTH: Final = varint(len("1970-01-01T00:00:00.000Z"))
_NUMBER: Final = b"%d".__mod__
_value_of: Final = attrgetter("value")
_offset_of: Final = attrgetter("offset")
_headers_of: Final = attrgetter("headers")
_names_of: Final = attrgetter("event_type", "publisher_id")
_message_id_of: Final = attrgetter("message_id")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_STATE: Final = (
    b'","state":"firing","previousState":null,"reason":"forwarded","value":1,"threshold":1,"window_s":0,"count":1,'
    b'"examples":[{"topic":'
)


def fingerprint(labels: dict[str, str]) -> str:
    """Fingerprint of an alert: 16 hexadecimal digits that depend on its labels only."""
    text = "\xff".join(f"{name}\xff{value}" for name, value in sorted(labels.items()))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class OfPair(NamedTuple):
    """What alerts of one event type and publisher have in common.

    Attributes:
        key: their fingerprint.
        packed_key: the same, packed.
        front: the beginning of the value, up to its start.
        between_ids: what stands between the first two ids in the value, the fingerprint in its midst.
        last_headers: what stands behind the start, packed.
        nbytes: of ``front`` and ``between_ids``.
        subject: the value of that header.
    """

    key: bytes
    packed_key: bytes
    front: bytes
    between_ids: bytes
    last_headers: bytes
    nbytes: int
    subject: bytes


#: Stands for a pair of which nothing is in the value.
_NO_PAIR: Final = OfPair(b"", b"", b"", b"", b"", 0, b"")


class AlertLabels:
    """What alerts of one priority have in common, by event type and publisher; kept within a bound.

    Attributes:
        pairs: what is kept, by event type and publisher.
    """

    def __init__(self, priority: Priority) -> None:
        self._priority = priority
        self.pairs: dict[tuple[str, str], OfPair] = {}
        self._kept_bytes = 0

    def of_pair(self, event_type: str, publisher_id: str) -> OfPair:
        """The parts of alerts of one event type and publisher."""
        found = self.pairs.get((event_type, publisher_id))
        if found is None:
            found = self._made(event_type, publisher_id)
            nbytes = _KEPT_BYTES + found.nbytes + len(found.last_headers)
            nbytes += sys.getsizeof(event_type) + sys.getsizeof(publisher_id)
            if nbytes <= _MOST_KEPT_BYTES // 100:
                if self._kept_bytes + nbytes > _MOST_KEPT_BYTES:
                    self.pairs.clear()
                    self._kept_bytes = 0
                self._kept_bytes += nbytes
                self.pairs[event_type, publisher_id] = found
        return found

    def _made(self, event_type: str, publisher_id: str) -> OfPair:
        severity = self._priority.value
        name, publisher = orjson.dumps(event_type), orjson.dumps(publisher_id)
        labels = {
            "alertname": event_type,
            "severity": severity.lower(),
            "publisher_id": publisher_id,
            "rule": RULE,
        }
        key = fingerprint(labels).encode()
        front = b'{"labels":{"alertname":%b,"severity":"%b","publisher_id":%b,"rule":"%b"},' % (
            name,
            severity.lower().encode(),
            publisher,
            RULE.encode(),
        )
        front += b'"annotations":{"summary":"%b %b from %b}' % (
            severity.encode(),
            name[1:-1],
            orjson.dumps(publisher_id or "an unnamed publisher")[1:],
        )
        front += _STARTS_AT
        between_ids = b'","fingerprint":"%b","episode":"' % key
        subject = event_type.encode("utf-8", "replace")
        last_headers = packed_header("ce_subject", subject) + packed_header(*_CONTENT_TYPE)
        nbytes = len(front) + len(between_ids)
        return OfPair(key, packed_text(key), front, between_ids, last_headers, nbytes, subject)


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
        #: The end of the value and the headers of an alert with a start, packed: up to the id, and from there
        #: to the start.
        self._to_id = b"".join(
            (b"}", varint(_HEADERS), packed_header(*_SPECVERSION), packed_text(b"ce_id"), _ID_LENGTH)
        )
        self._to_time = b"".join(
            (packed_header(*self._ce_source), packed_header(*_CE_TYPE), packed_text(b"ce_time"), _TIME_LENGTH)
        )
        #: Bytes of a value with a start, but for what depends on the notification.
        self._fixed = len(self._value(_NO_PAIR, 0, bytes(32), start_text(0), None, b"[]", b"")) - len(
            b"0null"
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
        pair = self._labels.of_pair(read.event_type, read.publisher_id)
        identity, starts_at = self._identity(offset), start_text(event_ms) if event_ms > 0 else b""
        value = self._value(pair, offset, identity, starts_at, read.message_id, repairs, notification)
        return Outgoing(self._topic, value, pair.key, None, self._headers(pair, identity, starts_at, headers))

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
        pairs: list[Any] = list(map(self._labels.pairs.get, map(_names_of, reads)))
        if None in pairs:
            pairs = [self._labels.of_pair(read.event_type, read.publisher_id) for read in reads]
        ids = list(map(self._identity, map(_offset_of, records)))
        if min(times_ms) <= 0 or any(map(_headers_of, records)):
            packed = [
                self._packed_alert(*parts)
                for parts in zip(records, times_ms, reads, values, pairs, ids, strict=True)
            ]
        else:
            packed = self._alike(records, times_ms, reads, values, pairs, ids)
        return PackedRecords(self._topic, [pair.key for pair in pairs], packed)

    def _packed_alert(
        self, record: Record, event_ms: int, read: Tidy, notification: bytes, pair: OfPair, identity: bytes
    ) -> bytes:
        """One alert of `alerts`."""
        starts_at = start_text(event_ms) if event_ms > 0 else b""
        value = self._value(pair, record.offset, identity, starts_at, read.message_id, b"[]", notification)
        return packed_record(pair.key, value, self._headers(pair, identity, starts_at, record.headers))

    def _alike(
        self,
        records: Sequence[Record],
        times_ms: Sequence[int],
        reads: Sequence[Tidy],
        notifications: Sequence[bytes],
        pairs: Sequence[OfPair],
        ids: Sequence[bytes],
    ) -> list[bytes]:
        """The alerts of records with a time and without headers, by functions that loop in C."""
        _, packed_keys, fronts, between_ids, last_headers, pair_bytes, _ = zip(*pairs, strict=True)
        starts = list(map(start_text, times_ms))
        numbers = list(map(_NUMBER, map(_offset_of, records)))
        message_ids = list(map(orjson.dumps, map(_message_id_of, reads)))
        lengths = map(
            sum,
            zip(
                repeat(self._fixed),
                pair_bytes,
                map(len, numbers),
                map(len, message_ids),
                map(len, notifications),
                strict=False,  # the first has no end
            ),
        )
        parts = (
            packed_keys,
            map(varint, lengths),
            fronts,
            starts,
            repeat(_AFTER_START),
            ids,
            between_ids,
            ids,
            repeat(self._place),
            numbers,
            repeat(_TO_MESSAGE_ID),
            message_ids,
            repeat(_TO_NOTIFICATION),
            notifications,
            repeat(self._to_id),
            ids,
            repeat(self._to_time),
            starts,
            last_headers,
        )
        return list(map(b"".join, zip(*parts, strict=False)))

    def _identity(self, offset: int) -> bytes:
        """The id of the alert of an offset: a hash of that and the source."""
        ids = self._ids.copy()
        ids.update(b"%d" % offset)
        return ids.hexdigest().encode()

    def _value(
        self,
        pair: OfPair,
        offset: int,
        identity: bytes,
        starts_at: bytes,
        message_id: str | None,
        repairs: bytes,
        notification: bytes,
    ) -> bytes:
        """The value of an alert; without a start when nobody knows it, so that Alertmanager takes its own."""
        return b"".join(
            (
                pair.front if starts_at else pair.front.removesuffix(_STARTS_AT),
                starts_at,
                _AFTER_START if starts_at else _WITHOUT_START,
                identity,
                pair.between_ids,
                identity,
                self._place,
                b"%d" % offset,
                _TO_MESSAGE_ID,
                orjson.dumps(message_id),
                _TO_REPAIRS,
                repairs,
                _NOTIFICATION,
                notification,
                b"}",
            )
        )

    def _headers(
        self, pair: OfPair, identity: bytes, starts_at: bytes, headers: Headers
    ) -> list[tuple[str, bytes]]:
        """Headers of an alert. `alerts` has the same, packed."""
        return [
            _SPECVERSION,
            ("ce_id", identity),
            self._ce_source,
            _CE_TYPE,
            *([("ce_time", starts_at)] if starts_at else []),
            ("ce_subject", pair.subject),
            _CONTENT_TYPE,
            *(carried_headers(headers) if headers else ()),
        ]

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
