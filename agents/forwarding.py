"""Forwarding: a notification of a forwarded priority becomes an alert record at once. Pure.

The record is a CloudEvent in binary mode whose JSON value can be posted to Alertmanager as it is.
A repeat after a crash carries the same ``ce_id``, which subscribers can drop.

In a storm this is made for every record, so the JSON is put together from parts: what depends on event type
and publisher is written once and kept, the notification goes in as the bytes that came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson
from faust.types import TP

from agents.alert_labels import CONTENT_TYPE, RULE, STARTS_AT, AlertLabels, OfEventType, OfPublisher
from streams.notifications import Notification, Repair
from streams.notifications.carried_headers import Headers, carried_headers
from streams.notifications.masking import Masker
from streams.notifications.nearly_json import repaired_json
from streams.notifications.rfc3339 import format_rfc3339
from streams.notifications.tidy import Tidy
from streams.outgoing import Outgoing
from streams.packed_records import PackedRecords, packed_header, packed_text, varint
from streams.packed_records import packed as packed_record
from streams.records import Record

TYPE: Final = "io.tocsin.alert.forwarded.v1"
#: Larger notifications are forwarded without their body.
_MAX_BODY_BYTES: Final = 900_000
_TO_ID: Final = b'","generatorURL":"","id":"'
_TO_ID_WITHOUT_START: Final = b',"generatorURL":"","id":"'
_TO_KEY: Final = b'","fingerprint":"'
_TO_EPISODE: Final = b'","episode":"'
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
#: Of an alert with a start, of a record without headers.
_HEADERS: Final = 7
_KEY_LENGTH: Final = varint(16)
_ID_LENGTH: Final = varint(32)
_TIME_LENGTH: Final = varint(len("1970-01-01T00:00:00.000Z"))
_NUMBER: Final = b"%d".__mod__
_value_of: Final = attrgetter("value")
_offset_of: Final = attrgetter("offset")
_headers_of: Final = attrgetter("headers")
_event_type_of: Final = attrgetter("event_type")
_publisher_of: Final = attrgetter("publisher_id")
_message_id_of: Final = attrgetter("message_id")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_STATE: Final = (
    b'","state":"firing","previousState":null,"reason":"forwarded","value":1,"threshold":1,"window_s":0,"count":1,'
    b'"examples":[{"topic":'
)


class _Alert(NamedTuple):
    """What an alert is made of besides the notification."""

    of_type: OfEventType
    of_publisher: OfPublisher
    key: bytes
    identity: bytes
    starts_at: bytes


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
        self._to_ce_id = b"".join(
            (b"}", varint(_HEADERS), packed_header(*_SPECVERSION), packed_text(b"ce_id"), _ID_LENGTH)
        )
        self._to_ce_time = b"".join(
            (packed_header(*self._ce_source), packed_header(*_CE_TYPE), packed_text(b"ce_time"), _TIME_LENGTH)
        )
        #: Bytes of a value with a start, but for what depends on the notification.
        nothing = OfEventType(b"", b"", b"", b"", 0, {}), OfPublisher(b"", b"", 0)
        least = _Alert(*nothing, bytes(16), bytes(32), start_text(0))
        self._fixed = len(self._value(least, 0, None, b"[]", b"")) - len(b"0null")

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
        alert = self._parts(offset, event_ms, read.event_type, read.publisher_id)
        made = self._value(alert, offset, read.message_id, repairs, notification)
        return Outgoing(self._topic, made, alert.key, None, self._headers(alert, headers))

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
        if min(times_ms) > 0 and not any(map(_headers_of, records)):
            return self._alike(records, times_ms, reads, values)
        keys, packed = [], []
        for record, event_ms, read, notification in zip(records, times_ms, reads, values, strict=True):
            alert = self._parts(record.offset, event_ms, read.event_type, read.publisher_id)
            value = self._value(alert, record.offset, read.message_id, b"[]", notification)
            keys.append(alert.key)
            packed.append(packed_record(alert.key, value, self._headers(alert, record.headers)))
        return PackedRecords(self._topic, keys, packed)

    def _alike(
        self,
        records: Sequence[Record],
        times_ms: Sequence[int],
        reads: Sequence[Tidy],
        notifications: Sequence[bytes],
    ) -> PackedRecords:
        """The alerts of records with a time and without headers, by functions that loop in C."""
        labels = self._labels
        names, publisher_ids = list(map(_event_type_of, reads)), list(map(_publisher_of, reads))
        types: list[Any] = list(map(labels.event_types.get, names))
        if None in types:
            types = list(map(labels.of_event_type, names))
        publishers: list[Any] = list(map(labels.publishers.get, publisher_ids))
        if None in publishers:
            publishers = list(map(labels.of_publisher, publisher_ids))
        before, between, last_headers, _, type_bytes, of_publishers = zip(*types, strict=True)
        in_labels, in_summary, publisher_bytes = zip(*publishers, strict=True)
        keys: list[Any] = list(map(dict.get, of_publishers, publisher_ids))
        if None in keys:
            keys = list(map(labels.key, types, names, publisher_ids))
        starts = list(map(start_text, times_ms))
        numbers = list(map(_NUMBER, map(_offset_of, records)))
        ids = self._identities(numbers)
        message_ids = list(map(orjson.dumps, map(_message_id_of, reads)))
        lengths = map(
            sum,
            zip(
                repeat(self._fixed),
                type_bytes,
                publisher_bytes,
                map(len, numbers),
                map(len, message_ids),
                map(len, notifications),
                strict=False,  # the first has no end
            ),
        )
        parts = (
            *(repeat(_KEY_LENGTH), keys, map(varint, lengths)),
            *(before, in_labels, between, in_summary, starts, repeat(_TO_ID), ids),
            *(repeat(_TO_KEY), keys, repeat(_TO_EPISODE), ids, repeat(self._place), numbers),
            *(repeat(_TO_MESSAGE_ID), message_ids, repeat(_TO_NOTIFICATION), notifications),
            *(repeat(self._to_ce_id), ids, repeat(self._to_ce_time), starts, last_headers),
        )
        return PackedRecords(self._topic, keys, list(map(b"".join, zip(*parts, strict=False))))

    def _identities(self, numbers: Iterable[bytes]) -> list[bytes]:
        """The ids of the alerts of offsets, written as numbers: hashes of them and the source."""
        copied, ids = self._ids.copy, []
        for number in numbers:
            found = copied()
            found.update(number)
            ids.append(found.hexdigest().encode())
        return ids

    def _parts(self, offset: int, event_ms: int, event_type: str, publisher_id: str) -> _Alert:
        of_type = self._labels.of_event_type(event_type)
        [identity] = self._identities((b"%d" % offset,))
        return _Alert(
            of_type,
            self._labels.of_publisher(publisher_id),
            self._labels.key(of_type, event_type, publisher_id),
            identity,
            start_text(event_ms) if event_ms > 0 else b"",
        )

    def _value(
        self, alert: _Alert, offset: int, message_id: str | None, repairs: bytes, notification: bytes
    ) -> bytes:
        """The value of an alert; without a start when nobody knows it, so that Alertmanager takes its own."""
        of_type, (in_labels, in_summary, _), key, identity, starts_at = alert
        to_start = in_summary if starts_at else in_summary.removesuffix(STARTS_AT)
        to_id = _TO_ID if starts_at else _TO_ID_WITHOUT_START
        return b"".join(
            (
                *(of_type.before, in_labels, of_type.between, to_start, starts_at, to_id, identity),
                *(_TO_KEY, key, _TO_EPISODE, identity, self._place, b"%d" % offset),
                *(_TO_MESSAGE_ID, orjson.dumps(message_id), _TO_REPAIRS, repairs),
                *(_NOTIFICATION, notification, b"}"),
            )
        )

    def _headers(self, alert: _Alert, headers: Headers) -> list[tuple[str, bytes]]:
        """Headers of an alert. `_alike` has the same, packed."""
        return [
            _SPECVERSION,
            ("ce_id", alert.identity),
            self._ce_source,
            _CE_TYPE,
            *([("ce_time", alert.starts_at)] if alert.starts_at else []),
            ("ce_subject", alert.of_type.subject),
            CONTENT_TYPE,
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
